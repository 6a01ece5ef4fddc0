"""OpenStreetMap features and the label images made of them."""
