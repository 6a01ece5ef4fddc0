"""Clips OpenStreetMap features to chips.

Features come in longitude and latitude, -180 to 180, as their source has them. A chip near the antimeridian
sees what lies on its other side shifted by 360 degrees.
"""

import dataclasses

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.labels.antimeridian import make_continuous
from beam_pipeline.labels.box_cuts import cut, cut_to_boxes
from beam_pipeline.labels.chip_boxes import Boxes, lonlat_boxes, utm_boxes, utm_transformer
from beam_pipeline.labels.feature import Feature
from beam_pipeline.labels.geometries import Geometries, Indices, decode, shift
from beam_pipeline.labels.label_image import PIXEL_M
from beam_pipeline.labels.repair import repair

ROUGH_MARGIN_M = 250
"""Edges made by the first, rough cut in degrees lie so far outside of what is kept."""


def clip_margin(reach_m: float) -> float:
    """Returns how far outside a chip features are kept.

    Args:
        reach_m: `Ontology.reach_m`, in metres.

    Returns:
        Metres: the reach, rounded up to whole pixels, and two pixels more, so that a pixel that reaches
        into the chip is drawn from everything that crosses it.
    """
    return float(PIXEL_M * (np.ceil(reach_m / PIXEL_M) + 2))


def clip_to_chip(feature: Feature, chip: ChipWindow, margin_m: float) -> Feature | None:
    """Returns the part of a feature that lies in a chip or near it.

    Args:
        feature: Its geometry is WKB in degrees. It may be invalid; it is repaired, unless it is too tangled.
        chip: The chip.
        margin_m: How far outside the chip features are kept, in metres.

    Returns:
        The feature with its geometry as WKB in metres of the chip's UTM zone: of the same dimension (points,
        lines or polygons), valid, normalised; None if nothing is left.
    """
    geometries = mend(decode([feature]))
    rough = lonlat_boxes([chip], margin_m + ROUGH_MARGIN_M)
    kept = utm_boxes([chip], margin_m)
    (part,) = clip_to_boxes(geometries, np.zeros(1, np.int64), rough, kept, np.array([chip.epsg]))
    return None if part is None else dataclasses.replace(feature, geometry=part)


def mend(geometries: Geometries) -> Geometries:
    """Makes geometries ready to be clipped.

    Args:
        geometries: (N,) geometries in degrees, or None.

    Returns:
        (N,) valid geometries, 2D and continuous in longitude; None where nothing can be drawn.
    """
    mended, _ = repair(make_continuous(geometries))
    return mended


def clip_to_boxes(
    geometries: Geometries, owners: Indices, rough: Boxes, kept: Boxes, epsgs: npt.NDArray[np.int64]
) -> Geometries:
    """Clips geometries to boxes.

    Args:
        geometries: (G,) mended geometries in degrees, or None.
        owners: (N,) for each box, the index of the geometry that is clipped to it.
        rough: (N, 4) boxes in degrees, larger than those in metres. Cutting there first keeps what is
            projected small, and keeps away coordinates that UTM cannot hold.
        kept: (N, 4) boxes in metres.
        epsgs: (N,) the UTM zones of the boxes.

    Returns:
        (N,) WKB of normalised geometries in metres, None where nothing is left; whole and invalid where they are
        too tangled.
    """
    clipped: Geometries = np.full(len(owners), None, dtype=object)
    left: dict[int, BaseGeometry] = {}
    for degrees in (0.0, -360.0, 360.0):  # from each turn of the world that reaches into the box
        bounds = shapely.bounds(geometries) + degrees * np.array([1.0, 0.0, 1.0, 0.0])
        rows = np.flatnonzero(_meet(bounds[owners], rough))
        if len(rows) == 0:
            continue
        met, met_by = np.unique(owners[rows], return_inverse=True)
        shifted = shift(geometries[met], degrees) if degrees else geometries[met]
        here = cut_to_boxes(shifted, met_by, rough[rows])
        for epsg in np.unique(epsgs[rows]):
            of_zone = np.flatnonzero(epsgs[rows] == epsg)
            here[of_zone] = _to_utm(here[of_zone], int(epsg))
        repaired, tangled = repair(here)
        left |= dict(zip(rows[tangled].tolist(), here[tangled], strict=True))
        here = cut(repaired, kept[rows])
        # The two sides of the antimeridian are parts of one thing.
        both = ~shapely.is_missing(clipped[rows]) & ~shapely.is_missing(here)
        here[both] = shapely.union(clipped[rows][both], here[both])
        found = ~shapely.is_missing(here)
        clipped[rows[found]] = here[found]
    # What was valid in degrees and is tangled in metres is left for the drawing to drop and count.
    for row, geometry in left.items():
        clipped[row] = geometry
    normalised: Geometries = shapely.normalize(clipped)
    return np.asarray(shapely.to_wkb(normalised), dtype=object)


def _meet(bounds: Boxes, boxes: Boxes) -> npt.NDArray[np.bool_]:
    apart = np.maximum(bounds[:, :2] - boxes[:, 2:], boxes[:, :2] - bounds[:, 2:])
    return np.asarray((apart <= 0.0).all(axis=1))


def _to_utm(geometries: Geometries, epsg: int) -> Geometries:
    transformer = utm_transformer(epsg)

    def project(lonlat: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.column_stack(transformer.transform(lonlat[:, 0], lonlat[:, 1]))

    projected: Geometries = shapely.transform(geometries, project)
    return projected
