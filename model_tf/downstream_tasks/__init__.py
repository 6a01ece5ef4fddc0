"""Classifies patches from frozen embeddings: patches, embeddings, splits, classifiers, tables and figures."""
