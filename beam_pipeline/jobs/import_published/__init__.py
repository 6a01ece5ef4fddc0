"""Beam's side of importing published files: options, launch, graph and stages."""
