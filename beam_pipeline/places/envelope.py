"""The middle of a place: that of its bounds in degrees."""

import shapely
from shapely.geometry.base import BaseGeometry

from beam_pipeline.places.place_list import checked_degrees, refused

_TYPES = ("Point", "Polygon", "MultiPolygon")
_HALF_TURN, _TURN = 180.0, 360.0


def middle_of(geometry: BaseGeometry, where: str, field: str) -> tuple[float, float]:
    """Checks a geometry, and returns (longitude, latitude) of the middle of its bounds.

    Args:
        geometry: A point or polygon in degrees. One that is wider than half the Earth crosses the antimeridian.
        where: Where it is from, for messages.
        field: Its field, for messages.

    Raises:
        InvalidInputError: It is of another type, empty, invalid, or beyond the Earth.
    """
    if geometry.geom_type not in _TYPES:
        raise refused(where, field, f"be one of {', '.join(_TYPES)}", geometry.geom_type)
    if geometry.is_empty:
        raise refused(where, field, "not be empty", geometry.wkt)
    if not geometry.is_valid:
        raise refused(where, field, "be a valid geometry", shapely.is_valid_reason(geometry))
    west, south, east, north = geometry.bounds
    for longitude, latitude in ((west, south), (east, north)):
        checked_degrees(longitude, latitude, where, (f"{field}, longitude,", f"{field}, latitude,"))
    if east - west > _HALF_TURN:
        longitudes = shapely.get_coordinates(geometry)[:, 0] % _TURN
        west, east = float(longitudes.min()), float(longitudes.max())
    return wrapped((west + east) / 2), (south + north) / 2


def wrapped(longitude: float) -> float:
    """Returns a longitude as one from -180 to 180."""
    return longitude - _TURN if longitude > _HALF_TURN else longitude
