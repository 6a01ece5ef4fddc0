"""Makes geometries in degrees continuous in longitude where they cross the antimeridian.

Features come in longitude and latitude, -180 to 180, as their source has them. What crosses 180 degrees jumps to
the other side there; continuous, it goes on beyond 180.
"""

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from beam_pipeline.labels.geometries import Geometries

_HALF_TURN = 180.0


def make_continuous(geometries: Geometries) -> Geometries:
    """Makes geometries in degrees 2D and continuous in longitude.

    Args:
        geometries: (N,) geometries of any kind, or None.

    Returns:
        (N,) geometries, valid or not; None where nothing can be drawn.
    """
    mended = shapely.force_2d(geometries)
    coordinates, rows = shapely.get_coordinates(mended, return_index=True)
    mended[rows[~np.isfinite(coordinates).all(axis=1)]] = None
    mended[shapely.is_empty(mended)] = None
    bounds = shapely.bounds(mended)
    for row in np.flatnonzero(bounds[:, 2] - bounds[:, 0] > _HALF_TURN):
        mended[row] = _unwrap(mended[row])
    return mended


def _unwrap(geometry: BaseGeometry) -> BaseGeometry:
    """Returns a geometry that jumps from one side of the antimeridian to the other as one that crosses it.

    No edge in OpenStreetMap is meant to go more than half around the world, so a jump of more than 180
    degrees is a crossing. Each line and ring is made continuous and brought to a mean longitude in [0, 360),
    so that shells and their holes stay together. Rings around a pole, which end elsewhere than they begin,
    and bands around the world, which would collapse, stay as they are.
    """
    parts = shapely.get_parts(geometry)
    if shapely.get_dimensions(geometry) == 2:
        parts = shapely.get_rings(parts)
    moved = []
    jumps = False
    for piece in map(shapely.get_coordinates, parts):
        jumps |= bool(np.abs(np.diff(piece[:, 0])).max(initial=0.0) > _HALF_TURN)
        lon = np.unwrap(piece[:, 0], period=360.0)
        closed = bool((piece[0] == piece[-1]).all())
        around_pole = closed and abs(lon[-1] - lon[0]) > 1.0
        if around_pole or (np.ptp(lon) == 0.0 and np.ptp(piece[:, 0]) > 0.0):
            return geometry
        lon = lon - 360.0 * np.floor(lon.mean() / 360.0)
        if closed:
            lon[-1] = lon[0]  # to the last bit, or the ring would not close
        moved.append(np.column_stack([lon, piece[:, 1]]))
    if not jumps:
        return geometry  # it is as wide as it says
    unwrapped: BaseGeometry = shapely.transform(geometry, lambda _: np.concatenate(moved))
    return unwrapped
