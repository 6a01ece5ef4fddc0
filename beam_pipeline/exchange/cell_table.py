"""`cells.parquet`, GeoParquet 1.1: one row a cell, with its square, split, dates and the pixels of each category."""

import itertools
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import shapely
from pyarrow import parquet

from beam_pipeline.exchange.cell_row import CellRow, footprint
from beam_pipeline.exchange.label_classes import LabelChannel
from beam_pipeline.features.schema import GEO_KEY, ROWS_A_GROUP, SCHEMA, geo_metadata, outward
from beam_pipeline.records.schema import NONE

PARQUET_FILE = "cells.parquet"
_CHUNK = 1 << 20
_WKB_TYPES = {int(shapely.GeometryType.POLYGON): 3, int(shapely.GeometryType.MULTIPOLYGON): 6}
"""Number of a type in well-known binary, by shapely's own."""

FACTS = pa.schema(
    [
        pa.field("cell_id", pa.int64(), nullable=False),
        pa.field("tile", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("epsg", pa.int32(), nullable=False),
        *(
            pa.field(f"chip_{edge}", pa.int32(), nullable=False)
            for edge in ("left", "bottom", "right", "top")
        ),
        *(
            pa.field(name, pa.float64(), nullable=False)
            for name in ("min_lon", "max_lon", "min_lat", "max_lat")
        ),
        pa.field("years", pa.list_(pa.int32()), nullable=False),
        pa.field("dates", pa.list_(pa.string()), nullable=False),
        pa.field("item_ids", pa.list_(pa.string()), nullable=False),
        pa.field("num_images", pa.int32(), nullable=False),
    ]
)
"""The columns before the counts; `chip_left` and its like are metres of `epsg`, `min_lon` and its like degrees."""


def count_columns(channels: Iterable[LabelChannel]) -> dict[str, tuple[int, int]]:
    """Returns the (channel, value) whose pixels each column of counts holds, by the column's name.

    A category's column is called "pixels_wooded"; of what every channel has, "pixels_OSM_land_use_none".

    Args:
        channels: The channels of the label image.
    """
    columns: dict[str, tuple[int, int]] = {}
    for channel in channels:
        for it in channel.classes:
            name = it.name if it.value < NONE else f"{channel.name}_{it.name}"
            column = f"pixels_{name}"
            if column in columns:  # a category may be called so too
                column = f"pixels_{channel.index}_{it.value}"
            columns[column] = channel.index, it.value
    return columns


def parquet_pieces(rows: Iterable[CellRow], channels: Sequence[LabelChannel]) -> Iterator[bytes]:
    """Yields `cells.parquet` in pieces; of the rows, one row group is in memory.

    Args:
        rows: The cells in their order, which the file keeps.
        channels: The channels of the label image.
    """
    columns = count_columns(channels)
    counts = [pa.field(name, pa.int32(), nullable=False) for name in columns]
    schema = pa.schema([*FACTS, *counts, SCHEMA.field("geometry"), SCHEMA.field("bbox")])
    bounds, kinds = np.array([np.inf, np.inf, -np.inf, -np.inf]), set()
    with tempfile.TemporaryFile() as file:
        with parquet.ParquetWriter(file, schema, version="2.6", compression="zstd") as writer:
            for group in _groups(rows):
                shapes = np.array([footprint(row.cell.chip) for row in group])
                kinds |= {shapely.get_type_id(shape) for shape in shapes}
                boxes = shapely.bounds(shapes)
                bounds[:2] = np.minimum(bounds[:2], boxes[:, :2].min(0))
                bounds[2:] = np.maximum(bounds[2:], boxes[:, 2:].max(0))
                writer.write_batch(_batch(group, columns, schema, shapes, boxes))
            box = tuple(bounds.tolist()) if kinds else None
            writer.add_key_value_metadata({GEO_KEY: geo_metadata({_WKB_TYPES[kind] for kind in kinds}, box)})
        yield from pieces_of(file)


def _groups(rows: Iterable[CellRow]) -> Iterator[list[CellRow]]:
    rows = iter(rows)
    while group := list(itertools.islice(rows, ROWS_A_GROUP)):
        yield group


def pieces_of(file: BinaryIO) -> Iterator[bytes]:
    """Yields a file from its beginning."""
    file.seek(0)
    while piece := file.read(_CHUNK):
        yield piece


def _batch(
    group: Sequence[CellRow], columns: dict[str, tuple[int, int]], schema: pa.Schema, shapes: Any, boxes: Any
) -> pa.RecordBatch:
    facts = [facts_of(row) for row in group]
    arrays = [pa.array([values[field.name] for values in facts], field.type) for field in FACTS]
    arrays += [pa.array([row.pixels.get(key, 0) for row in group], pa.int32()) for key in columns.values()]
    arrays.append(pa.array(shapely.to_wkb(shapes, byte_order=1).tolist(), pa.binary()))
    arrays.append(pa.StructArray.from_arrays(outward(boxes), fields=list(schema.field("bbox").type)))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def facts_of(row: CellRow) -> dict[str, Any]:
    """Returns the values of the columns `FACTS` of a cell."""
    cell, chip = row.cell, row.cell.chip
    return {
        "cell_id": cell.cell_id,
        "tile": cell.tile,
        "split": cell.split,
        "epsg": chip.epsg,
        **{f"chip_{edge}": getattr(chip, edge) for edge in ("left", "bottom", "right", "top")},
        **{name: getattr(cell, name) for name in ("min_lon", "max_lon", "min_lat", "max_lat")},
        "years": row.years,
        "dates": [image.datetime[:10] for image in row.images],
        "item_ids": [image.item_id for image in row.images],
        "num_images": len(row.images),
    }
