"""Cuts geometries to boxes, a large one to many boxes in little time.

A cut takes time by the size of what is cut, and a lake of a hundred thousand nodes may lie in thousands of boxes. So it
is cut to ever smaller tiles first, and to each box from the smallest tile that holds it. The tiles are those of a
fixed grid: what comes of a geometry in a box is the same to the last bit, whatever the other boxes.
"""

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry

from beam_pipeline.labels.chip_boxes import Boxes
from beam_pipeline.labels.geometries import Geometries, Indices, keep_dimension

MOST_UNTILED = 500
"""Coordinates of a geometry that is cut to its boxes without tiles: for less they do not pay."""

_WORLD = 512.0  # side of the largest tile in degrees: halved, it stays exact
_MARGIN = (
    0.25  # of a tile's side, by which it overlaps its neighbours; a box of twice that fits into one of them
)


def cut_to_boxes(geometries: Geometries, owners: Indices, boxes: Boxes) -> Geometries:
    """Cuts geometries in degrees to boxes.

    Args:
        geometries: (G,) valid geometries, or None.
        owners: (N,) for each box, the index of the geometry that is cut to it.
        boxes: (N, 4) boxes in degrees.

    Returns:
        (N,) the parts in the boxes, of the dimension of their geometries; None where there are none.
    """
    parts = geometries[owners]
    for owner in np.flatnonzero(shapely.get_num_coordinates(geometries) > MOST_UNTILED):
        rows = np.flatnonzero(owners == owner)
        parts[rows] = _near(geometries[owner], boxes[rows], np.array([_WORLD, _WORLD]))
    return cut(parts, boxes)


def cut(geometries: Geometries, boxes: Boxes) -> Geometries:
    """Cuts valid geometries at boxes, both (N,) and (N, 4); those that lie inside are left untouched."""
    bounds = shapely.bounds(geometries)
    inside = (bounds[:, :2] >= boxes[:, :2]).all(1) & (bounds[:, 2:] <= boxes[:, 2:]).all(1)
    rows = np.flatnonzero(~inside & ~shapely.is_missing(geometries))
    cut = geometries.copy()
    pieces = shapely.intersection(geometries[rows], shapely.box(*boxes[rows].T))
    cut[rows] = keep_dimension(pieces, shapely.get_dimensions(geometries[rows]))
    return cut


def _near(geometry: BaseGeometry | None, boxes: Boxes, side: npt.NDArray[np.float64]) -> Geometries:
    """Returns, for each of (N, 4) boxes, a part of a geometry that holds all that lies in the box.

    Args:
        geometry: What lies in a tile and its margin.
        boxes: The boxes whose middle lies in that tile.
        side: (2,) the width and the height of the tile.
    """
    parts: Geometries = np.full(len(boxes), None, dtype=object)
    parts[:] = geometry
    if shapely.get_num_coordinates(geometry) <= MOST_UNTILED:
        return parts
    sizes = boxes[:, 2:] - boxes[:, :2]
    sides = np.where(sizes <= _MARGIN * side, side / 2, side)  # (N, 2): only as small as holds the box
    tiles = np.floor((boxes[:, :2] + boxes[:, 2:]) / 2 / sides) * sides  # (N, 2): their lower left corners
    smaller = (sides < side).any(axis=1)
    for tile in np.unique(np.hstack([tiles, sides])[smaller], axis=0):
        rows = np.flatnonzero((np.hstack([tiles, sides]) == tile).all(axis=1))
        corner, its_side = tile[:2], tile[2:]
        reach = np.concatenate([corner - _MARGIN * its_side, corner + (1 + _MARGIN) * its_side])
        (part,) = cut(np.array([geometry], dtype=object), reach[None])
        parts[rows] = _near(part, boxes[rows], its_side)
    return parts
