"""The cell grid: bands of equal meridian arc, each cut into cells of equal width. Ids are O(1) both ways.

The WGS84 ellipsoid is cut into 10,418 bands of latitude of 1920.13 m. A band holds as many cells of equal
longitudinal width as fit at 1920 m on its edge nearer the pole, so no cell is narrower than a chip. Ids are
row-major from the south-west; west and south edges belong to a cell, and +180 is -180.
"""

import dataclasses
import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from beam_pipeline.cells.cell import CHIP_SIZE_M

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

GRID_NAME = "opensentinelmap-wgs84-1920m-v1"
"""A cell id is unique within its grid only."""

NUM_BANDS = 10_418
"""floor(20,003,931.4586 m, the meridian from pole to pole, / 1920 m)."""

NUM_CELLS = 138_328_576

GRID_DESCRIPTION: dict[str, Any] = {
    "name": GRID_NAME,
    "ellipsoid": "WGS84",
    "cell_size_m": CHIP_SIZE_M,
    "bands": NUM_BANDS,
    "cells": NUM_CELLS,
}

PLACES_GRID_NAME = "places"
"""Of the cell ids of labelled places: they number these, and say nothing of our cells."""

PUBLISHED_GRID_NAME = "opensentinelmap-published-2022"
"""Of the cell ids of the published dataset. They say nothing of our cells."""

PUBLISHED_GRID_DESCRIPTION: dict[str, Any] = {
    "name": PUBLISHED_GRID_NAME,
    "ellipsoid": "WGS84",
    "cell_size_m": CHIP_SIZE_M,
    "bounds_within_m": 5,
    "gsd_20_apart_m": 10,
    "gsd_60_apart_m": 50,
}
"""The bounds of a cell are told to about 5 m, and its images at 20 and 60 m lie up to so far from that at 10 m.

Source: tests/exchange/test_published_files.py measures it on published files.
"""

GRIDS: dict[str, dict[str, Any]] = {
    GRID_NAME: GRID_DESCRIPTION,
    PLACES_GRID_NAME: {"name": PLACES_GRID_NAME, "ellipsoid": "WGS84", "cell_size_m": CHIP_SIZE_M},
    PUBLISHED_GRID_NAME: PUBLISHED_GRID_DESCRIPTION,
}
"""The description of each grid in `dataset.json`, by its name."""

# Source: NIMA TR8350.2, WGS84's semi-major axis in metres and flattening.
_SEMI_MAJOR_M = 6_378_137.0
_FLATTENING = 1 / 298.257223563

_SLOTS = 1 << 15  # of equal latitude; narrower than any band, so that a slot meets two bands at most


EDGE_DECIMALS = 8
"""Of a band's edges in degrees, about 1 mm: so they don't depend on a machine's sine."""


@dataclasses.dataclass(frozen=True)
class BandTable:
    """Tables by band, made once; not to be written to.

    Attributes:
        edges: (B + 1,) latitudes in degrees, ascending.
        cells: (B,) number of cells in each band.
        first: (B + 1,) id of the first cell of each band; the last entry is the number of all cells.
        band_of_slot: (_SLOTS + 1,) the band that holds the south edge of each slot of latitude.
    """

    edges: Floats
    cells: Ints
    first: Ints
    band_of_slot: Ints


