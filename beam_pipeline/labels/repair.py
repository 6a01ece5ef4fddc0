"""Makes invalid geometries valid, in bounded time: what is tangled is left alone."""

import numpy as np
import shapely

from beam_pipeline.labels.geometries import Geometries, Indices, keep_dimension
from beam_pipeline.labels.tangles import Mask, are_tangled


def make_valid(geometries: Geometries) -> tuple[Geometries, Mask]:
    """Makes invalid geometries valid, by even-odd filling where polygons cross themselves.

    Each edge counts once, however often it is run over: a ring that is run over twice is filled.

    Args:
        geometries: (N,) invalid 2D geometries with finite coordinates.

    Returns:
        (N,) what `shapely.make_valid` gives, None for what is tangled; and `are_tangled` of them.
    """
    tangled = are_tangled(geometries)
    made: Geometries = np.full(len(geometries), None, dtype=object)
    made[~tangled] = shapely.make_valid(geometries[~tangled])
    return made, tangled


def repair(geometries: Geometries) -> tuple[Geometries, Indices]:
    """Makes geometries valid and keeps their dimension: a polygon that collapses to lines is nothing.

    Args:
        geometries: (N,) 2D geometries with finite coordinates, valid or not, or None.

    Returns:
        (N,) valid geometries, None where nothing is left; and the indices of those that are too tangled, which
        come out as None.
    """
    repaired = geometries.copy()
    broken = np.flatnonzero(~shapely.is_valid(geometries) & ~shapely.is_missing(geometries))
    dimensions = shapely.get_dimensions(geometries[broken])
    made, tangled = make_valid(geometries[broken])
    repaired[broken] = keep_dimension(made, dimensions)
    return repaired, broken[tangled]
