"""Burns geometries into rasters; the drawing is GDAL's."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import shapely
from affine import Affine

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.labels.dilation import Mask
from beam_pipeline.labels.geometries import Geometries, Indices
from beam_pipeline.labels.label_image import PIXEL_M, SIZE
from beam_pipeline.labels.ontology_json import Kind
from beam_pipeline.runtime.gdal_drivers import rasterio

_MULTI: Mapping[Kind, str] = {"point": "MultiPoint", "line": "MultiLineString", "area": "MultiPolygon"}


def burn(
    parts_of: Mapping[Kind, Sequence[Geometries]], chip: ChipWindow, margin: int, *, all_touched: bool
) -> Mask:
    """Lights the pixels of simple geometries.

    Args:
        parts_of: Kind -> arrays of points, lines or polygons, in metres of the chip's UTM zone.
        chip: The chip.
        margin: Pixels that the raster has beyond the chip on each side.
        all_touched: Whether polygons light every pixel they touch. Lines always do.

    Returns:
        (192 + 2 margin, 192 + 2 margin) bool.
    """
    side = SIZE + 2 * margin
    raster = np.zeros((side, side), dtype=np.uint8)
    transform = Affine(PIXEL_M, 0, chip.left - margin * PIXEL_M, 0, -PIXEL_M, chip.top + margin * PIXEL_M)
    for kind, parts in parts_of.items():
        rasterio.features.rasterize(
            [({"type": _MULTI[kind], "coordinates": _coordinates(np.concatenate(parts), kind)}, 1)],
            out=raster,
            transform=transform,
            all_touched=all_touched or kind == "line",
        )
    return raster.view(np.bool_)


def _coordinates(parts: Geometries, kind: Kind) -> list[Any]:
    """Returns the coordinates of simple geometries of one kind, nested as in a GeoJSON multi-geometry."""
    # Not `to_ragged_array`: it takes twice as long for the few geometries of a layer.
    levels: list[tuple[int, Indices]] = []
    if kind == "area":
        count = len(parts)
        parts, owners = shapely.get_rings(parts, return_index=True)
        levels.append((count, owners))
    places, owners = shapely.get_coordinates(parts, return_index=True)
    if kind != "point":
        levels.append((len(parts), owners))
    nested: list[Any] = places.tolist()
    for count, owners in reversed(levels):
        ends = np.cumsum(np.bincount(owners, minlength=count)).tolist()
        nested = [nested[start:end] for start, end in itertools.pairwise([0, *ends])]
    return nested
