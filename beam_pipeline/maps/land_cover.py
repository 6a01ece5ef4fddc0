"""Which cells lie wholly in water: a cell is land when one land-cover pixel that it touches is not water.

Cells are looked at in groups, each of the bands that begin in one row of the file's blocks, so that blocks are decoded
once. A group's southernmost cells reach into the next row of blocks; of that only those blocks are read in which a cell
is still undecided.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from beam_pipeline.cells import grid
from beam_pipeline.maps.raster_grid import RasterWindow
from beam_pipeline.maps.rasters import WATER, RasterFile, read_rows

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Spans = list[tuple[Ints, Ints]]

_RUN = 16  # blocks read in one go: 2025 rows of the NetCDF's 2025 columns are 4 MB


@dataclasses.dataclass(frozen=True)
class LandFound:
    """The land cover of N cells.

    Attributes:
        reached: (N,) whether the cell touches a pixel of the map.
        land: (N,) whether one of these is not water.
    """

    reached: Bools
    land: Bools


def groups_of_bands(file: RasterFile, rows: int) -> Ints:
    """Says which bands are looked at together.

    Args:
        file: The land-cover map.
        rows: About how many rows of it one group has.

    Returns:
        (NUM_BANDS,) the index in `file.row_blocks(rows)` of the block that holds the band's northernmost row; for
        bands beyond the map's rows the first or the last.
    """
    first, _ = file.window.rows_of_bands(np.arange(grid.NUM_BANDS))
    starts = np.array([block.start for block in file.row_blocks(rows)])
    return np.searchsorted(starts, first, side="right") - 1


def find_land(ids: Ints, dataset: Any, file: RasterFile, block: range) -> LandFound:
    """Looks at the cells of one group.

    Args:
        ids: (N,) ids, ascending, of bands of one group.
        dataset: The open land-cover map.
        file: What `inspect_land_cover` found.
        block: The group's rows, of `file.row_blocks`.

    Returns:
        What was found.
    """
    bands = [band for band in _split_by_band(ids, file.window) if band.rows]
    found = LandFound(np.zeros(len(ids), bool), np.zeros(len(ids), bool))
    for band in bands:
        for first, last in band.columns:
            found.reached[band.where] |= first <= last
    _look(bands, found, dataset, file, block)
    beyond = range(block.stop, max((band.rows.stop for band in bands), default=0))
    if beyond:
        _look([band for band in bands if band.rows.stop > block.stop], found, dataset, file, beyond)
    return found


@dataclasses.dataclass(frozen=True)
class _Band:
    """Cells of one band: their place in the list, and the pixels that they touch."""

    where: slice
    rows: range
    columns: Spans


def _split_by_band(ids: Ints, window: RasterWindow) -> list[_Band]:
    table = grid.band_table()
    band_of = np.searchsorted(table.first, ids, side="right") - 1
    bands, starts = np.unique(band_of, return_index=True)
    first, last = window.rows_of_bands(bands)
    stops = [*starts[1:].tolist(), len(ids)]
    return [
        _Band(
            slice(start, stop),
            range(top, bottom + 1),
            window.columns_of_cells(ids[start:stop] - table.first[band], int(table.cells[band])),
        )
        for band, start, stop, top, bottom in zip(
            bands.tolist(), starts.tolist(), stops, first.tolist(), last.tolist(), strict=True
        )
    ]


def _look(bands: Sequence[_Band], found: LandFound, dataset: Any, file: RasterFile, rows: range) -> None:
    """Marks the cells that touch land in these rows of the map."""
    # Rows first: by band, the columns in which one of its rows is land. The rows themselves are not kept.
    land = np.zeros((len(bands), file.window.columns), bool)
    needed = list(_needed(bands, found, file))
    for strip in file.strips(rows):
        for columns in needed:
            on_land = read_rows(dataset, strip, columns) != WATER
            for of_band, band in zip(land, bands, strict=True):
                part = on_land[max(band.rows.start - strip.start, 0) : max(band.rows.stop - strip.start, 0)]
                if len(part):
                    of_band[columns.start : columns.stop] |= part.any(axis=0)
    before = np.zeros(file.window.columns + 1, np.int32)
    for of_band, band in zip(land, bands, strict=True):
        np.cumsum(of_band, out=before[1:])
        for first, last in band.columns:
            touched = np.flatnonzero(first <= last)
            hits = before[last[touched] + 1] > before[first[touched]]
            found.land[band.where.start + touched[hits]] = True


def _needed(bands: Sequence[_Band], found: LandFound, file: RasterFile) -> Iterator[range]:
    """Yields runs of blocks, as columns, that an undecided cell touches, none wider than it must be."""
    width = file.block_columns
    needed = np.zeros(-(-file.window.columns // width), bool)
    for band in bands:
        undecided = ~found.land[band.where]
        for first, last in band.columns:
            some = undecided & (first <= last)
            for step in range(int((last[some] // width - first[some] // width).max(initial=-1)) + 1):
                needed[np.minimum(first[some] // width + step, last[some] // width)] = True
    edges = np.flatnonzero(np.diff(np.concatenate([[False], needed, [False]]).astype(np.int8)))
    for start, stop in edges.reshape(-1, 2).tolist():
        for block in range(start, stop, _RUN):
            yield range(block * width, min(min(block + _RUN, stop) * width, file.window.columns))
