"""Cells of human activity: those that touch a lit pixel of a night-light composite."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from shapely.geometry.base import BaseGeometry

from beam_pipeline.cells import grid
from beam_pipeline.cells.region import ids_in_band
from beam_pipeline.maps.raster_grid import RasterWindow

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


def cells_of_lit(lit: Bools, window: RasterWindow, first_row: int = 0) -> Ints:
    """Returns the cells that touch a lit pixel.

    Args:
        lit: (R, W) which pixels of some rows of a file are lit.
        window: Of the whole file.
        first_row: The file's row that is row 0 of `lit`.

    Returns:
        Ids, ascending, each once.
    """
    table = grid.band_table()
    used = np.flatnonzero(lit.any(axis=1))
    if not len(used):
        return np.zeros(0, np.int64)
    first_band, last_band = window.bands_of_rows(used + first_row)
    found = []
    for band in range(int(first_band.min()), int(last_band.max()) + 1):
        of_band = used[(first_band <= band) & (band <= last_band)]
        if not len(of_band):
            continue
        # Rows first: what is left to compute is of one row, however many touch the band.
        lit_columns = np.flatnonzero(lit[of_band[0] : of_band[-1] + 1].any(axis=0))
        cells = int(table.cells[band])
        first, last = window.cells_of_columns(lit_columns, cells)
        touched = np.zeros(cells, bool)
        for step in range(int((last - first).max()) + 1):
            touched[np.minimum(first + step, last) % cells] = True
        found.append(table.first[band] + np.flatnonzero(touched))
    return np.concatenate(found)


def cells_reached(band: int, window: RasterWindow) -> range:
    """Returns which cells of a band touch a pixel of a raster, lit or not.

    Args:
        band: The band.
        window: The raster's window.

    Returns:
        Numbers within the band, each cell once; they may be below 0 and go on from the band's number of cells around
        the Earth.
    """
    first_row, last_row = window.rows_of_bands(np.array([band]))
    if first_row[0] > last_row[0]:
        return range(0)
    cells = int(grid.band_table().cells[band])
    first, last = window.cells_of_columns(np.array([0, window.columns - 1]), cells)
    return range(int(first[0]), min(int(last[1]), int(first[0]) + cells - 1) + 1)


def count_reached(
    band: int, window: RasterWindow, polygons: Sequence[BaseGeometry] | None = None
) -> tuple[int, int]:
    """Counts the cells of a band.

    Args:
        band: The band.
        window: The raster's window.
        polygons: Of a region; None for the whole band.

    Returns:
        How many cells there are, and how many of them touch a pixel of the raster.
    """
    reached, cells = cells_reached(band, window), int(grid.band_table().cells[band])
    if polygons is None:
        return cells, len(reached)
    ids = ids_in_band(band, polygons)
    numbers = ids - grid.band_table().first[band]
    return len(ids), int(((numbers - reached.start) % cells < len(reached)).sum())
