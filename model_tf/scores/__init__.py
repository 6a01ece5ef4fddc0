"""Scores, curves and pictures of predictions."""
