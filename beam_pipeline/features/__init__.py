"""The feature store: what an extract of OpenStreetMap holds near the cells, a file of GeoParquet a tile."""
