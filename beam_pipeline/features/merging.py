"""Merges the pieces of a tile, one from each extract, to one file that holds one copy of each object."""

import dataclasses
import datetime
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import shapely
from pyarrow import compute

from beam_pipeline.features.footer import ExtractFailure, TileFooter
from beam_pipeline.features.identity import ExtractIdentity, StoreRequest
from beam_pipeline.features.rows import objects_of_rows
from beam_pipeline.features.schema import OSM_TYPES, SCHEMA
from beam_pipeline.features.stored_tile import StoredTile
from beam_pipeline.features.writing import write_tile
from beam_pipeline.labels.geometries import Indices
from beam_pipeline.labels.map_object import MapObject

_COPIES_AT_ONCE = 1 << 14
_LONG_AGO = datetime.datetime.min.replace(tzinfo=datetime.UTC)


def merge_tile(
    file: BinaryIO,
    tile: str,
    pieces: Sequence[tuple[ExtractIdentity, StoredTile | None]],
    failures: Iterable[ExtractFailure],
    request: StoreRequest,
) -> TileFooter:
    """Writes the file of a tile.

    Of copies that differ, the one of the higher version is kept, then that of the extract with the later time, then the
    one of the larger area, then of the longer line: a way keeps its version when its nodes move.

    Args:
        file: Where it is written.
        tile: The tile.
        pieces: The extracts that were read for the tile, and the piece of each that has objects there. Their order does
            not matter.
        failures: The extracts that could not be read.
        request: What is to be held.

    Returns:
        The file's footer.

    Raises:
        PermanentFault: A piece is damaged.
    """
    given = sorted(pieces, key=lambda piece: piece[0])
    held = [(extract, piece) for extract, piece in given if piece is not None]
    owners = np.repeat(np.arange(len(held)), [piece.footer.rows for _, piece in held])
    # One chunk: pyarrow would gather more anew for each row group that is written.
    rows = pa.Table.from_batches(
        (batch for _, piece in held for batch in piece.rows()), SCHEMA
    ).combine_chunks()
    kept, superseded = _one_copy_each(rows, owners, [extract for extract, _ in held])
    footer = TileFooter.of(tile, request, [extract for extract, _ in given], failures)
    return write_tile(file, rows, footer.model_copy(update={"superseded": superseded}), kept)


def _one_copy_each(
    rows: pa.Table, owners: Indices, extracts: Sequence[ExtractIdentity]
) -> tuple[Indices, int]:
    """Chooses a copy of each object.

    Args:
        rows: N rows of all extracts.
        owners: (N,) the extract of each.
        extracts: The extracts.

    Returns:
        Indices of the rows that are kept, ascending; the number of the others that differ from these.
    """
    is_kept = np.ones(len(owners), np.bool_)
    superseded = 0
    for copies in _copies(rows):
        objects = [
            one for batch in rows.take(pa.array(copies)).to_batches() for one in objects_of_rows(batch)
        ]
        groups: dict[tuple[str, int], list[tuple[int, MapObject]]] = {}
        for row, one in zip(copies.tolist(), objects, strict=True):
            groups.setdefault((one.osm_type, one.osm_id), []).append((row, one))
        for group in groups.values():
            first = group[0][1]
            if all(one == first for _, one in group):
                row, best = group[0]
            else:
                row, best = max(group, key=lambda it: _rank(it[1], extracts[int(owners[it[0]])]))
            is_kept[[other for other, _ in group]] = False
            is_kept[row] = True
            superseded += sum(one != best for _, one in group)
    return np.flatnonzero(is_kept), superseded


def _copies(rows: pa.Table) -> Iterator[Indices]:
    """Yields the indices of the rows of objects that are there more than once, all of an object together."""
    if not rows.num_rows:
        return
    types = compute.index_in(rows["osm_type"], pa.array(OSM_TYPES)).to_numpy()
    ids: npt.NDArray[np.int64] = rows["osm_id"].to_numpy()
    order = np.lexsort((ids, types))
    begins = np.ones(len(order), np.bool_)
    begins[1:] = (np.diff(types[order]) != 0) | (np.diff(ids[order]) != 0)
    starts = np.flatnonzero(begins)
    sizes = np.diff(np.append(starts, len(order)))
    several = np.repeat(sizes > 1, sizes)
    copies, numbers = order[several], np.repeat(np.arange(len(sizes)), sizes)[several]
    first = 0
    while first < len(copies):
        last = min(first + _COPIES_AT_ONCE, len(copies))
        last = int(np.searchsorted(numbers, numbers[last - 1], side="right"))
        yield copies[first:last]
        first = last


def _rank(one: MapObject, extract: ExtractIdentity) -> tuple[object, ...]:
    """Returns what decides between copies: the greatest is kept."""
    geometry = shapely.from_wkb(one.geometry, on_invalid="ignore")
    size = (0.0, 0.0) if geometry is None else (geometry.area, geometry.length)
    return one.version, _time(extract.timestamp), *size, *dataclasses.astuple(one)


def _time(text: str) -> datetime.datetime:
    """Returns the time of an extract; long ago where it is not said."""
    try:
        time = datetime.datetime.fromisoformat(text)
    except ValueError:
        return _LONG_AGO
    return time if time.tzinfo else time.replace(tzinfo=datetime.UTC)
