"""Rasters of the Earth: night lights, land cover, continents."""
