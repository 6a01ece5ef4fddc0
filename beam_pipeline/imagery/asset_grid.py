"""Where the pixels and blocks of an asset lie: the grid, checked, and the blocks in the order of the file."""

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
from rasterio.errors import CRSError

from beam_pipeline.cells.cell import CHIP_SIZE_M, LATTICE_M, ChipWindow, false_northing
from beam_pipeline.imagery.asset_values import check_scale, nodata_value
from beam_pipeline.imagery.image import BANDS_10, BANDS_20, BANDS_60, SCL
from beam_pipeline.runtime.faults import PermanentFault
from beam_pipeline.runtime.tiff_blocks import extent_of_block, places_of_blocks

PIXEL_SIZE_M = {
    **dict.fromkeys(BANDS_10, 10),
    **dict.fromkeys((*BANDS_20, SCL), 20),
    **dict.fromkeys(BANDS_60, 60),
}
"""Native pixel size of each asset in metres. Source: ESA, Sentinel-2 Products Specification Document."""

MAX_BLOCKS_A_READ = 4
"""Most neighbouring blocks that are read at once: at 1024 px that is 8 MB of pixels a thread."""

MERGE_GAP_BYTES = 64
"""Blocks are neighbours in the file when no more lies between them; GDAL's COG driver leaves 8 bytes."""


MOST_SIDE_M = 120_000
"""Longest side of a raster. A tile has 109.8 km. Source: ESA, Sentinel-2 Products Specification Document."""

MOST_BLOCK_BYTES = 1 << 25
"""Most pixels of a block, decoded: 4096 x 4096 of uint16, or 1528 whole rows of a tile.

GDAL holds blocks whole, one for each asset that is being read. A packed file whose pixels are one block (241 MB at
10 m) is refused: it cannot be read in part, and no known host has one. Of an unpacked one GDAL takes rows for blocks.
"""

_PACKED_SLACK_BYTES = 4096


@dataclasses.dataclass(frozen=True)
class Grid:
    """Where an asset's pixels and blocks lie: `left`, `top` and `pixel_m` in metres, the rest in pixels.

    Attributes:
        nodata: The number, other than 0, that stands for no data; None for none.
    """

    epsg: int | None
    left: int
    top: int
    width: int
    height: int
    pixel_m: int
    block_width: int
    block_height: int
    nodata: int | None

    def window(self, chip: ChipWindow, name: str) -> tuple[int, int]:
        """Returns (row, column) of the chip's upper left pixel.

        Raises:
            PermanentFault: "wrong_crs" or "outside".
        """
        if self.epsg != chip.epsg:
            raise PermanentFault("wrong_crs", f"{name} is in EPSG:{self.epsg}, the chip in EPSG:{chip.epsg}")
        row, column = (self.top - chip.top) // self.pixel_m, (chip.left - self.left) // self.pixel_m
        side = CHIP_SIZE_M // self.pixel_m
        if min(row, column) < 0 or row + side > self.height or column + side > self.width:
            raise PermanentFault("outside", f"{name} does not hold the chip with bounds {chip.bounds} whole")
        return row, column


@dataclasses.dataclass(frozen=True)
class Block:
    """A block of the file: `offset` and `size` in bytes, both 0 for one that is not stored (all no data)."""

    row: int
    column: int
    offset: int
    size: int

    def precedes(self, other: "Block") -> bool:
        """Tells whether the other block is the next of the row, and of the file."""
        gap = other.offset - (self.offset + self.size)
        return (self.row, self.column + 1) == (other.row, other.column) and 0 <= gap <= MERGE_GAP_BYTES


