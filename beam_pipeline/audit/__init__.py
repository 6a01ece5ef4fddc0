"""Proves a dataset whole from its files."""
