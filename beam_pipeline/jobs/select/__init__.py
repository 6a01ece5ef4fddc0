"""Choosing the cells of a dataset: the Beam side of `beam_pipeline.select_cells`."""
