"""Pictures and figures of a dataset."""