def check_bounds(dataset: Any, band: str, name: str) -> None:
    """Checks, of an asset or an overview of it, what decides how much memory it takes, before any of it is read.

    Nothing else of the dataset may be asked for before: of a header that claims 65535 bands, it would build as many
    for each overview.

    Args:
        dataset: The asset or overview, just opened.
        band: Key of `PIXEL_SIZE_M`.
        name: Of the asset, for messages.

    Raises:
        PermanentFault: "wrong_bands", "wrong_dtype" or "too_large".
    """
    dtype = "uint8" if band == SCL else "uint16"
    if dataset.count != 1:
        raise PermanentFault("wrong_bands", f"{name} must have one band. Received: {dataset.count}")
    if dataset.dtypes[0] != dtype:
        raise PermanentFault("wrong_dtype", f"{name} must be {dtype}. Received: {dataset.dtypes[0]}")
    most = MOST_SIDE_M // PIXEL_SIZE_M[band]
    if max(dataset.shape) > most:
        raise PermanentFault(
            "too_large",
            f"{name} must have at most {most} rows and columns. Received: {dataset.height} x {dataset.width}",
        )
    size = _block_bytes(dataset)
    if size > MOST_BLOCK_BYTES:
        height, width = dataset.block_shapes[0]
        raise PermanentFault(
            "too_large",
            f"{name} must have blocks of at most {MOST_BLOCK_BYTES >> 20} MiB. "
            f"Received: {height} x {width} pixels, {size >> 20} MiB",
        )


def checked_grid(dataset: Any, band: str, name: str) -> Grid:
    """Checks what can be checked of an asset without a chip.

    Args:
        dataset: The asset, open, after `check_bounds`.
        band: Key of `PIXEL_SIZE_M`.
        name: Of the asset, for messages.

    Raises:
        PermanentFault: "misaligned" or "wrong_scale".
    """
    check_scale(dataset, band, name)
    pixel_m = PIXEL_SIZE_M[band]
    try:
        epsg = dataset.crs.to_epsg() if dataset.crs else None
    except CRSError:
        epsg = None
    width_m, row_shear, left, column_shear, height_m, top = dataset.transform[:6]
    equator = 0 if epsg is None else false_northing(epsg)
    if (width_m, row_shear, column_shear, height_m) != (pixel_m, 0, 0, -pixel_m) or (
        left % LATTICE_M or (top - equator) % LATTICE_M
    ):
        raise PermanentFault(
            "misaligned",
            f"{name} must have north-up pixels of {pixel_m} m and its origin on the {LATTICE_M} m lattice. "
            f"Received: pixels {width_m:g} x {height_m:g} m, origin ({left:.10g}, {top:.10g})",
        )
    block_height, block_width = dataset.block_shapes[0]
    return Grid(
        epsg=epsg,
        left=int(left),
        top=int(top),
        width=dataset.width,
        height=dataset.height,
        pixel_m=pixel_m,
        block_width=block_width,
        block_height=block_height,
        nodata=nodata_value(dataset),
    )


def runs_of_blocks(dataset: Any, places: Iterable[tuple[int, int]], name: str) -> list[tuple[Block, ...]]:
    """Returns the blocks in ascending order of the file, neighbours of a row together.

    Raises:
        PermanentFault: "too_large".
    """
    runs: list[list[Block]] = []
    blocks = _blocks(dataset, places, name)
    for block in sorted(blocks, key=lambda block: (block.offset, block.row, block.column)):
        if runs and len(runs[-1]) < MAX_BLOCKS_A_READ and runs[-1][-1].precedes(block):
            runs[-1].append(block)
        else:
            runs.append([block])
    return [tuple(run) for run in runs]


def extent_of_blocks(dataset: Any, name: str) -> tuple[int, int]:
    """Returns the first byte of all blocks of a file, or of the overview that is open, and one past the last.

    Raises:
        PermanentFault: "too_large".
    """
    blocks = _blocks(dataset, places_of_blocks(dataset), name)
    return min(block.offset for block in blocks), max(block.offset + block.size for block in blocks)


def _blocks(dataset: Any, places: Iterable[tuple[int, int]], name: str) -> list[Block]:
    blocks = []
    for row, column in places:
        start, stop = extent_of_block(dataset, row, column)
        blocks.append(Block(row, column, start, stop - start))
    # No way of packing doubles what it packs, and all of it is read before it is unpacked.
    most = 2 * _block_bytes(dataset) + _PACKED_SLACK_BYTES
    if (largest := max((block.size for block in blocks), default=0)) > most:
        raise PermanentFault(
            "too_large", f"a block of {name} may take {most} bytes in the file. Received: {largest}"
        )
    return blocks


def _block_bytes(dataset: Any) -> int:
    height, width = dataset.block_shapes[0]
    return int(height * width * np.dtype(dataset.dtypes[0]).itemsize)
