"""Scores a trained network on a dataset."""
