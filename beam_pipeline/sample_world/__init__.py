"""A small made-up place in the real formats, the embedded default input."""
