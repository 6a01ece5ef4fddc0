"""Where the made-up place lies: on the open Atlantic, where tiles of all three splits meet."""

import math

import numpy as np
import numpy.typing as npt
from pyproj import CRS, Transformer

ORIGIN_LON = -42.0
ORIGIN_LAT = 38.8103
"""Degrees of the point where 23SQD, 24STJ (training), 23SQC (testing) and 24STH (validation) meet.

It is the border of two UTM zones and of two rows of 100 km squares; it is about 900 km to the nearest land. The
splits are those of seed 0; a test asserts them.
"""

_SOUTH_SHARE = 0.3
"""Share of the area south of the origin, in the two tiles that are not for training."""

_CELL_M = 1925.0
"""Side in metres of the square that one cell takes up on average, the grid's rounding included."""

_PLANE = CRS.from_proj4(
    f"+proj=tmerc +lat_0={ORIGIN_LAT} +lon_0={ORIGIN_LON} +k=1 +x_0=0 +y_0=0 +datum=WGS84"
)

Points = npt.NDArray[np.float64]


def area_bounds(cells: int) -> tuple[float, float, float, float]:
    """Returns the square that holds about `cells` cells.

    Args:
        cells: How many cells, at least 1.

    Returns:
        (left, bottom, right, top) in metres of the plane, whose origin is where the tiles meet.
    """
    side = math.sqrt(cells) * _CELL_M
    return -side / 2, -side * _SOUTH_SHARE, side / 2, side * (1 - _SOUTH_SHARE)


def area_region(cells: int) -> str:
    """Returns the area as "min_lon,min_lat,max_lon,max_lat" in degrees, 6 decimals."""
    left, bottom, right, top = area_bounds(cells)
    to_lonlat = Transformer.from_crs(_PLANE, 4326, always_xy=True)
    # The sides are meridians and parallels in the middle of the area, so that it stays a square in degrees.
    west, east = (float(to_lonlat.transform(x, (bottom + top) / 2)[0]) for x in (left, right))
    south, north = (float(to_lonlat.transform(0.0, y)[1]) for y in (bottom, top))
    return f"{west:.6f},{south:.6f},{east:.6f},{north:.6f}"


def plane_to_lonlat(points: Points) -> Points:
    """Converts (N, 2) metres of the plane to (N, 2) longitude and latitude in degrees."""
    return np.column_stack(
        Transformer.from_crs(_PLANE, 4326, always_xy=True).transform(points[:, 0], points[:, 1])
    )


def plane_to_utm(points: Points, epsg: int) -> Points:
    """Converts (N, 2) metres of the plane to (N, 2) metres of a UTM zone."""
    return np.column_stack(
        Transformer.from_crs(_PLANE, epsg, always_xy=True).transform(points[:, 0], points[:, 1])
    )


def utm_to_plane(points: Points, epsg: int) -> Points:
    """Converts (N, 2) metres of a UTM zone to (N, 2) metres of the plane."""
    return np.column_stack(
        Transformer.from_crs(epsg, _PLANE, always_xy=True).transform(points[:, 0], points[:, 1])
    )