@functools.cache
def band_table() -> BandTable:
    """Returns the tables of all bands."""
    # Latitude as a series of the rectifying latitude, which is proportional to the meridian arc.
    # Source: Snyder, Map Projections: A Working Manual (USGS PP 1395, 1987), equation 3-26, and its next term.
    n = _FLATTENING / (2 - _FLATTENING)
    mu = np.arange(NUM_BANDS // 2 + 1) * (np.pi / NUM_BANDS)  # the north; the south mirrors it
    series = (
        3 * n / 2 - 27 * n**3 / 32 + 269 * n**5 / 512,
        21 * n**2 / 16 - 55 * n**4 / 32,
        151 * n**3 / 96 - 417 * n**5 / 128,
        1097 * n**4 / 512,
        8011 * n**5 / 2560,
    )
    phi = mu + sum(factor * np.sin(2 * k * mu) for k, factor in enumerate(series, start=1))
    north = np.round(np.degrees(phi), EDGE_DECIMALS)
    edges = np.concatenate([-north[:0:-1], north])

    eccentricity2 = _FLATTENING * (2 - _FLATTENING)
    poleward = np.radians(north[1:])
    parallel_m = 2 * np.pi * _SEMI_MAJOR_M * np.cos(poleward)
    parallel_m /= np.sqrt(1 - eccentricity2 * np.sin(poleward) ** 2)
    cells_north = np.maximum(1, np.floor(parallel_m / CHIP_SIZE_M)).astype(np.int64)
    cells = np.concatenate([cells_north[::-1], cells_north])
    first = np.concatenate([[0], np.cumsum(cells)])
    slots = np.arange(_SLOTS + 1) * (180.0 / _SLOTS) - 90.0
    band_of_slot = np.clip(np.searchsorted(edges, slots, side="right") - 1, 0, NUM_BANDS - 1)
    return BandTable(edges, cells, first, band_of_slot.astype(np.int64))


def lonlat_to_id(lon: npt.ArrayLike, lat: npt.ArrayLike) -> Ints:
    """Returns the cells that hold points.

    Args:
        lon: Longitudes in degrees, -180 to 180; any shape.
        lat: Latitudes in degrees, -90 to 90; the same shape.

    Returns:
        int64 cell ids of that shape.

    Raises:
        ValueError: A coordinate is not finite or out of range.
    """
    lon, lat = np.broadcast_arrays(np.asarray(lon, np.float64), np.asarray(lat, np.float64))
    # Written so that NaN fails too.
    if not (np.all(np.abs(lon) <= 180.0) and np.all(np.abs(lat) <= 90.0)):
        raise ValueError("Longitudes must lie in -180 to 180, latitudes in -90 to 90, and be finite")
    bands = band_table()
    slot = ((lat + 90.0) * (_SLOTS / 180.0)).astype(np.int64)
    band = bands.band_of_slot[slot]
    band += (lat >= bands.edges[band + 1]) & (band < NUM_BANDS - 1)
    band -= lat < bands.edges[band]  # a slot's edge may round to the band above

    cells = bands.cells[band]
    column = ((lon + 180.0) * (cells / 360.0)).astype(np.int64)
    # The product rounds; the edges decide, so that this is the exact inverse of `id_to_bounds`.
    column -= lon < _edge(column, cells)
    column += lon >= _edge(column + 1, cells)
    ids: Ints = bands.first[band] + np.where(column == cells, 0, column)  # +180 is -180
    return ids


def id_to_bounds(ids: npt.ArrayLike) -> tuple[Floats, Floats, Floats, Floats]:
    """Returns the edges of cells.

    Args:
        ids: Cell ids, any shape.

    Returns:
        (min_lon, max_lon, min_lat, max_lat) in degrees, float64 of that shape.

    Raises:
        ValueError: An id is not in the grid.
    """
    ids = np.asarray(ids, np.int64)
    if ids.size and (ids.min() < 0 or ids.max() >= NUM_CELLS):
        raise ValueError(f"Cell ids lie in 0 to {NUM_CELLS - 1}. Received: {ids.min()} to {ids.max()}")
    bands = band_table()
    band = np.searchsorted(bands.first, ids, side="right") - 1
    column = ids - bands.first[band]
    cells = bands.cells[band]
    return _edge(column, cells), _edge(column + 1, cells), bands.edges[band], bands.edges[band + 1]


def id_to_center(ids: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Returns (lon, lat) of the middle of cells' bounds in degrees; arguments and errors as `id_to_bounds`."""
    min_lon, max_lon, min_lat, max_lat = id_to_bounds(ids)
    return (min_lon + max_lon) / 2, (min_lat + max_lat) / 2


def bands_between(min_lat: float, max_lat: float) -> range:
    """Returns the numbers of the bands that meet latitudes in degrees, from the south."""
    edges = band_table().edges
    first = int(np.searchsorted(edges, min_lat, side="right")) - 1
    last = int(np.searchsorted(edges, max_lat, side="right")) - 1
    return range(max(first, 0), min(last, NUM_BANDS - 1) + 1)


def ids_in_band(band: int, min_lon: float, max_lon: float) -> Ints:
    """Returns the cells of a band that meet longitudes in degrees, from the west; min_lon <= max_lon."""
    bands = band_table()
    cells = bands.cells[band]
    first, last = (int(np.floor((lon + 180.0) * (cells / 360.0))) for lon in (min_lon, max_lon))
    ids: Ints = bands.first[band] + np.arange(max(first, 0), min(last, cells - 1) + 1, dtype=np.int64)
    return ids


def band_edges(band: int) -> tuple[float, float]:
    """Returns the latitudes of a band's south and north edges in degrees."""
    south, north = band_table().edges[band : band + 2].tolist()
    return south, north


def _edge(column: Ints, cells: Ints) -> Floats:
    """Longitude of the west edge of a column, in one order of operations, so that it rounds one way."""
    edges: Floats = column * 360.0 / cells - 180.0
    return edges
