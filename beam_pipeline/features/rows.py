"""Objects of the map as rows of a store, and back."""

import itertools
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import compute

from beam_pipeline.features.coordinates import compact, restore
from beam_pipeline.features.schema import CORNERS, SCHEMA, outward
from beam_pipeline.labels.chip_boxes import Boxes
from beam_pipeline.labels.map_object import MapObject
from beam_pipeline.labels.object_columns import ObjectColumns

_MS = 1000  # of a second


def rows_of(columns: ObjectColumns, bounds: Boxes) -> pa.RecordBatch:
    """Returns objects as rows.

    Args:
        columns: N objects.
        bounds: (N, 4) west, south, east and north of each in degrees.

    Raises:
        ValueError: A geometry is no 2D little-endian well-known binary.
    """
    length = len(columns)
    strings = pa.array(columns.strings, pa.string())
    keys, values = (strings.take(pa.array(numbers)) for numbers in (columns.tag_keys, columns.tag_values))
    geometries = [None, pa.py_buffer(columns.geometry_offsets), pa.py_buffer(columns.geometries)]
    times = pa.array(columns.timestamps * _MS, mask=columns.timestamps == 0)
    bbox = pa.StructArray.from_arrays(outward(bounds), fields=list(SCHEMA.field("bbox").type))
    of_columns = [
        pa.repeat(pa.scalar(columns.osm_type), length),
        pa.array(columns.ids),
        pa.array(columns.versions, mask=columns.versions == 0),
        times.cast(SCHEMA.field("timestamp").type),
        pa.MapArray.from_arrays(pa.array(columns.tag_offsets), keys, values),
        compact(pa.BinaryArray.from_buffers(pa.binary(), length, geometries)),
        bbox,
    ]
    return pa.RecordBatch.from_arrays(of_columns, schema=SCHEMA)


def objects_of_rows(rows: pa.RecordBatch) -> list[MapObject]:
    """Is the inverse of `rows_of`.

    Raises:
        ValueError: A geometry is none.
    """
    columns: dict[str, Any] = dict(zip(rows.schema.names, rows.columns, strict=True))
    times = compute.divide(columns["timestamp"].cast(pa.int64()), _MS)
    return [
        MapObject(osm_type, osm_id, version, timestamp, tags, geometry)
        for osm_type, osm_id, version, timestamp, tags, geometry in zip(
            columns["osm_type"].to_pylist(),
            columns["osm_id"].to_pylist(),
            columns["version"].fill_null(0).to_pylist(),
            times.fill_null(0).to_pylist(),
            _listed(columns["tags"]),
            restore(columns["geometry"]).to_pylist(),
            strict=True,
        )
    ]


def _listed(tags: pa.MapArray) -> list[tuple[tuple[str, str], ...]]:
    """Returns the tags of each row; twenty times as fast as `to_pylist`, which makes a list and a scalar of each."""
    ends = tags.offsets.to_numpy()
    first, last = int(ends[0]), int(ends[-1])
    keys = tags.keys.slice(first, last - first).to_pylist()
    values = tags.items.slice(first, last - first).to_pylist()
    pairs = list(zip(keys, values, strict=True))
    return [tuple(pairs[start:end]) for start, end in itertools.pairwise((ends - first).tolist())]


def corners_of(rows: pa.RecordBatch | pa.Table) -> Boxes:
    """Returns (N, 4) float64: west, south, east and north of rows, as their bbox has them."""
    bbox = rows["bbox"]
    bbox = bbox.combine_chunks() if isinstance(bbox, pa.ChunkedArray) else bbox
    corners = [bbox.field(corner).to_numpy(zero_copy_only=False) for corner in CORNERS]
    return np.stack(corners, axis=1).astype(np.float64).reshape(-1, 4)
