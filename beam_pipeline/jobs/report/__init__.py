"""Makes the report of a dataset."""
