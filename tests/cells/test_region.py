"""Cells of regions against the centres of all cells nearby, and what is no region."""

import json
from typing import Any

import numpy as np
import pytest
import shapely

from beam_pipeline.cells import grid
from beam_pipeline.cells.chips import choose_chips
from beam_pipeline.cells.mgrs_tiles import NO_TILE
from beam_pipeline.cells.region import (
    MOST_CELLS,
    bands_of,
    cells_from_ids,
    cells_in_region,
    ids_in_band,
    is_bbox,
    region_polygons,
    within_any,
)
from beam_pipeline.cells.sampling import cell_hashes
from beam_pipeline.cells.splits import split_of_tile
from beam_pipeline.runtime.faults import InvalidInputError

SQUARE = [[10, 50], [10.1, 50], [10.1, 50.1], [10, 50.1], [10, 50]]
POLYGON = {"type": "Polygon", "coordinates": [SQUARE]}


def ids(region: Any) -> set[int]:
    text = region if isinstance(region, str) else json.dumps(region)
    return {cell.cell_id for cell in cells_in_region(text, None, 0).cells}


def feature(geometry: Any) -> dict[str, Any]:
    return {"type": "Feature", "properties": None, "geometry": geometry}


def collection(*geometries: Any) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": [feature(geometry) for geometry in geometries]}


def centres_near(west: float, south: float, east: float, north: float) -> tuple[np.ndarray, ...]:
    """(ids, lon, lat) of the cells that hold a point of a lattice finer than the grid, around a box."""
    east = east + 360 if east < west else east
    step = 0.005
    lon, lat = np.meshgrid(
        np.arange(west - 0.05, east + 0.05, step * (1 if north < 80 else 5)),
        np.arange(max(south - 0.05, -90), min(north + 0.05, 90), step),
    )
    found = np.unique(grid.lonlat_to_id((lon.ravel() + 180) % 360 - 180, lat.ravel()))
    return found, *grid.id_to_center(found)


@pytest.mark.parametrize(
    "box",
    [
        (10.0, 50.0, 10.2, 50.1),
        (-9.5, 38.6, -9.4, 38.7),
        (-0.05, -0.05, 0.05, 0.05),
        (179.9, -16.6, -179.9, -16.5),
        (179.9, -16.6, 180.0, -16.5),
        (-180.0, -16.6, -179.9, -16.5),
        (180.0, -16.6, -179.9, -16.5),
        (179.9, -16.6, -180.0, -16.5),
        (10.0, 83.9, 12.0, 90.0),
        (10.0, -80.1, 10.5, -79.9),
    ],
)
def test_a_box_holds_the_cells_whose_centre_it_holds(box: tuple[float, float, float, float]) -> None:
    west, south, east, north = box
    found, lon, lat = centres_near(*box)
    in_lon = (west <= lon) & (lon <= east) if west < east else (lon >= west) | (lon <= east)
    inside = in_lon & (south <= lat) & (lat <= north)
    has_tile = choose_chips(lon, lat).tiles != NO_TILE
    answer = cells_in_region(",".join(map(str, box)), None, 0)
    assert answer.cells
    assert [cell.cell_id for cell in answer.cells] == found[inside & has_tile].tolist()
    assert answer.without_tile == (inside & ~has_tile).sum()


@pytest.mark.parametrize("box", ["-180,89,180,90", "-180,-90,180,-89"])
def test_at_the_poles_no_cell_has_a_tile(box: str) -> None:
    answer = cells_in_region(box, None, 0)
    assert answer.cells == ()
    # A degree around a pole: 2 pi (1 - cos 1 deg) of the 4 pi of the globe, of which all cells have equal parts.
    expected = grid.NUM_CELLS * (1 - np.cos(np.radians(1))) / 2
    assert answer.without_tile == pytest.approx(expected, rel=0.02)


def test_geojson_says_the_same_as_a_box() -> None:
    box = ids("10,50,10.1,50.1")
    assert box
    multi = {"type": "MultiPolygon", "coordinates": [[SQUARE]]}
    with_height = {"type": "Polygon", "coordinates": [[[*point, 500] for point in SQUARE]]}
    for region in (
        POLYGON,
        multi,
        feature(POLYGON),
        collection(POLYGON),
        collection(multi, POLYGON),
        with_height,
    ):
        assert ids(region) == box
    # At the antimeridian a polygon is cut, where a box has min_lon > max_lon.
    halves = [shapely.box(179.9, -16.6, 180, -16.5), shapely.box(-180, -16.6, -179.9, -16.5)]
    cut = json.loads(shapely.to_geojson(shapely.MultiPolygon(halves)))
    assert ids(cut) == ids("179.9,-16.6,-179.9,-16.5")


