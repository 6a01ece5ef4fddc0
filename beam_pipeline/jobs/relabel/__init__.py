"""Beam's side of relabelling a dataset: options, launch, graph and stages."""
