"""Places from a CSV or a GeoJSON."""

import json

import pytest

from beam_pipeline.places.place_list import GivenPlace
from beam_pipeline.places.table import read_table
from beam_pipeline.runtime.faults import InvalidInputError


def of_csv(*lines: str) -> tuple[GivenPlace, ...]:
    return read_table("\n".join(lines) + "\n", "a.csv").places


def of_geojson(*features: object, **more: object) -> tuple[GivenPlace, ...]:
    return read_table(
        json.dumps({"type": "FeatureCollection", "features": features, **more}), "a.geojson"
    ).places


def feature(geometry: object, **properties: object) -> dict[str, object]:
    return {"type": "Feature", "geometry": geometry, "properties": {"class": "wood", **properties}}


def box(west: float, south: float, east: float, north: float) -> dict[str, object]:
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def test_points_of_a_csv():
    named, unnamed = of_csv(
        "name,class,lon,lat,split,date,remark",
        "a mill, industry ,6.25,49.5,val,2019-07-01T10:20:30Z,x",
        ",wood,-180,-90,,,",
    )
    assert named == GivenPlace("a mill", "industry", 6.25, 49.5, "a.csv, line 2", "validation", "2019-07-01")
    assert unnamed == GivenPlace("-180.0,-90.0", "wood", -180.0, -90.0, "a.csv, line 3")


def test_the_place_of_a_polygon_is_the_middle_of_its_bounds():
    (triangle,) = of_csv("class,wkt", 'wood,"POLYGON ((6 49, 8 49, 6 50, 6 49))"')
    assert (triangle.longitude, triangle.latitude) == (7.0, 49.5)
    square, across = of_geojson(
        feature(box(6, 49, 7, 51), name="square", split="testing"), feature(box(179, -1, -179, 1))
    )
    assert (square.name, square.longitude, square.latitude, square.split) == ("square", 6.5, 50.0, "testing")
    assert (abs(across.longitude), across.latitude) == (180.0, 0.0)
    (west_of_it,) = of_geojson(feature(box(178, -1, -179, 1)))
    assert west_of_it.longitude == 179.5


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["name,lon,lat", "a,6,49"], "a.csv, line 1: columns are missing: class"),
        (["class,lon", "a,6"], "a.csv, line 1: columns are missing: lat"),
        (["class,class,lon,lat", "a,a,6,49"], "a.csv, line 1: columns are there twice: class"),
        ([""], "a.csv, line 1: columns are missing: class, lon, lat"),
        (["class,lon,lat"], "a.csv holds no place"),
        (["class,lon,lat", "a,6"], "a.csv, line 2: it has more or fewer fields"),
        (["class,lon,lat", "a,6,49,3"], "a.csv, line 2: it has more or fewer fields"),
        (["class,lon,lat", " ,6,49"], "a.csv, line 2: class must be a printable text"),
        (["class,lon,lat", "a\x07,6,49"], "a.csv, line 2: class must be a printable text"),
        (["class,lon,lat", "a,6,49", "b,181,49"], "a.csv, line 3: lon must be degrees from -180 to 180"),
        (["class,lon,lat", "a,nan,49"], "a.csv, line 2: lon must be degrees"),
        (["class,lon,lat", "a,6,"], "a.csv, line 2: lat must be degrees from -90 to 90"),
        (["class,lon,lat,split", "a,6,49,dev"], "a.csv, line 2: split must be one of training"),
        (["class,lon,lat,date", "a,6,49,July"], "a.csv, line 2: date must be a date like"),
        (["class,wkt", "a,POINT (6"], "a.csv, line 2: wkt must be a geometry like POINT"),
        (["class,wkt", "a,POINT EMPTY"], "a.csv, line 2: wkt must not be empty"),
        (["class,wkt", '"a","LINESTRING (6 49, 7 49)"'], "a.csv, line 2: wkt must be one of Point"),
        (
            ["class,wkt", 'a,"POLYGON ((0 0, 2 2, 2 0, 0 2, 0 0))"'],
            "wkt must be a valid geometry.*Self-inter",
        ),
        (["class,wkt", "a,POINT (6 91)"], "a.csv, line 2: wkt, latitude, must be degrees"),
        (["class,lon,lat", 'a,6,"49'], "a.csv, line .: it is no CSV"),
    ],
)
def test_what_is_wrong_with_a_csv_is_named(lines, message):
    with pytest.raises(InvalidInputError, match=message):
        of_csv(*lines)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "a.json is no GeoJSON of places"),
        ("[]", "a.json is no GeoJSON of places"),
        ('{"type": "FeatureCollection"}', "a.json is no GeoJSON of places: .*features"),
        ('{"type": "Feature", "features": []}', "a.json: type must be FeatureCollection"),
        ('{"type": "FeatureCollection", "features": []}', "a.json holds no place"),
    ],
)
def test_what_is_no_geojson_is_named(content, message):
    with pytest.raises(InvalidInputError, match=message):
        read_table(content, "a.json")


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (
            {"type": "Feature", "geometry": box(0, 0, 1, 1), "properties": None},
            "properties must have a class",
        ),
        (feature(None), "feature 0: geometry must be"),
        (feature({"type": "Point"}), "feature 0: geometry must be"),
        (feature({"type": "Point", "coordinates": ["a", "b"]}), "feature 0: geometry must be"),
        (feature({"type": "Sphere", "coordinates": [1, 2]}), "feature 0: geometry must be"),
        (feature({"type": "Point", "coordinates": [6, 95]}), "geometry, latitude, must be degrees"),
        (feature(box(0, 0, 1, 1), name=5), "feature 0: name must be a printable text"),
        (
            feature(box(0, 0, 1, 1)) | {"properties": {"class": 3}},
            "feature 0: class must be a printable text",
        ),
    ],
)
def test_what_is_wrong_with_a_feature_is_named(one, message):
    with pytest.raises(InvalidInputError, match=message):
        of_geojson(one)
