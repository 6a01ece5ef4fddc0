"""The columns of a store's files, which are GeoParquet 1.1.

Source: https://geoparquet.org/releases/v1.1.0/
"""

import json
from typing import Any

import numpy as np
import pyarrow as pa

from beam_pipeline.features.coordinates import OFF_BY
from beam_pipeline.labels.chip_boxes import Boxes

SCHEMA_VERSION = 2
"""Of a store; another number is another store, whose files are not read. 2: footers hold `data_sha256`."""

STORE_FOLDER = "features"
STORE_FILE = "store.json"
PIECES_FOLDER = "pieces"
PIECE_FILE = "piece.json"
TILE_SUFFIX = ".parquet"

FOOTER_KEY = "opensentinelmap"
"""In the footer of a file: what it holds, as `footer.TileFooter` in JSON."""

GEO_KEY = "geo"
"""In the footer of a file: what GeoParquet asks for, as `geo_metadata` gives it."""

OSM_TYPES = ("node", "way", "relation")

CORNERS = ("xmin", "ymin", "xmax", "ymax")

_BBOX = pa.struct([pa.field(corner, pa.float32(), nullable=False) for corner in CORNERS])

SCHEMA = pa.schema(
    [
        pa.field("osm_type", pa.string(), nullable=False),
        pa.field("osm_id", pa.int64(), nullable=False),
        pa.field("version", pa.int32()),
        pa.field("timestamp", pa.timestamp("ms", tz="UTC")),
        pa.field("tags", pa.map_(pa.string(), pa.string()), nullable=False),
        pa.field("geometry", pa.binary(), nullable=False),
        pa.field("bbox", _BBOX, nullable=False),
    ]
)
"""The columns. Version and timestamp are null where the source does not say. The bbox holds the geometry."""

ROWS_A_GROUP = 8192
"""Rows of a row group: some hundreds of kilobytes, of which a file's reader skips those that lie elsewhere."""

_KINDS = ("Point", "LineString", "Polygon", "MultiPoint", "MultiLineString", "MultiPolygon")
"""Of a geometry, by its type in well-known binary, from 1."""

WRITER: dict[str, Any] = {
    "version": "2.6",
    "compression": "zstd",
    "compression_level": 3,
    "use_dictionary": ["osm_type", "version", "tags.key_value.key", "tags.key_value.value"],
    "column_encoding": {
        "osm_id": "DELTA_BINARY_PACKED",
        "timestamp": "DELTA_BINARY_PACKED",
        **{f"bbox.{corner}": "BYTE_STREAM_SPLIT" for corner in CORNERS},
    },
    "write_page_checksum": True,
    "write_statistics": [f"bbox.{corner}" for corner in CORNERS],
}
"""Options of pyarrow's writer. Level 6 of zstd takes twice as long for 7 % less."""


def outward(bounds: Boxes) -> tuple[pa.Array, ...]:
    """Returns bounds in single precision, never smaller than they are.

    Args:
        bounds: (N, 4) west, south, east, north in degrees.

    Returns:
        Four columns of N values, as `CORNERS` names them.
    """
    lower, upper = bounds[:, :2] - OFF_BY, bounds[:, 2:] + OFF_BY
    low, high = lower.astype(np.float32), upper.astype(np.float32)
    low = np.where(low > lower, np.nextafter(low, np.float32(-np.inf)), low)
    high = np.where(high < upper, np.nextafter(high, np.float32(np.inf)), high)
    return tuple(pa.array(np.ascontiguousarray(column)) for column in (*low.T, *high.T))


def geo_metadata(kinds: set[int], box: tuple[float, float, float, float] | None) -> str:
    """Returns what GeoParquet asks for in a file's footer, under `GEO_KEY`.

    Args:
        kinds: The types of its geometries, as well-known binary numbers them.
        box: West, south, east and north of all; None where there are none.
    """
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": sorted(_KINDS[kind - 1] for kind in kinds),
        "covering": {"bbox": {corner: ["bbox", corner] for corner in CORNERS}},
    }
    if box is not None:
        column["bbox"] = list(box)
    return json.dumps({"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}})
