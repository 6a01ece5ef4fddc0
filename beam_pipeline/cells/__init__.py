"""The cell grid, chips, MGRS tiles and splits."""
