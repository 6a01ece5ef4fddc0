"""What is stored: examples, shards, summaries and the dataset description."""
