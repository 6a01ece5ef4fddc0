"""Reads EuroSAT as published: GeoTIFFs of 13 bands, Level-1C, in a folder for each class.

Source: P. Helber, B. Bischke, A. Dengel, D. Borth: EuroSAT: A Novel Dataset and Deep Learning Benchmark for Land Use
and Land Cover Classification, 2019; EuroSAT_MS.zip.
"""

import functools
import hashlib
import os
import warnings
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from beam_pipeline.places.eurosat_tile import (
    BANDS,
    CLASSES,
    SIDE,
    centre_of_tile,
    class_folders,
    opened_tile,
    read_tile,
    tile_files,
)
from beam_pipeline.records.schema import REFLECTANCE_SCALE
from beam_pipeline.records.statistics import INPUT_BANDS
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.foreign_text import one_line, shown
from beam_pipeline.runtime.gdal_drivers import gdal_options
from beam_pipeline.runtime.progress import Progress
from beam_pipeline.runtime.raster_walls import NO_SIDECARS
from model_tf.downstream_tasks.patch_set import Patch, PatchSet, Pixels
from model_tf.downstream_tasks.plain_pixels import PlainPixels, plain_pixels

warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)  # by `_PIXELS_ALONE`

LEVEL = "L1C"

EUROSAT_NOTICE = (
    "Patches: EuroSAT, © 2018 Patrick Helber, Benjamin Bischke, Andreas Dengel, Damian Borth, under the MIT "
    "licence."
)
OTHERS_NOTICE = "Patches: of the folder that was given, whose owner says what may be done with them."
SENTINEL_NOTICE = (
    "The patches contain modified Copernicus Sentinel data. They are Level-1C (top of the atmosphere); the network was "
    "made for Level-2A (surface)."
)

_LOOKED_AT = 64
"""Tiles whose pixels are looked at to see the order of the bands."""

_TILES_ALONE = {
    **NO_SIDECARS,
    # Pixels of an uncompressed tile are taken from its bytes without a cache of blocks.
    "GTIFF_VIRTUAL_MEM_IO": "YES",
}
"""GDAL's options for tiles."""

_PIXELS_ALONE = {
    **_TILES_ALONE,
    # Where a tile lies was read before. Without it, opening takes a seventh of the CPU.
    "GDAL_GEOREF_SOURCES": "NONE",
}
"""GDAL's options for reading nothing but pixels."""

_CIRRUS = BANDS.index("B10")

_SHAPE = (SIDE, SIDE, len(BANDS))
"""Of a tile's pixels as the published files hold them, a pixel's bands together."""

_Tile: TypeAlias = PlainPixels | str
"""Where its pixels lie, or its path."""

_PLACES = {grid: [BANDS.index(band) for band in bands] for grid, bands in INPUT_BANDS.items()}
"""Of the bands that the network sees, by grid."""


def read_eurosat(folder: str, classes: Sequence[str] | None = CLASSES) -> PatchSet:
    """Looks at every tile of a folder.

    Args:
        folder: Local; holds a folder for each class, which holds its tiles.
        classes: The names that the folders must have; None takes them as they are.

    Returns:
        The patches, by class and number.

    Raises:
        InvalidInputError: There is no such folder or tile, a folder is none of the classes, or a tile is not as
            published: its file and the field that is wrong are named.
    """
    found = _class_folders(folder, classes)
    files = [
        (index, path) for index, name in enumerate(found) for path in tile_files(os.path.join(folder, name))
    ]
    with_tiles = {index for index, _ in files}
    if len(with_tiles) < 2:
        raise InvalidInputError(
            f"--patches must hold GeoTIFFs in a folder for each class. Received: {folder}, of whose {len(found)} "
            f"folders {'one alone' if with_tiles else 'none'} has a .tif"
        )
    for _, path in files:
        _require_utf8(path)
    digest = hashlib.blake2b(digest_size=16)
    patches = []
    tiles: list[_Tile] = []
    with Progress(len(files), "looking at tiles", "tiles") as progress, gdal_options(**_TILES_ALONE):
        for index, path in files:
            content = read_tile(path)
            longitude, latitude = centre_of_tile(path, content)
            tiles.append(_tile(path, content))
            name = f"{found[index]}/{os.path.basename(path)}"
            digest.update(f"{name}\n{hashlib.blake2b(content).hexdigest()}\n".encode())
            patches.append(Patch(name, index, longitude, latitude))
            progress.update()
    _require_band_order(folder, tiles)
    return PatchSet(
        title="EuroSAT as published" if classes is not None else "13-band tiles",
        level=LEVEL,
        classes=tuple(found),
        patches=tuple(patches),
        side=SIDE,
        crop=SIDE,
        fingerprint=digest.hexdigest(),
        notices=(EUROSAT_NOTICE if classes is not None else OTHERS_NOTICE, SENTINEL_NOTICE),
        read=functools.partial(_read, tiles),
    )


