"""Tells tangles: geometries that cross themselves so often that to repair or to cut them could take minutes.

`shapely.make_valid` peels a polygon ring by ring: what it takes grows with the number of rings, up to one more
than there are crossings, times the size of what the crossings make of the polygon. A scribble of 500 nodes
takes minutes. A line needs no repair, but an overlay breaks it at each crossing. So what is too tangled is told
by its crossings and left alone.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from beam_pipeline.labels.geometries import Geometries

MOST_WORK = 4_000_000
"""Of what is not tangled, see `_work`. At this bound, 780 crossings of 2,000 segments or 40 of 100,000,
`make_valid` takes about a second for stars and spirals, which are the worst, and a tenth of that for most
polygons; to cut a line of 20,000 crossings takes a quarter of a second."""

FEWEST_TANGLED = 40
"""Coordinates: of fewer, not even a star is tangled."""

_MOST_PAIRS = 10_000_000
"""Pairs of segments looked at, each from both sides, before a geometry is called tangled; it takes 3,162 segments
to have more."""

_PAIRS_AT_ONCE = 1 << 21

Mask = npt.NDArray[np.bool_]
Coordinates = npt.NDArray[np.float64]


def are_tangled(geometries: Geometries, most_work: int = MOST_WORK) -> Mask:
    """Tells whether to repair or to cut geometries could take minutes.

    Args:
        geometries: (N,) 2D polygons and lines with finite coordinates that cross themselves.
        most_work: The bound above which they are tangled.

    Returns:
        (N,) bool.
    """
    return np.array([_is_tangled(geometry, most_work) for geometry in geometries], dtype=np.bool_)


def may_be_tangled(geometries: Geometries) -> Mask:
    """Returns (N,) bool: whether geometries have segments enough; a quick look that spares a check of validity."""
    segments = shapely.get_num_coordinates(geometries).astype(np.float64)
    dimensions = shapely.get_dimensions(geometries)
    return np.asarray(_work(dimensions, segments, segments * segments / 2.0) > MOST_WORK)


def _work(dimensions: Any, segments: Any, crossings: Any) -> Any:
    """Returns the cost of crossings, in quarters of a microsecond at worst.

    It is fitted to scribbles, stars, spirals and combs.
    """
    return crossings * np.where(dimensions == 2, segments + 4 * crossings, 200)


def _is_tangled(geometry: Any, most_work: int) -> bool:
    dimension = shapely.get_dimensions(geometry)
    starts, ends = segments_of(geometry)
    points, indices = np.unique(np.concatenate([starts, ends]), axis=0, return_inverse=True)
    ids = indices.reshape(2, -1)  # (2, S): of the segments' starts and ends
    # Each two passages through one point are a crossing, however little they may cross.
    passages = np.bincount(ids.ravel(), minlength=len(points)) // 2
    crossings = int((passages * (passages - 1) // 2).sum())
    lines: Geometries = np.asarray(shapely.linestrings(np.stack([starts, ends], axis=1)), dtype=object)
    tree = shapely.STRtree(lines)
    seen = 0
    chunk = max(1, _PAIRS_AT_ONCE // max(1, len(lines)))
    for first in range(0, len(lines), chunk):
        if _work(dimension, len(lines), crossings) > most_work or seen > _MOST_PAIRS:
            return True
        one, other = tree.query(lines[first : first + chunk])
        one = one + first
        apart = (one < other) & (ids[:, None, one] != ids[None, :, other]).all(axis=(0, 1))
        seen += len(one)
        one, other = one[apart], other[apart]
        crossings += int(_meet(starts[one], ends[one], starts[other], ends[other]).sum())
    return bool(_work(dimension, len(lines), crossings) > most_work)


def segments_of(geometry: Any) -> tuple[Coordinates, Coordinates]:
    """Returns starts and ends, both (S, 2), of the segments of all rings and lines; each once, in one direction."""
    parts = shapely.get_parts(shapely.get_parts(geometry))
    rings = np.concatenate([shapely.get_rings(parts), parts[shapely.get_dimensions(parts) == 1]])
    coordinates, owner = shapely.get_coordinates(rings, return_index=True)
    starts, ends = coordinates[:-1], coordinates[1:]
    both = np.stack([starts, ends], axis=1)[(owner[:-1] == owner[1:]) & (starts != ends).any(axis=1)]
    swapped = (both[:, 0, 0] > both[:, 1, 0]) | (
        (both[:, 0, 0] == both[:, 1, 0]) & (both[:, 0, 1] > both[:, 1, 1])
    )
    both[swapped] = both[swapped, ::-1]
    once = np.unique(both.reshape(-1, 4), axis=0)
    return once[:, :2], once[:, 2:]


def _meet(a: Coordinates, b: Coordinates, c: Coordinates, d: Coordinates) -> Mask:
    """(P,) bool: whether segments ab and cd, all (P, 2), meet, given that their envelopes do."""
    return (_side(a, b, c) * _side(a, b, d) <= 0.0) & (_side(c, d, a) * _side(c, d, b) <= 0.0)


def _side(a: Coordinates, b: Coordinates, point: Coordinates) -> npt.NDArray[np.float64]:
    """(P,) -1, 0 or 1: on which side of the line through a and b a point lies."""
    along, to = b - a, point - a
    return np.sign(along[:, 0] * to[:, 1] - along[:, 1] * to[:, 0])
