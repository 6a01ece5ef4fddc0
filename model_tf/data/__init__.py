"""A dataset as the network's input."""
