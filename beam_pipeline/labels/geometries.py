"""Arrays of geometries: decoded from features, kept to a dimension, shifted around the world."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from beam_pipeline.labels.feature import Feature

Geometries = npt.NDArray[np.object_]
"""(N,) shapely geometries, or None where there is nothing to draw."""

Indices = npt.NDArray[np.int64]

_GATHER: Any = (shapely.multipoints, shapely.multilinestrings, shapely.multipolygons)


def decode(features: Sequence[Feature]) -> Geometries:
    """Returns the geometries of N features.

    Args:
        features: Features whose geometry is meant to be WKB.

    Returns:
        (N,) geometries as they are, valid or not; None for what is no WKB, as a ring of two points.
    """
    geometries: Geometries = np.empty(len(features), dtype=object)
    with np.errstate(invalid="ignore"):  # coordinates that are no numbers are dealt with by the callers
        geometries[:] = shapely.from_wkb([feature.geometry for feature in features], on_invalid="ignore")
    return geometries


def keep_dimension(geometries: Geometries, dimensions: npt.NDArray[np.integer[Any]]) -> Geometries:
    """Keeps the parts of a dimension.

    Args:
        geometries: (N,) results of an overlay or a repair, or None.
        dimensions: (N,) 0 for points, 1 for lines, 2 for polygons.

    Returns:
        (N,) the parts of that dimension, gathered; None where there are none.
    """
    kept = geometries.copy()
    kept[shapely.is_empty(kept) | (shapely.get_dimensions(kept) != dimensions)] = None
    # A collection's dimension is that of its highest part.
    for row in np.flatnonzero(shapely.get_type_id(kept) == shapely.GeometryType.GEOMETRYCOLLECTION):
        dimension = int(dimensions[row])
        # A collection may hold multi-geometries: the second step brings out their parts.
        parts = shapely.get_parts(shapely.get_parts(kept[row]))
        parts = parts[(shapely.get_dimensions(parts) == dimension) & ~shapely.is_empty(parts)]
        # Parts of the result of an overlay or a repair meet in points at most: gathered, they stay valid.
        kept[row] = _GATHER[dimension](parts)
    return kept


def shift(geometries: Geometries, degrees: float) -> Geometries:
    """Moves geometries in degrees to the east."""
    moved: Geometries = shapely.transform(geometries, lambda lonlat: lonlat + np.array([degrees, 0.0]))
    return moved
