"""Trains the network."""
