"""The stored things: examples, shards, summaries and the dataset description."""
