"""`cells.gpkg`: the table of `cell_table` as a GeoPackage, which every QGIS reads; not every one reads Parquet.

Source: https://www.geopackage.org/spec131/
"""

import contextlib
import os
import sqlite3
import struct
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import shapely
from pyproj import CRS

from beam_pipeline.exchange.cell_row import CellRow, footprint
from beam_pipeline.exchange.cell_table import FACTS, count_columns, facts_of, pieces_of
from beam_pipeline.exchange.label_classes import LabelChannel

PACKAGE_FILE = "cells.gpkg"
PACKAGE_LAYER = "cells"

_APPLICATION_ID = 0x47504B47  # "GPKG"
_VERSION = 10301
_WGS84 = 4326
_CHANGED = "1970-01-01T00:00:00.000Z"
"""Time of the last change, which the format demands: one for all, so that equal cells give equal files."""

_TABLES = """
CREATE TABLE gpkg_spatial_ref_sys (srs_name TEXT NOT NULL, srs_id INTEGER PRIMARY KEY, organization TEXT NOT NULL,
    organization_coordsys_id INTEGER NOT NULL, definition TEXT NOT NULL, description TEXT);
INSERT INTO gpkg_spatial_ref_sys VALUES
    ('Undefined Cartesian', -1, 'NONE', -1, 'undefined', ''), ('Undefined geographic', 0, 'NONE', 0, 'undefined', '');
CREATE TABLE gpkg_contents (table_name TEXT NOT NULL PRIMARY KEY, data_type TEXT NOT NULL, identifier TEXT UNIQUE,
    description TEXT DEFAULT '', last_change DATETIME NOT NULL, min_x DOUBLE, min_y DOUBLE, max_x DOUBLE,
    max_y DOUBLE, srs_id INTEGER REFERENCES gpkg_spatial_ref_sys (srs_id));
CREATE TABLE gpkg_geometry_columns (table_name TEXT NOT NULL REFERENCES gpkg_contents (table_name),
    column_name TEXT NOT NULL, geometry_type_name TEXT NOT NULL,
    srs_id INTEGER NOT NULL REFERENCES gpkg_spatial_ref_sys (srs_id), z TINYINT NOT NULL, m TINYINT NOT NULL,
    PRIMARY KEY (table_name, column_name));
"""

_SQL_TYPES = {pa.string(): "TEXT", pa.float64(): "DOUBLE", pa.int32(): "INTEGER", pa.int64(): "INTEGER"}
"""The types of columns; a list is text, its values separated by commas."""

_HEADER = struct.Struct("<2sBBi4d")
_BOX_AND_LITTLE_ENDIAN = 0b11


def package_pieces(rows: Iterable[CellRow], channels: Sequence[LabelChannel]) -> Iterator[bytes]:
    """Yields `cells.gpkg` in pieces; it grows on disk.

    Args:
        rows: The cells in their order.
        channels: The channels of the label image.
    """
    counts = count_columns(channels)
    kinds = {field.name: _SQL_TYPES.get(field.type, "TEXT") for field in FACTS}
    columns = {**kinds, **dict.fromkeys(counts, "INTEGER")}
    box = [float("inf"), float("inf"), float("-inf"), float("-inf")]
    described = ", ".join(f"{_quoted(name)} {kind}" for name, kind in columns.items())
    marks = ", ".join("?" * (len(columns) + 1))
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, PACKAGE_FILE)
        with contextlib.closing(sqlite3.connect(path)) as base:
            # It is thrown away where it is not finished, so nothing waits for the disk.
            base.execute("PRAGMA journal_mode = OFF")
            base.execute("PRAGMA synchronous = OFF")
            base.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            base.execute(f"PRAGMA user_version = {_VERSION}")
            base.executescript(_TABLES)
            base.execute(
                f"CREATE TABLE {PACKAGE_LAYER} (fid INTEGER PRIMARY KEY NOT NULL, geom BLOB, {described})"
            )
            names = ", ".join(map(_quoted, columns))
            base.executemany(
                f"INSERT INTO {PACKAGE_LAYER} (geom, {names}) VALUES ({marks})",  # noqa: S608 - quoted
                (_values(row, counts, box) for row in rows),
            )
            _describe(base, box)
            base.commit()
        with open(path, "rb") as file:
            yield from pieces_of(file)


def _describe(base: sqlite3.Connection, box: list[float]) -> None:
    wkt = CRS.from_epsg(_WGS84).to_wkt("WKT1_GDAL")
    base.execute(
        "INSERT INTO gpkg_spatial_ref_sys VALUES ('WGS 84', ?, 'EPSG', ?, ?, '')", (_WGS84, _WGS84, wkt)
    )
    base.execute(
        "INSERT INTO gpkg_contents VALUES (?, 'features', ?, '', ?, ?, ?, ?, ?, ?)",
        (PACKAGE_LAYER, PACKAGE_LAYER, _CHANGED, *box, _WGS84),
    )
    # POLYGON would forbid the two halves of a chip that crosses the antimeridian.
    base.execute(
        "INSERT INTO gpkg_geometry_columns VALUES (?, 'geom', 'GEOMETRY', ?, 0, 0)", (PACKAGE_LAYER, _WGS84)
    )


def _values(row: CellRow, counts: dict[str, tuple[int, int]], box: list[float]) -> list[Any]:
    shape = footprint(row.cell.chip)
    west, south, east, north = shape.bounds
    box[:] = min(box[0], west), min(box[1], south), max(box[2], east), max(box[3], north)
    header = _HEADER.pack(b"GP", 0, _BOX_AND_LITTLE_ENDIAN, _WGS84, west, east, south, north)
    facts = [
        ",".join(map(str, value)) if isinstance(value, list) else value for value in facts_of(row).values()
    ]
    numbers = [row.pixels.get(key, 0) for key in counts.values()]
    return [header + shapely.to_wkb(shape, byte_order=1), *facts, *numbers]


def _quoted(name: str) -> str:
    """Returns a name as SQL has it, whatever is in it."""
    doubled = name.replace('"', '""')
    return f'"{doubled}"'
