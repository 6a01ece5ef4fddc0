"""Draws OpenStreetMap features as a label image.

Features are burnt layer by layer (a label and a way of drawing it) on rasters that reach beyond the chip,
grown by the layer's dilation, cut to the chip, and put on each other in order of precedence. Then the
`none` table tells what is known to be nothing from what is unknown, from what was burnt before it grew. Neither the
order of the features nor their duplicates make a difference.
"""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import shapely

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.labels.dilation import Mask, crop, dilate
from beam_pipeline.labels.drawing import burn
from beam_pipeline.labels.feature import Feature, Found
from beam_pipeline.labels.geometries import Geometries, decode
from beam_pipeline.labels.label_image import CHANNELS, PIXEL_M, SIZE, UNLABELED, CellLabel, LabelImage
from beam_pipeline.labels.none_rules import settle
from beam_pipeline.labels.ontology import COASTLINE, Ontology
from beam_pipeline.labels.ontology_json import Kind
from beam_pipeline.labels.repair import make_valid
from beam_pipeline.labels.tag_rules import Layer
from beam_pipeline.runtime.gdal_drivers import gdal_options

_KIND_OF_DIMENSION: tuple[Kind, ...] = ("point", "line", "area")
_POLYGON = 3  # shapely's type id of a polygon; those above are of several parts


def rasterize(
    features: Sequence[Feature], chip: ChipWindow, ontology: Ontology, none_labels: bool, *, sea_known: bool
) -> LabelImage:
    """Draws features as a label image.

    Polygons light the pixels whose centre they hold, or all that they touch if their tag says so; lines
    light all that they touch; points the pixel they lie in. An invalid polygon is repaired. A geometry that
    cannot be drawn is dropped and counted; it is never an error.

    Args:
        features: Geometries in metres of the chip's UTM zone. What they hold within
            `ontology.reach_m` of the chip shows; what lies farther makes no difference.
        chip: The chip.
        ontology: What is drawn, and how.
        none_labels: Whether to apply the `none` table; without it what has no category is `UNLABELED`.
        sea_known: Whether the sea is among the features, as polygons.

    Returns:
        The label image, what was dropped, and whether a coastline passes through the chip.
    """
    groups, dropped = _group(features, ontology)
    label_of = {label.value: label for label in ontology.labels}
    planes = np.full((CHANNELS, SIZE, SIZE), UNLABELED, dtype=np.uint8)
    # A pixel farther out has its centre more than the reach from that of any pixel of the chip.
    margin = math.floor(ontology.reach_m / PIXEL_M)
    drawn: dict[int, Mask] = {}
    with gdal_options():  # once for all layers: rasterio would open and close one for each
        for layer in sorted(groups, key=lambda layer: (label_of[layer.value].precedence, layer)):
            burnt = burn(groups[layer], chip, margin, all_touched=layer.all_touched)
            if layer.settles:
                drawn[layer.value] = drawn[layer.value] | burnt if layer.value in drawn else burnt
            plane = planes[label_of[layer.value].channel]
            np.copyto(plane, layer.value, where=_grown(burnt, layer.dilation_m))
    pixels = np.ascontiguousarray(np.moveaxis(planes, 0, -1))
    if none_labels:
        sea_unknown = not sea_known and _meets_coastline(features, chip, ontology.reach_m)
        pixels = settle(pixels, drawn, ontology, sea_unknown=sea_unknown)
    return LabelImage(pixels, dict(sorted(dropped.items())), _meets_coastline(features, chip, 0.0))


def label_cell(
    cell_id: int,
    chip: ChipWindow,
    found: Found[Feature],
    ontology: Ontology,
    none_labels: bool,
    *,
    sea_known: bool,
) -> CellLabel:
    """Draws the label image of a cell, ready to travel.

    Args:
        cell_id: The cell.
        chip: Its chip.
        found: Its features, as `rasterize` takes them.
        ontology: What is drawn, and how.
        none_labels: As for `rasterize`.
        sea_known: As for `rasterize`.

    Returns:
        The label; dropped is what could not be had of the features and what could not be drawn.
    """
    image = rasterize(found.features, chip, ontology, none_labels, sea_known=sea_known)
    dropped = Counter(found.dropped.counts) + Counter(image.dropped)
    return CellLabel.pack(cell_id, image.pixels, dropped, coastal=image.coastal)


