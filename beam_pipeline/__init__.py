"""Builds Sentinel-2 + OpenStreetMap training sets with Apache Beam."""

__version__ = "0.1.0"
