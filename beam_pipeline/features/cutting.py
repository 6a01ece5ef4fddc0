"""Cuts objects of very many nodes to the cells of a tile: a sea or a forest may lie in a hundred tiles."""

from collections.abc import Mapping, Sequence

import numpy as np
import shapely

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.features.identity import CUT_M
from beam_pipeline.labels.box_cuts import cut_to_boxes
from beam_pipeline.labels.chip_boxes import Bounds, lonlat_boxes
from beam_pipeline.labels.geometries import Geometries, keep_dimension

_TURN = 360.0
_TURNS = (0.0, -_TURN, _TURN)


def cut_box(chips: Mapping[int, ChipWindow]) -> Bounds:
    """Returns the box of a tile's chips and `CUT_M` around them, in degrees; beyond 180 where it crosses there."""
    boxes = lonlat_boxes(list(chips.values()), CUT_M)
    # Chips on both sides of the antimeridian lie in one box, not in one around the world.
    middles = (boxes[:, 0] + boxes[:, 2]) / 2
    boxes[:, [0, 2]] -= _TURN * np.round((middles - middles[0]) / _TURN)[:, None]
    west, south = boxes[:, :2].min(0).tolist()
    east, north = boxes[:, 2:].max(0).tolist()
    return west, south, east, north


def cut_to_tiles(geometry: shapely.Geometry, boxes: Sequence[Bounds]) -> Geometries:
    """Cuts one geometry to the boxes of tiles.

    Args:
        geometry: Valid and continuous in longitude, as `clipping.mend` gives it.
        boxes: N boxes in degrees, from `cut_box`.

    Returns:
        (N,) the parts in the boxes, of the geometry's dimension, where the geometry has them; None where there is none.
    """
    cut: Geometries = np.full(len(boxes), None, dtype=object)
    geometries = np.array([geometry], dtype=object)
    for turn in _TURNS:  # the box moves, so that what is kept of the geometry stays as it is to the last bit
        moved = np.array(boxes).reshape(-1, 4) + turn * np.array([1.0, 0.0, 1.0, 0.0])
        west, south, east, north = shapely.bounds(geometry)
        meets = (
            (moved[:, 0] <= east) & (moved[:, 2] >= west) & (moved[:, 1] <= north) & (moved[:, 3] >= south)
        )
        rows = np.flatnonzero(meets)
        if not len(rows):
            continue
        parts = cut_to_boxes(geometries, np.zeros(len(rows), np.int64), moved[rows])
        both = ~shapely.is_missing(cut[rows]) & ~shapely.is_missing(parts)
        parts[both] = shapely.union(cut[rows][both], parts[both])
        parts[both] = keep_dimension(parts[both], shapely.get_dimensions(geometries)[[0] * int(both.sum())])
        found = ~shapely.is_missing(parts)
        cut[rows[found]] = parts[found]
    return cut
