"""The job that makes a dataset of labelled places."""
