"""Beam's side of exporting a dataset: options, run, graph and stages."""