def test_a_polygon_with_a_hole_is_what_shapely_says() -> None:
    hole = [[10.02, 50.02], [10.08, 50.02], [10.05, 50.08], [10.02, 50.02]]
    region = {"type": "Polygon", "coordinates": [SQUARE, hole]}
    found, lon, lat = centres_near(10, 50, 10.1, 50.1)
    polygon = shapely.Polygon(SQUARE, [hole])
    inside = [polygon.covers(shapely.Point(*point)) for point in zip(lon, lat, strict=True)]
    assert ids(region) == set(found[inside].tolist())
    assert ids(region) < ids(POLYGON)


@pytest.mark.parametrize(
    "name",
    [
        "urn:ogc:def:crs:OGC:1.3:CRS84",
        "urn:ogc:def:crs:OGC::CRS84",
        "http://www.opengis.net/def/crs/OGC/1.3/CRS84",
        "urn:ogc:def:crs:EPSG::4326",
        "EPSG:4326",
    ],
)
def test_a_crs_member_may_name_wgs_84(name: str) -> None:
    crs = {"type": "name", "properties": {"name": name}}
    assert ids({**collection(POLYGON), "crs": crs}) == ids(POLYGON)
    assert ids({**POLYGON, "crs": None}) == ids(POLYGON)


@pytest.mark.parametrize(
    "crs",
    [
        {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::3857"}},
        {"type": "name", "properties": {"name": "EPSG:32632"}},
        {"type": "name", "properties": {"name": "EPSG:4267"}},
        {"type": "name", "properties": {"name": "my own"}},
        {"type": "link", "properties": {"href": "data.crs", "type": "ogcwkt"}},
        {"type": "name"},
        {"type": "name", "properties": ["EPSG:4326"]},
        "EPSG:4326",
    ],
)
def test_another_crs_is_refused(crs: Any) -> None:
    for region, path in (
        ({**POLYGON, "crs": crs}, r"\$\.crs"),
        ({**collection(POLYGON), "crs": crs}, r"\$\.crs"),
        (collection(POLYGON, {**POLYGON, "crs": crs}), r"\$\.features\[1\]\.geometry\.crs"),
    ):
        with pytest.raises(InvalidInputError, match=rf"longitude and latitude of WGS 84.* at {path}: "):
            ids(region)


@pytest.mark.parametrize(
    ("region", "message"),
    [
        ("{", "is no JSON"),
        ("", "is no JSON"),
        ([POLYGON], r"must be an object. Received at \$: \[{\"type\": \"Polygon\""),
        ('"Polygon"', r"must be an object. Received at \$: \"Polygon\""),
        ({}, r"Received at \$: None"),
        ({"type": "Topology"}, r"Received at \$: 'Topology'"),
        ({"type": "LineString", "coordinates": SQUARE}, r"Received at \$: 'LineString'"),
        ({"type": "GeometryCollection", "geometries": [POLYGON]}, "'GeometryCollection'"),
        ({"type": "FeatureCollection"}, "'FeatureCollection'"),
        (collection(), "holds no polygon"),
        (feature(None), r"must be an object. Received at \$\.geometry: null"),
        (collection(POLYGON, None), r"Received at \$\.features\[1\]\.geometry: null"),
        (collection(POLYGON, {"type": "Point", "coordinates": [10, 50]}), r"features\[1\]\.geometry: 'Point'"),
        ({"type": "Polygon"}, r"at \$ is no polygon"),
        ({"type": "Polygon", "coordinates": "x"}, r"at \$ is no polygon"),
        ({"type": "Polygon", "coordinates": []}, r"at \$ is empty"),
        ({"type": "Polygon", "coordinates": [SQUARE[:2]]}, r"at \$ is no polygon"),
        ({"type": "Polygon", "coordinates": [[SQUARE[0], SQUARE[2], SQUARE[1], SQUARE[3], SQUARE[0]]]}, "not valid"),
        ({"type": "Polygon", "coordinates": [[[1e6, 6e6], [1.1e6, 6e6], [1.1e6, 6.1e6], [1e6, 6e6]]]}, "-180 to 180"),
        ({"type": "Polygon", "coordinates": [[[179, 1], [181, 1], [181, 2], [179, 1]]]}, "cut it at the antimeridian"),
        ({"type": "Polygon", "coordinates": [[[10, 50], [float("nan"), 50], [10, 51], [10, 50]]]}, "GeoJSON at"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:invalid value encountered")  # shapely's word for NaN
def test_malformed_geojson_is_named(region: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        ids(region)


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ("1,2,3", "Received 3 numbers"),
        ("1,2,3,4,5", "Received 5 numbers"),
        ("10,51,11,50", "min_lat of a bounding box is below max_lat"),
        ("10,50,11,50", "min_lat of a bounding box is below max_lat"),
        ("10,50,10,51", "are the same"),
        ("-181,50,10,51", "lie in -180 to 180"),
        ("10,50,180.1,51", "lie in -180 to 180"),
        ("10,50,1e400,51", "lie in -180 to 180"),
        ("10,50,11,90.1", "both lie in -90 to 90"),
        ("-180,-90,180,90", f"holds more than {MOST_CELLS:,} cells. Draw some of them with --max_cells"),
    ],
)
def test_malformed_boxes_are_named(box: str, message: str) -> None:
    assert is_bbox(box)
    with pytest.raises(InvalidInputError, match=message):
        ids(box)


@pytest.mark.parametrize(
    "ring",
    [
        [[10, -90.5], [11, -90.5], [11, -89], [10, -90.5]],
        [[10, 89], [11, 89], [11, 90.5], [10, 89]],
        [[-180.5, 1], [-179, 1], [-179, 2], [-180.5, 1]],
        [[179, 1], [180.5, 1], [179, 2], [179, 1]],
    ],
)
def test_a_polygon_lies_on_the_globe(ring: list[list[float]]) -> None:
    with pytest.raises(InvalidInputError, match=r"\$ must lie in -180 to 180 and -90 to 90"):
        ids({"type": "Polygon", "coordinates": [ring]})


def test_the_whole_globe_is_a_polygon() -> None:
    ring = [[-180, -90], [180, -90], [180, 90], [-180, 90], [-180, -90]]
    (polygon,) = region_polygons(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    assert polygon.bounds == (-180, -90, 180, 90)


def test_a_box_across_the_antimeridian_is_two() -> None:
    bounds = [polygon.bounds for polygon in region_polygons("179.9,-16.6,-179.8,-16.5")]
    assert bounds == [(179.9, -16.6, 180.0, -16.5), (-180.0, -16.6, -179.8, -16.5)]


def test_cells_know_the_split_of_their_tile() -> None:
    cells = cells_in_region("9,47,9.4,48.4", None, 0).cells
    assert {cell.split for cell in cells} == {"training", "testing"}
    assert all(cell.split == split_of_tile(0, cell.tile) for cell in cells)


def all_ids(box: str) -> np.ndarray:
    polygons = region_polygons(box)
    return np.concatenate([ids_in_band(band, polygons) for band in bands_of(polygons)])


# At 84 N only some cells have a tile; the second region comes in several batches.
@pytest.mark.parametrize(("box", "most", "seed"), [("10,83.9,14,84.1", 60, 7), ("0,0,9,9", 2, 4)])
def test_cells_drawn_are_those_of_the_smallest_hashes_that_have_a_tile(
    box: str, most: int, seed: int
) -> None:
    everywhere = all_ids(box)
    has_tile = choose_chips(*grid.id_to_center(everywhere)).tiles != NO_TILE
    order = np.argsort(cell_hashes(seed, everywhere))
    drawn = order[has_tile[order]][:most]
    last = int(np.flatnonzero(order == drawn[-1])[0])
    found = cells_in_region(box, most, seed)
    assert found == type(found)(cells_from_ids(everywhere[drawn], seed).cells, last + 1 - most)
    assert len(found.cells) == most
    assert (found.without_tile > 0) == (not has_tile.all())


def test_where_fewer_cells_are_than_drawn_all_are_taken() -> None:
    box = "10,83.9,14,84.1"
    everyone = cells_in_region(box, None, 7)
    assert everyone.without_tile > 0
    assert cells_in_region(box, 1_000_000, 7) == everyone
    for most in (0, MOST_CELLS + 1):
        with pytest.raises(InvalidInputError, match="--max_cells must be 1 to"):
            cells_in_region(box, most, 7)


def test_cells_within_polygons_are_told_by_their_centres() -> None:
    polygons = region_polygons(json.dumps(collection(POLYGON)))
    everywhere = all_ids("9.9,49.9,10.3,50.3")
    inside = within_any(everywhere, polygons)
    assert inside.dtype == bool
    assert set(everywhere[inside].tolist()) == ids(POLYGON)
    assert not within_any(everywhere, []).any()


def test_what_is_meant_as_a_box() -> None:
    assert is_bbox(" 10 ,50.,.5 , -1e1")
    for text in (
        "",
        "nan,1,2,3",
        "0x1,2,3,4",
        "10 50 11 51",
        "alps.geojson",
        "10,50,11,51.geojson",
        "1_0,2,3,4",
    ):
        assert not is_bbox(text)
