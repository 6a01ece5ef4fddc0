"""Beam's side of the feature store: options, launch, graph and stages."""
