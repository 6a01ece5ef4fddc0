"""Sentinel-2 scenes: finding, ordering, reading and filtering."""
