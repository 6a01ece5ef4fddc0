"""The table of an export's cells, as DuckDB, geopandas and pyogrio read it."""

import dataclasses
import json
import sqlite3
import struct
from pathlib import Path

import duckdb
import geopandas
import jsonschema
import numpy as np
import pyogrio
import pyproj
import shapely
from pyarrow import parquet

from beam_pipeline.cells.cell import Cell, ChipWindow
from beam_pipeline.exchange.cell_row import CellRow, footprint
from beam_pipeline.exchange.cell_table import count_columns, parquet_pieces
from beam_pipeline.exchange.label_classes import label_channels
from tests.exchange.georeferenced import ACROSS, CHIPS, cell_years
from tests.features.test_geoparquet import SPECIFICATION
from tests.model_tf.made_dataset import ONTOLOGY, table_of

CHANNELS = label_channels(table_of(ONTOLOGY))
ROWS = {it.cell.cell_id: it for shards in cell_years().values() for shard in shards for it in shard}


def test_geopandas_reads_the_cells(georeferenced: Path) -> None:
    table = geopandas.read_parquet(georeferenced / "cells.parquet")
    assert table.crs == "OGC:CRS84"
    assert table.cell_id.tolist() == [1, 2, 3, 4, ACROSS]
    for row in table.itertuples():
        it = ROWS[row.cell_id]
        assert (row.tile, row.split, row.epsg) == (it.cell.tile, it.cell.split, it.cell.chip.epsg)
        assert (row.chip_left, row.chip_bottom, row.chip_right, row.chip_top) == it.cell.chip.bounds
        assert [*row.years] == [2020, 2021]
        assert row.num_images == len(row.dates) == len(row.item_ids)
        assert {date[:4] for date in row.dates} == {"2020", "2021"}
        for index, channel in enumerate(ONTOLOGY["channels"]):
            for name, value in channel["labels"].items():
                assert getattr(row, f"pixels_{name}") == (it.label[..., index] == value).sum()
            none = (it.label[..., index] == 254).sum()
            assert getattr(row, f"pixels_{channel['name']}_none") == none
        # The square again from its corners, by another way than the writer's.
        zone = geopandas.GeoSeries([shapely.box(*it.cell.chip.bounds)], crs=it.cell.chip.epsg)
        if row.cell_id != ACROSS:
            assert shapely.symmetric_difference(zone.to_crs(4326)[0], row.geometry).area < 1e-12


def test_duckdb_asks_the_table(georeferenced: Path) -> None:
    query = f"SELECT tile, sum(pixels_water) FROM '{georeferenced}/cells.parquet' WHERE list_contains(years, 2021) GROUP BY tile"  # noqa: E501
    expected: dict[str, int] = {}
    for it in ROWS.values():
        expected[it.cell.tile] = expected.get(it.cell.tile, 0) + int((it.label[..., 1] == 12).sum())
    assert dict(duckdb.sql(query).fetchall()) == expected


def test_the_footer_is_geoparquet(georeferenced: Path) -> None:
    geo = json.loads(parquet.read_metadata(georeferenced / "cells.parquet").metadata[b"geo"])
    jsonschema.validate(geo, json.loads(SPECIFICATION.read_text()))
    assert geo["columns"]["geometry"]["geometry_types"] == ["MultiPolygon", "Polygon"]


def test_the_package_is_the_same_table(georeferenced: Path) -> None:
    path = georeferenced / "cells.gpkg"
    assert pyogrio.list_layers(path).tolist() == [["cells", "Unknown"]]
    package = geopandas.read_file(path, layer="cells")
    table = geopandas.read_parquet(georeferenced / "cells.parquet")
    assert package.crs.to_epsg() == 4326
    assert [name for name in table if name != "bbox"] == [name for name in package if name != "geometry"] + [
        "geometry"
    ]
    assert all(shapely.equals_exact(package.geometry.values, table.geometry.values, 0))
    for name in ("cell_id", "split", "pixels_wooded", "min_lon", "num_images"):
        assert package[name].tolist() == table[name].tolist()
    assert package.years.tolist() == ["2020,2021"] * 5
    info = pyogrio.read_info(path, layer="cells")
    assert np.allclose(info["total_bounds"], table.total_bounds)
    with sqlite3.connect(path) as base:
        assert base.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert base.execute("PRAGMA foreign_key_check").fetchall() == []
        for (blob,) in base.execute("SELECT geom FROM cells"):
            # Magic, version, flags (an envelope, little-endian), SRS, envelope, well-known binary.
            assert struct.unpack_from("<2sBBi", blob) == (b"GP", 0, 3, 4326)
            west, east, south, north = struct.unpack_from("<4d", blob, 8)
            assert shapely.from_wkb(blob[40:]).bounds == (west, south, east, north)


def test_a_chip_across_the_antimeridian() -> None:
    halves = footprint(CHIPS[ACROSS][1])
    assert halves.geom_type == "MultiPolygon"
    assert halves.is_valid
    spans = sorted((part.bounds[0], part.bounds[2]) for part in halves.geoms)
    assert spans[0][0] == -180
    assert spans[1][1] == 180
    area = sum(abs(pyproj.Geod(ellps="WGS84").geometry_area_perimeter(part)[0]) for part in halves.geoms)
    assert abs(area / 1920**2 - 1) < 0.003  # UTM's own scale


def test_no_column_is_there_twice() -> None:
    ontology = json.loads(json.dumps(ONTOLOGY))
    ontology["channels"][2]["labels"] = {"OSM_land_use_none": 14, 'a"b': 15}
    channels = label_channels(table_of(ontology))
    columns = count_columns(channels)
    assert len(columns) == 12 + 2 + 2 + 3 * 2
    assert columns["pixels_OSM_land_use_none"] == (0, 254)
    assert columns["pixels_2_14"] == (2, 14)


def test_no_cells_make_an_empty_table(tmp_path: Path) -> None:
    path = tmp_path / "cells.parquet"
    path.write_bytes(b"".join(parquet_pieces([], CHANNELS)))
    assert len(geopandas.read_parquet(path)) == 0


def test_a_row_is_read_as_it_was_written() -> None:
    row = CellRow.of([ROWS[2], ROWS[2]], CHANNELS)
    assert CellRow.from_json(json.loads(json.dumps(row.to_json()))) == row
    other = dataclasses.replace(
        row, cell=Cell(9, "33TWN", "testing", ChipWindow(32633, 60, 120), 0.5, 1, 2, 3)
    )
    assert CellRow.from_json(other.to_json()) == other
