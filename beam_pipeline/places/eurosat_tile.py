"""A tile of EuroSAT as published: what it must be, and where it lies.

Source: P. Helber, B. Bischke, A. Dengel, D. Borth: EuroSAT: A Novel Dataset and Deep Learning Benchmark for Land Use
and Land Cover Classification, 2019; EuroSAT_MS.zip.
"""

import contextlib
import functools
import os
import re
from collections.abc import Iterator
from typing import Any

import pyproj
from rasterio.errors import RasterioError

from beam_pipeline.places.place_list import checked_degrees
from beam_pipeline.runtime.faults import Fault, InvalidInputError
from beam_pipeline.runtime.foreign_text import shown
from beam_pipeline.runtime.gdal_drivers import rasterio
from beam_pipeline.runtime.raster_walls import named_elsewhere
from beam_pipeline.runtime.regular_files import read_regular

BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B09", "B10", "B11", "B12", "B8A")
"""In the files' order, B8A last. Source: the README of EuroSAT_MS.zip."""

CLASSES = (
    *("AnnualCrop", "Forest", "HerbaceousVegetation", "Highway", "Industrial"),
    *("Pasture", "PermanentCrop", "Residential", "River", "SeaLake"),
)
"""Source: Helber et al. 2019, figure 3."""

SIDE = 64
"""Pixels. Source: Helber et al. 2019, section III."""

_MOST_BYTES = 4 << 20
"""Of a tile; one of 64 x 64 pixels has 107 kB."""

_PIXEL_M = (9.0, 11.0)
"""Least and most side of a pixel: the published tiles are cut in longitude and latitude, so it is not quite 10 m."""


def class_folders(folder: str) -> list[str]:
    """Returns the names of the folders in a folder that are not hidden, sorted."""
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and entry.name[0] != ".")


def tile_files(folder: str) -> list[str]:
    """Returns the paths of the tiles of a class, in the order of their numbers."""

    def number(name: str) -> tuple[int, str]:
        digits = re.search(r"(\d+)\.tiff?$", name.lower())
        return int(digits[1]) if digits else -1, name

    names = [name for name in os.listdir(folder) if name.lower().endswith((".tif", ".tiff"))]
    return [os.path.join(folder, name) for name in sorted(names, key=number)]


def read_tile(path: str) -> bytes:
    """Reads the bytes of a tile.

    Raises:
        InvalidInputError: It is gone, no regular file, too large, or empty.
    """
    try:
        content = read_regular(path, _MOST_BYTES)
    except Fault as fault:
        raise InvalidInputError(f"{path} is no tile: {fault.detail}") from fault
    except FileNotFoundError as error:
        raise InvalidInputError(f"{path} is gone since the folder was looked at") from error
    if not content:  # which GDAL would take for a file to be written
        raise InvalidInputError(f"{path} is no GeoTIFF that can be read: it is empty")
    return content


@contextlib.contextmanager
def opened_tile(content: bytes) -> Iterator[Any]:
    """Opens the bytes of a tile with rasterio.

    Raises:
        RasterioError: They are no GeoTIFF.
    """
    # No other driver: a VRT in a .tif would have GDAL open whatever it names.
    with rasterio.MemoryFile(content) as file, file.open(driver="GTiff") as tile:
        yield tile


def centre_of_tile(path: str, content: bytes) -> tuple[float, float]:
    """Checks what a tile says of itself, and returns longitude and latitude of the middle of its bounds.

    Args:
        path: Where it is from, for messages.
        content: Its bytes.

    Raises:
        InvalidInputError: It is no tile as published: the field that is wrong is named.
    """
    try:
        with opened_tile(content) as tile:
            for field, is_right, wanted, received in _checks(tile):
                if not is_right:
                    raise InvalidInputError(
                        f"{path} is no EuroSAT tile as published: {field} must be {wanted}. Received: {received}"
                    )
            x, y = (tile.bounds.left + tile.bounds.right) / 2, (tile.bounds.bottom + tile.bounds.top) / 2
            longitude, latitude = _to_degrees(tile.crs.to_wkt()).transform(x, y)
    except (RasterioError, pyproj.exceptions.ProjError) as error:
        raise InvalidInputError(f"{path} is no GeoTIFF that can be read: {shown(str(error))}") from error
    return checked_degrees(
        longitude, latitude, path, ("its bounds, in longitude,", "its bounds, in latitude,")
    )


def _checks(tile: Any) -> Iterator[tuple[str, bool, str, object]]:
    elsewhere = named_elsewhere(tile)
    yield "what it names", not elsewhere, "no other file", elsewhere
    yield "count", tile.count == len(BANDS), f"{len(BANDS)} bands", tile.count
    yield "dtype", {*tile.dtypes} == {"uint16"}, "uint16", ", ".join(sorted({*tile.dtypes}))
    size = (tile.width, tile.height)
    yield "width and height", size == (SIDE, SIDE), f"{SIDE} x {SIDE} pixels", f"{size[0]} x {size[1]}"
    yield "crs", tile.crs is not None, "given", "none"
    yield "crs", tile.crs.is_projected, "in metres", tile.crs.to_string()
    sides = (tile.transform.a, -tile.transform.e)
    is_10_m = all(_PIXEL_M[0] <= side <= _PIXEL_M[1] for side in sides)
    yield "pixel size", is_10_m, f"{_PIXEL_M[0]:g} to {_PIXEL_M[1]:g} m", f"{sides[0]:g} x {sides[1]:g}"


@functools.lru_cache(64)
def _to_degrees(wkt: str) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(wkt, "EPSG:4326", always_xy=True)
