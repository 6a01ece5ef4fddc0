"""The network: a two-resolution HRNet that learns an embedding of every 10 m pixel from OpenStreetMap labels."""