def _class_folders(folder: str, classes: Sequence[str] | None) -> list[str]:
    if not os.path.isdir(folder):
        raise InvalidInputError(f"--patches must be a folder on this machine. Received: {folder}")
    names = class_folders(folder)
    strange = sorted({*names} - {*(classes or names)})
    missing = sorted({*(classes or names)} - {*names})
    if strange or missing:
        raise InvalidInputError(
            f"--task eurosat takes a folder for each of EuroSAT's {len(classes or ())} classes. Received: {folder}, "
            f"without {', '.join(missing) or 'none of them'}, and with {', '.join(strange) or 'no other'}. Give "
            "--task classes for other classes"
        )
    if len(names) < 2:
        raise InvalidInputError(
            f"--patches must hold a folder for each of at least two classes. Received: {folder} with {len(names)}"
        )
    return names


def _require_utf8(path: str) -> None:
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise InvalidInputError(
            f"A name holds bytes that are no UTF-8. Rename the file or folder. Received: {one_line(path)}"
        ) from error


def _tile(path: str, content: bytes) -> _Tile:
    pixels = np.empty(_SHAPE, np.uint16)
    start = _decode(path, content, pixels)
    return plain_pixels(path, content, start, pixels) or path


def _numbers(tiles: Sequence[_Tile]) -> npt.NDArray[np.uint16]:
    """Returns the (N, 64, 64, 13) DN of tiles."""
    dn = np.empty((len(tiles), *_SHAPE), np.uint16)
    for tile, pixels in zip(tiles, dn, strict=True):
        if isinstance(tile, PlainPixels):
            tile.read_into(pixels)
        else:
            _decode(tile, read_tile(tile), pixels)
    return dn


def _decode(path: str, content: bytes, pixels: npt.NDArray[np.uint16]) -> int | None:
    """Fills (64, 64, 13) with a tile's DN; returns the byte at which its first block begins, if any is there."""
    try:
        with opened_tile(content) as tile:
            shape = (tile.height, tile.width, tile.count)
            if shape != _SHAPE:
                raise InvalidInputError(f"{path} has changed since it was looked at. Received: shape {shape}")
            start = tile.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1)
            tile.read(out=pixels.transpose(2, 0, 1))
    except RasterioError as error:
        raise InvalidInputError(f"{path} is damaged: {shown(str(error))}. Copy it again") from error
    return int(start) if start else None


def _require_band_order(folder: str, tiles: Sequence[_Tile]) -> None:
    """Checks by the cirrus band, which sees next to nothing of the ground, that the bands are in EuroSAT's order."""
    with gdal_options(**NO_SIDECARS):
        dn = _numbers(tiles[:: -(-len(tiles) // _LOOKED_AT)])
    means = dn.mean(axis=(0, 1, 2))
    darkest = int(means.argmin())
    if darkest != _CIRRUS:
        raise InvalidInputError(
            f"{folder} must hold Level-1C tiles with the bands {' '.join(BANDS)}: B10, cirrus, is then the darkest by "
            f"far. Received: tiles whose {darkest + 1}th band is the darkest. Level-2A has no cirrus band, some "
            "copies have B8A after B08"
        )


def _read(tiles: Sequence[_Tile], which: range) -> Pixels:
    with gdal_options(**_PIXELS_ALONE):
        dn = _numbers(tiles[which.start : which.stop])
    # An index in brackets would put the bands first in memory.
    ten, twenty = (np.take(dn, _PLACES[grid], axis=-1) for grid in INPUT_BANDS)
    # The published files repeat the 20 m bands at 10 m. Sums of four DN are exact.
    rows = np.add(twenty[:, ::2], twenty[:, 1::2], dtype=np.float32)
    sums = rows[:, :, ::2] + rows[:, :, 1::2]
    sums /= 4 * REFLECTANCE_SCALE
    grids = [ten / np.float32(REFLECTANCE_SCALE), sums]
    if not ten.all():
        no_data = ~dn.any(axis=-1)  # (N, 64, 64)
        grids[0][no_data] = np.nan
        grids[1][no_data.reshape(len(dn), SIDE // 2, 2, SIDE // 2, 2).any(axis=(2, 4))] = np.nan
    return Pixels(*grids)
