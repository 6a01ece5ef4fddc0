"""Writes a file of a store: rows in order of the curve, in row groups, with both footers."""

import hashlib
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import compute, parquet

from beam_pipeline.features.curve import along_curve
from beam_pipeline.features.footer import TileFooter
from beam_pipeline.features.rows import corners_of
from beam_pipeline.features.schema import (
    FOOTER_KEY,
    GEO_KEY,
    OSM_TYPES,
    ROWS_A_GROUP,
    SCHEMA,
    WRITER,
    geo_metadata,
)
from beam_pipeline.labels.chip_boxes import Boxes
from beam_pipeline.labels.geometries import Indices

_KIND_AT = 1  # of well-known binary; the first byte is its order


def write_tile(file: BinaryIO, rows: pa.Table, footer: TileFooter, kept: Indices | None = None) -> TileFooter:
    """Writes a file.

    Args:
        file: Open for writing.
        rows: The rows, in any order. In one chunk: pyarrow would gather more anew for each row group.
        footer: What they are; the number of rows and the hash of the data are filled in.
        kept: Indices of the rows that are written; None for all. No object may be among them twice.

    Returns:
        The footer as it was written.
    """
    kept = np.arange(rows.num_rows) if kept is None else kept
    footer = footer.model_copy(update={"rows": len(kept)})
    order = in_order(rows, kept)
    hashed = _Hashed(file)
    with parquet.ParquetWriter(hashed, SCHEMA, **WRITER) as writer:
        for first in range(0, len(kept), ROWS_A_GROUP):
            group = rows.take(pa.array(order[first : first + ROWS_A_GROUP]))
            writer.write_table(group, row_group_size=ROWS_A_GROUP)
        footer = footer.model_copy(update={"data_sha256": hashed.sha256.hexdigest()})
        writer.add_key_value_metadata({GEO_KEY: geo_of(rows, kept), FOOTER_KEY: footer.to_json()})
    return footer


class _Hashed:
    """A file that is open for writing, and the SHA-256 of what was written; as much of one as pyarrow needs."""

    closed = False

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


def in_order(rows: pa.Table, kept: Indices) -> Indices:
    """Returns the indices of rows in the order in which a file has them.

    Args:
        rows: The rows.
        kept: Indices of those that are meant.
    """
    types = compute.index_in(rows["osm_type"], pa.array(OSM_TYPES)).to_numpy()[kept]
    return kept[_order(corners_of(rows)[kept], types, rows["osm_id"].to_numpy()[kept])]


def geo_of(rows: pa.Table, kept: Indices) -> str:
    """Returns what a file says of its geometries, as `geo_metadata`; arguments as those of `in_order`."""
    corners = corners_of(rows)[kept]
    kinds = np.concatenate([_kinds(chunk) for chunk in rows["geometry"].chunks] or [np.empty(0, np.uint8)])
    box = (*corners[:, :2].min(0).tolist(), *corners[:, 2:].max(0).tolist()) if len(kept) else None
    return geo_metadata(set(kinds[kept].tolist()), box)


def _order(corners: Boxes, types: npt.NDArray[np.integer[Any]], ids: npt.NDArray[np.int64]) -> Indices:
    """Returns the order of rows: along the curve by the middle of each, and then by type and id."""
    places = along_curve((corners[:, 0] + corners[:, 2]) / 2, (corners[:, 1] + corners[:, 3]) / 2)
    return np.lexsort((ids, types, places))


def _kinds(wkb: pa.BinaryArray) -> npt.NDArray[np.uint8]:
    """Returns the type of each geometry."""
    if not len(wkb):
        return np.empty(0, np.uint8)
    _, offsets_buffer, data_buffer = wkb.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int32)[wkb.offset : wkb.offset + len(wkb)]
    return np.frombuffer(data_buffer, np.uint8)[offsets + _KIND_AT]
