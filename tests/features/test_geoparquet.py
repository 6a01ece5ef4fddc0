"""Files of a store are GeoParquet for others: by its schema, for geopandas and for DuckDB."""

import json
from pathlib import Path

import duckdb
import geopandas
import jsonschema
import numpy as np
import pytest
import shapely
from pyarrow import parquet

from beam_pipeline.features.coordinates import OFF_BY
from tests.features.made import TILE, part, town

SPECIFICATION = Path(__file__).with_name("geoparquet_1_1_0.json")
"""Source: https://github.com/opengeospatial/geoparquet/blob/v1.1.0/format-specs/schema.json (Apache License 2.0)."""

OBJECTS = {(one.osm_type, one.osm_id): one for one in town(400)}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    part(list(OBJECTS.values()), folder)
    return folder / f"{TILE}.parquet"


def assert_close(geometry, one):
    """Geometries for others are off by a few millimetres at most."""
    whole = shapely.from_wkb(one.geometry)
    assert geometry.geom_type == whole.geom_type
    assert np.abs(shapely.get_coordinates(geometry) - shapely.get_coordinates(whole)).max() <= OFF_BY


def test_the_footer_is_as_the_specification_says(path):
    metadata = parquet.read_metadata(path).metadata
    geo = json.loads(metadata[b"geo"])
    jsonschema.validate(geo, json.loads(SPECIFICATION.read_text()))
    assert geo["columns"]["geometry"]["geometry_types"] == ["LineString", "MultiPolygon", "Point", "Polygon"]
    west, south, east, north = geo["columns"]["geometry"]["bbox"]
    box = shapely.total_bounds([shapely.from_wkb(one.geometry) for one in OBJECTS.values()])
    assert [west, south] <= list(box[:2])
    assert list(box[2:]) <= [east, north]
    assert "crs" not in geo["columns"]["geometry"]  # longitude and latitude, by default


def test_geopandas_opens_it(path):
    table = geopandas.read_parquet(path)
    assert table.crs == "OGC:CRS84"
    assert len(table) == len(OBJECTS)
    for row in table.itertuples():
        one = OBJECTS[row.osm_type, row.osm_id]
        assert_close(row.geometry, one)
        assert dict(row.tags) == dict(one.tags)
    dated = table[table.version.notna()]
    assert (dated.timestamp.dt.year == 2020).all()
    assert 0 < len(dated) < len(table)


def test_geopandas_reads_a_box_of_it(path):
    west, south, east, north = geopandas.read_parquet(path).total_bounds
    box = (west, south, (west + east) / 2, (south + north) / 2)
    part_of_it = geopandas.read_parquet(path, bbox=box)
    whole = geopandas.read_parquet(path)
    touching = whole[whole.intersects(shapely.box(*box))]
    assert set(touching.osm_id) <= set(part_of_it.osm_id)
    assert len(part_of_it) < len(whole)


def test_duckdb_opens_it(path):
    """Its extension for geometries comes from the web: without, they are well-known binary."""
    with duckdb.connect() as database:
        database.execute("SET TimeZone = 'UTC'")
        rows = database.execute(
            "SELECT osm_type, osm_id, version, epoch(timestamp), tags, geometry, bbox FROM read_parquet(?)",
            [str(path)],
        ).fetchall()
        named = database.execute(
            "SELECT count(*) FROM read_parquet(?) WHERE tags['building'] = 'hut'", [str(path)]
        ).fetchone()
    assert len(rows) == len(OBJECTS)
    for osm_type, osm_id, version, seconds, tags, geometry, bbox in rows:
        one = OBJECTS[osm_type, osm_id]
        assert (version or 0, seconds or 0, tags) == (one.version, one.timestamp, dict(one.tags))
        decoded = shapely.from_wkb(bytes(geometry))
        assert_close(decoded, one)
        box = shapely.box(*(bbox[corner] for corner in ("xmin", "ymin", "xmax", "ymax")))
        assert box.covers(decoded)
        assert box.covers(shapely.from_wkb(one.geometry))
    assert named == (sum(("building", "hut") in one.tags for one in OBJECTS.values()),)


def test_nobody_is_named(path):
    names = parquet.read_schema(path).names
    assert names == ["osm_type", "osm_id", "version", "timestamp", "tags", "geometry", "bbox"]
