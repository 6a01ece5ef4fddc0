"""Labelled places: lists of them as others publish them, and the chip around each."""
