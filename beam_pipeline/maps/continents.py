"""Continents and coastlines, for counting and for maps only: coarse, from Natural Earth's 1:110m countries.

Source: Natural Earth, public domain, as the PyPI package geopandas 0.14.4 carries it; packed by `.ci/pack_continents`.
A country lies in one continent, as a whole: Russia is Europe, Turkey Asia.
"""

import functools
import importlib.resources
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def continent_names() -> tuple[str, ...]:
    """Returns the names of the continents in the order of their numbers."""
    return tuple(_packed()["names"].tolist())


def continents_of(lon: Floats, lat: Floats) -> npt.NDArray[np.uint8]:
    """Returns the continent of the country that is nearest to each point's pixel of a quarter of a degree.

    Args:
        lon: (N,) longitudes in degrees, -180 to 180.
        lat: (N,) latitudes in degrees.

    Returns:
        (N,) numbers of continents.
    """
    raster = _packed()["continents"]
    rows, columns = raster.shape
    row = np.clip(((90.0 - lat) * (rows / 180.0)).astype(np.int64), 0, rows - 1)
    column = ((lon + 180.0) * (columns / 360.0)).astype(np.int64) % columns
    found: npt.NDArray[np.uint8] = raster[row, column]
    return found


def coastlines() -> Sequence[npt.NDArray[np.float32]]:
    """Returns the coastlines: closed lines (N, 2) of longitude and latitude in degrees."""
    packed = _packed()
    return np.split(packed["coast"], np.cumsum(packed["lengths"])[:-1])


@functools.cache
def _packed() -> dict[str, Any]:
    with (
        importlib.resources.files(__package__).joinpath("continents.npz").open("rb") as file,
        np.load(file) as packed,
    ):
        return dict(packed)