def _grown(burnt: Mask, radius_m: float) -> Mask:
    """Returns (192, 192) bool: the chip's pixels that what was burnt on a wider raster dilates to."""
    if not radius_m:
        return crop(burnt, SIZE)
    return crop(dilate(crop(burnt, SIZE + 2 * math.floor(radius_m / PIXEL_M)), radius_m), SIZE)


def _meets_coastline(features: Sequence[Feature], chip: ChipWindow, margin_m: float) -> bool:
    """Returns whether a coastline passes through the chip or the margin around it."""
    of_coast = [feature for feature in features if COASTLINE in feature.tags]
    if not of_coast:
        return False
    lines = decode(of_coast)
    box = shapely.box(*chip.bounds).buffer(margin_m, join_style="mitre")
    return bool(((shapely.get_dimensions(lines) == 1) & shapely.intersects(lines, box)).any())


def _group(
    features: Sequence[Feature], ontology: Ontology
) -> tuple[dict[Layer, dict[Kind, list[Geometries]]], Counter[str]]:
    """Returns layer -> kind -> simple geometries that can be drawn, and how many cannot, by reason."""
    geometries = decode(features)
    dimensions = shapely.get_dimensions(geometries)  # -1 for no geometry and for an empty collection
    missing = shapely.is_missing(geometries)
    dropped = _counts(unreadable=missing.sum(), empty=(~missing & (dimensions < 0)).sum())
    groups: dict[Layer, dict[Kind, list[Geometries]]] = {}
    for dimension, kind in enumerate(_KIND_OF_DIMENSION):
        of_tags: dict[tuple[tuple[str, str], ...], list[int]] = {}  # a cell has few distinct sets of tags
        for i in np.flatnonzero(dimensions == dimension).tolist():
            of_tags.setdefault(features[i].tags, []).append(i)
        drawn: dict[frozenset[Layer], list[int]] = {}
        for tags, indices in of_tags.items():
            if layers := ontology.layers_of(kind, tags):
                drawn.setdefault(layers, []).extend(indices)
        for layers, indices in drawn.items():
            parts, unusable = _parts(geometries[indices], dimension)
            dropped += unusable
            if len(parts):
                for layer in layers:
                    groups.setdefault(layer, {}).setdefault(kind, []).append(parts)
    return groups, dropped


def _counts(**counts: int) -> Counter[str]:
    """Returns the counts above 0."""
    return +Counter({reason: int(count) for reason, count in counts.items()})


def _parts(geometries: Geometries, dimension: int) -> tuple[Geometries, Counter[str]]:
    """Returns the points, lines or polygons of geometries, and how many geometries have none, by reason.

    Clipping and repairing leave lines and points where an area was pinched; they are no part of it.
    """
    coordinates, owner = shapely.get_coordinates(geometries, return_index=True)
    finite = np.ones(len(geometries), dtype=bool)
    finite[owner[~np.isfinite(coordinates).all(axis=1)]] = False
    empty = shapely.is_empty(geometries)
    geometries = geometries[finite & ~empty]
    tangled = 0
    if dimension == 2:
        broken = ~shapely.is_valid(geometries)
        geometries[broken], are_tangled = make_valid(geometries[broken])
        tangled = are_tangled.sum()
        geometries = geometries[~shapely.is_missing(geometries)]
    parts, owner = geometries, np.arange(len(geometries))
    while (nested := shapely.get_type_id(parts) > _POLYGON).any():
        deeper, index = shapely.get_parts(parts[nested], return_index=True)
        parts = np.concatenate([parts[~nested], deeper])
        owner = np.concatenate([owner[~nested], owner[nested][index]])
    kept = (shapely.get_dimensions(parts) == dimension) & ~shapely.is_empty(parts)
    if dimension:
        kept &= (shapely.area(parts) if dimension == 2 else shapely.length(parts)) > 0
    return parts[kept], _counts(
        not_finite=(~finite).sum(),
        empty=(finite & empty).sum(),
        tangled=tangled,
        degenerate=len(geometries) - len(np.unique(owner[kept])),
    )
