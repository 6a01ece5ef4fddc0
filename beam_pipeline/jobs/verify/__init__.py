"""Verifies a dataset as a Beam job."""
