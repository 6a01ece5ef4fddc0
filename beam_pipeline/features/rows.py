"""Objects of the map as rows of a store, and back."""

import itertools

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


def objects_of_rows(rows: pa.RecordBatch, keys: pa.Array | None = None) -> list[MapObject]:
    """Is the inverse of `rows_of`.

    Args:
        rows: N rows.
        keys: The tags that the objects have; all of theirs if None.

    Raises:
        ValueError: A geometry is none.
    """
    times = compute.divide(rows["timestamp"].cast(pa.int64()), _MS)
    columns = (
        rows["osm_type"].to_pylist(),
        rows["osm_id"].to_pylist(),
        rows["version"].fill_null(0).to_pylist(),
        times.fill_null(0).to_pylist(),
        _listed(rows["tags"], keys),
        restore(rows["geometry"]).to_pylist(),
    )
    return list(map(MapObject, *columns))


def rows_with(rows: pa.RecordBatch, keys: pa.Array) -> pa.RecordBatch:
    """Returns the rows that have a tag of one of some keys."""
    tags: pa.MapArray = rows["tags"]
    ends = tags.offsets.to_numpy()
    of_rows = tags.keys.slice(int(ends[0]), int(ends[-1] - ends[0]))
    found = np.flatnonzero(compute.is_in(of_rows, keys).to_numpy(zero_copy_only=False))
    owners = np.searchsorted(ends - ends[0], found, side="right") - 1
    return rows.take(pa.array(np.unique(owners)))


def _listed(tags: pa.MapArray, keys: pa.Array | None) -> list[tuple[tuple[str, str], ...]]:
    """Returns the tags of each row; twenty times as fast as `to_pylist`, which makes a list and a scalar of each."""
    ends = tags.offsets.to_numpy()
    first, count = int(ends[0]), int(ends[-1] - ends[0])
    ends = ends - first
    of_rows, values = tags.keys.slice(first, count), tags.items.slice(first, count)
    if keys is not None:
        wanted = compute.is_in(of_rows, keys)
        of_rows, values = of_rows.filter(wanted), values.filter(wanted)
        ends = np.concatenate([[0], np.cumsum(wanted.to_numpy(zero_copy_only=False))])[ends]
    pairs = list(zip(of_rows.to_pylist(), values.to_pylist(), strict=True))
    return [tuple(pairs[start:end]) for start, end in itertools.pairwise(ends.tolist())]


def corners_of(rows: pa.RecordBatch | pa.Table) -> Boxes:
    """Returns (N, 4) float64: west, south, east and north of rows, as their bbox has them."""
    bbox = rows["bbox"]
    bbox = bbox.combine_chunks() if isinstance(bbox, pa.ChunkedArray) else bbox
    corners = [bbox.field(corner).to_numpy(zero_copy_only=False) for corner in CORNERS]
    return np.stack(corners, axis=1).astype(np.float64).reshape(-1, 4)
