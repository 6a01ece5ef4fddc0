"""Reads labelled places from a CSV or a GeoJSON: points or polygons, each with its class.

The columns of a CSV, and the properties of a GeoJSON's features, are `class`; `name`, `split` and `date`, which may be
missing. A CSV has `lon` and `lat`, or the geometry as text in `wkt`.
"""

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

import pydantic
import shapely
from shapely.errors import ShapelyError
from shapely.geometry import Point, shape
from shapely.geometry.base import BaseGeometry

from beam_pipeline.places.envelope import middle_of
from beam_pipeline.places.place_list import (
    GivenPlace,
    PlaceList,
    checked_date,
    checked_degrees,
    checked_name,
    checked_split,
    refused,
)
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.parsing import MalformedError, parse_json

_ADVICE = "A CSV of places begins with a line like name,class,lon,lat or name,class,wkt"


class _Feature(pydantic.BaseModel):
    geometry: dict[str, Any] | None
    properties: dict[str, Any] | None


class _Collection(pydantic.BaseModel):
    type: str
    features: list[_Feature]


_COLLECTION = pydantic.TypeAdapter(_Collection)


def read_table(text: str, name: str) -> PlaceList:
    """Reads a CSV or a GeoJSON.

    Args:
        text: Its content.
        name: Its name, which ends with .json or .geojson where it is a GeoJSON.

    Returns:
        All places of it.

    Raises:
        InvalidInputError: It is neither, or holds what cannot be used: file, line or feature, and field are named.
    """
    rows = _features(text, name) if name.lower().endswith((".json", ".geojson")) else _lines(text, name)
    places = tuple(_place(*row) for row in rows)
    if not places:
        raise InvalidInputError(f"{name} holds no place")
    return PlaceList("table", places, {})


def _place(where: str, fields: Mapping[str, Any], geometry: BaseGeometry, field: str) -> GivenPlace:
    longitude, latitude = middle_of(geometry, where, field)
    given = fields.get("name")
    return GivenPlace(
        # A name that stays as it is when lines are sorted or taken out.
        name=f"{longitude!r},{latitude!r}" if given in (None, "") else checked_name(given, where, "name"),
        class_name=checked_name(fields["class"], where, "class"),
        longitude=longitude,
        latitude=latitude,
        where=where,
        split=checked_split(fields.get("split"), where, "split"),
        date=checked_date(fields.get("date"), where, "date"),
    )


def _lines(text: str, name: str) -> Iterator[tuple[str, Mapping[str, Any], BaseGeometry, str]]:
    reader = csv.DictReader(io.StringIO(text), strict=True)
    try:
        columns = list(reader.fieldnames or ())
        doubled = sorted({column for column in columns if columns.count(column) > 1})
        if doubled:
            raise InvalidInputError(f"{name}, line 1: columns are there twice: {', '.join(doubled)}")
        missing = [] if "class" in columns else ["class"]
        if "wkt" not in columns:
            missing += [column for column in ("lon", "lat") if column not in columns]
        if missing:
            raise InvalidInputError(
                f"{name}, line 1: columns are missing: {', '.join(missing)}. {_ADVICE}. "
                f"Received: {','.join(columns)[:200]}"
            )
        for fields in reader:
            where = f"{name}, line {reader.line_num}"
            if None in fields or None in fields.values():
                raise InvalidInputError(f"{where}: it has more or fewer fields than line 1")
            if "wkt" in columns:
                yield where, fields, _from_wkt(fields["wkt"], where), "wkt"
            else:
                point = checked_degrees(fields["lon"], fields["lat"], where, ("lon", "lat"))
                yield where, fields, Point(*point), "lon and lat"
    except csv.Error as error:
        raise InvalidInputError(f"{name}, line {reader.line_num}: it is no CSV: {error}") from error


def _from_wkt(text: str, where: str) -> BaseGeometry:
    try:
        return shapely.from_wkt(text)
    except ShapelyError:
        raise refused(where, "wkt", "be a geometry like POINT (6.1 49.6)", text) from None


def _features(text: str, name: str) -> Iterator[tuple[str, Mapping[str, Any], BaseGeometry, str]]:
    try:
        collection = parse_json(_COLLECTION, text)
    except MalformedError as error:
        raise InvalidInputError(
            f"{name} is no GeoJSON of places: {error}. A FeatureCollection is wanted"
        ) from error
    if collection.type != "FeatureCollection":
        raise refused(name, "type", "be FeatureCollection", collection.type)
    for index, feature in enumerate(collection.features):
        where = f"{name}, feature {index}"
        properties = feature.properties or {}
        if "class" not in properties:
            raise refused(where, "properties", "have a class", sorted(properties))
        yield where, properties, _from_geojson(feature.geometry, where), "geometry"


def _from_geojson(geometry: dict[str, Any] | None, where: str) -> BaseGeometry:
    try:
        return shape(geometry or {})
    # Of a geometry that is none, shapely and numpy raise whatever they meet first.
    except (ShapelyError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        raise refused(where, "geometry", "be that of a point or polygon", geometry) from None
