"""The job that builds a dataset."""
