"""Shapes drawn on the plan: blobs, split rectangles, ribbons and rows of houses."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry import LineString, Polygon
from shapely.geometry.base import BaseGeometry

Rect = tuple[float, float, float, float]
"""(left, bottom, right, top) in metres of the plan."""

_CORNERS = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)])


def inset(rect: Rect, by: float) -> Rect:
    """Returns the rectangle `by` metres smaller on every side."""
    return rect[0] + by, rect[1] + by, rect[2] - by, rect[3] - by


def within(rect: Rect, west: float, south: float, east: float, north: float) -> Rect:
    """Returns the part of a rectangle between fractions of its sides."""
    width, height = rect[2] - rect[0], rect[3] - rect[1]
    return (
        rect[0] + west * width,
        rect[1] + south * height,
        rect[0] + east * width,
        rect[1] + north * height,
    )


def blob(rng: np.random.Generator, rect: Rect, roughness: float = 0.22, points: int = 44) -> Polygon:
    """Draws a rounded irregular outline that fills most of a rectangle.

    Args:
        rng: Draws the waves of the outline.
        rect: Where.
        roughness: How far the outline strays, as a fraction of the radius.
        points: Number of vertices.

    Returns:
        A simple polygon inside of `rect`.
    """
    angle = np.arange(points) * (2 * math.pi / points)
    radius = np.ones(points)
    for wave in (2, 3, 5, 8):
        radius += (
            roughness
            / math.sqrt(wave)
            * rng.uniform(-1, 1)
            * np.sin(wave * angle + rng.uniform(0, 2 * math.pi))
        )
    radius /= radius.max()
    x = (rect[0] + rect[2]) / 2 + radius * np.cos(angle) * (rect[2] - rect[0]) / 2
    y = (rect[1] + rect[3]) / 2 + radius * np.sin(angle) * (rect[3] - rect[1]) / 2
    return Polygon(np.column_stack((x, y)))


def split(rng: np.random.Generator, rect: Rect, area_m2: float) -> list[Rect]:
    """Splits a rectangle again and again until no piece is much larger than `area_m2`."""
    width, height = rect[2] - rect[0], rect[3] - rect[1]
    if width * height < area_m2 * rng.uniform(0.8, 1.9):
        return [rect]
    share = rng.uniform(0.36, 0.64)
    if width > height:
        pieces = within(rect, 0, 0, share, 1), within(rect, share, 0, 1, 1)
    else:
        pieces = within(rect, 0, 0, 1, share), within(rect, 0, share, 1, 1)
    return [small for piece in pieces for small in split(rng, piece, area_m2)]


def ribbon(line: LineString, width: float) -> Polygon:
    """Returns a line as wide as a road, with flat ends."""
    return line.buffer(width / 2, cap_style="flat", join_style="mitre")


def rectangles(
    centres: npt.NDArray[np.float64], sizes: npt.NDArray[np.float64], angles: npt.NDArray[np.float64]
) -> npt.NDArray[np.object_]:
    """Draws many rectangles at once.

    Args:
        centres: (N, 2) metres.
        sizes: (N, 2) width and height in metres.
        angles: (N,) radians, anticlockwise.

    Returns:
        (N,) polygons.
    """
    corners = _CORNERS[None] * sizes[:, None, :]  # (N, 4, 2)
    cosine, sine = np.cos(angles)[:, None], np.sin(angles)[:, None]
    turned = np.stack(
        (
            corners[..., 0] * cosine - corners[..., 1] * sine,
            corners[..., 0] * sine + corners[..., 1] * cosine,
        ),
        axis=-1,
    )
    return np.asarray(shapely.polygons(turned + centres[:, None, :]), dtype=object)


def parts(geometry: shapely.Geometry) -> list[Polygon]:
    """Returns the polygons of any geometry, slivers left out."""
    flat = shapely.get_parts(geometry)
    return [part for part in flat if isinstance(part, Polygon) and part.area > 50]


def holed(outer: Polygon, holes: Sequence[Polygon]) -> BaseGeometry:
    """Cuts holes that lie wholly inside of a polygon."""
    inside = [hole for hole in holes if outer.contains(hole.buffer(5))]
    return outer.difference(shapely.union_all(inside)) if inside else outer
