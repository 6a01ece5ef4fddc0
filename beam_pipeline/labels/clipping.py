"""Brings OpenStreetMap features to chips: which cells a feature touches, and its part in a chip.

Features come in longitude and latitude, -180 to 180, as their source has them. A chip near the antimeridian
sees what lies on its other side shifted by 360 degrees.
"""

import collections
import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj
import shapely
from shapely.geometry.base import BaseGeometry

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.labels.feature import Feature
from beam_pipeline.labels.label_image import PIXEL_M
from beam_pipeline.labels.repair import are_tangled, make_valid, may_be_tangled

_LONGLAT = "EPSG:4326"
_POINTS_A_SIDE = 9  # a chip's edge is no parallel and no meridian: between 9 points it strays by under 1 cm
_CUT_BEYOND_M = 250  # edges made by the first, rough cut in degrees lie so far outside of what is kept
_GATHER: Any = (shapely.multipoints, shapely.multilinestrings, shapely.multipolygons)
_TYPE_ORDER = {"node": 0, "way": 1, "relation": 2}

Bounds = tuple[float, float, float, float]
Geometries = npt.NDArray[np.object_]
Indices = npt.NDArray[np.int64]


def clip_margin(max_dilation_m: float) -> float:
    """Returns how far outside a chip features are kept.

    Args:
        max_dilation_m: The widest dilation of the ontology in metres.

    Returns:
        Metres: the dilation, rounded up to whole pixels, and two pixels more, so that a pixel that dilates
        into the chip is drawn from everything that crosses it.
    """
    return float(PIXEL_M * (np.ceil(max_dilation_m / PIXEL_M) + 2))


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
    geometries = _mend(_decode([feature]))
    rough = lonlat_boxes([chip], margin_m + _CUT_BEYOND_M)
    (part,) = _clip(geometries, rough, _kept([chip], margin_m), np.array([chip.epsg]))
    return None if part is None else dataclasses.replace(feature, geometry=part)


def lonlat_boxes(chips: Sequence[ChipWindow], margin_m: float) -> npt.NDArray[np.float64]:
    """Returns the envelopes of chips in degrees.

    Args:
        chips: N chips of any zones.
        margin_m: How far the envelopes reach outside the chips, in metres.

    Returns:
        (N, 4) float64: west, south, east, north. Where a chip crosses the antimeridian, east exceeds 180 or
        west is below -180: a box is never wrapped.
    """
    boxes = np.empty((len(chips), 4))
    epsgs = np.array([chip.epsg for chip in chips], dtype=np.int64)
    along = np.linspace(-1.0, 1.0, _POINTS_A_SIDE)
    ones = np.ones_like(along)
    for epsg in np.unique(epsgs):
        rows = np.flatnonzero(epsgs == epsg)
        corners = np.array([chips[int(row)].bounds for row in rows], dtype=np.float64)  # (n, 4)
        centre_x, centre_y = (corners[:, 0] + corners[:, 2]) / 2, (corners[:, 1] + corners[:, 3]) / 2
        half = (corners[:, 2] - corners[:, 0]) / 2 + margin_m
        ring_x = np.concatenate([along, along, -ones, ones])  # (36,), the four sides in units of `half`
        ring_y = np.concatenate([-ones, ones, along, along])
        x = centre_x[:, None] + half[:, None] * ring_x  # (n, 36)
        y = centre_y[:, None] + half[:, None] * ring_y
        lon, lat = _transformer(int(epsg)).transform(x, y, direction="INVERSE")
        lon = lon - 360.0 * np.round((lon - lon[:, :1]) / 360.0)
        boxes[rows] = np.stack([lon.min(1), lat.min(1), lon.max(1), lat.max(1)], axis=1)
    return boxes


class CellIndex:
    """Finds the cells that features touch.

    Args:
        chips: Cell id -> chip.
        margin_m: How far outside a chip a feature still touches its cell, in metres.
    """

    def __init__(self, chips: Mapping[int, ChipWindow], margin_m: float) -> None:
        self._cell_ids = np.array(
            sorted(chips), dtype=np.int64
        )  # (C,), what is indexed by cell is in this order
        ordered = [chips[int(cell_id)] for cell_id in self._cell_ids]
        self._epsgs = np.array([chip.epsg for chip in ordered], dtype=np.int64)
        self._kept = _kept(ordered, margin_m)
        self._rough = lonlat_boxes(ordered, margin_m + _CUT_BEYOND_M)
        boxes = lonlat_boxes(ordered, margin_m)
        # A chip at the antimeridian is sought on both of its sides.
        west, east = np.flatnonzero(boxes[:, 0] < -180.0), np.flatnonzero(boxes[:, 2] > 180.0)
        shift = np.array([360.0, 0.0, 360.0, 0.0])
        boxes = np.concatenate([boxes, boxes[west] + shift, boxes[east] - shift])
        self._cell_of_box = np.concatenate([np.arange(len(ordered)), west, east])
        self._tree = shapely.STRtree([shapely.box(*box) for box in boxes.tolist()])

    def cells_of(self, feature: Feature) -> list[int]:
        """Returns the cells that a feature touches.

        Args:
            feature: Its geometry is WKB in degrees.

        Returns:
            Ids of cells, ascending. Cells are taken as their envelopes in degrees, so that one that the
            feature only comes near may be among them.
        """
        _, cells = self._touched(_mend(_decode([feature])))
        return [int(cell_id) for cell_id in self._cell_ids[cells]]

    def clip(
        self, features: Sequence[Feature], dropped: "collections.Counter[str]"
    ) -> Iterator[tuple[int, Feature]]:
        """Clips features to all the chips that they touch.

        Args:
            features: Features in degrees. Most may touch no cell: those cost little.
            dropped: Told how many of the features, near a cell or not, are "tangled": left out, because to
                repair or cut them could take minutes.

        Yields:
            (cell id, the part of the feature as `clip_to_chip` gives it), in order of feature and cell.
        """
        geometries = _decode(features)
        tangled = _tangled(geometries)
        if len(tangled):
            dropped["tangled"] += len(tangled)
            geometries[tangled] = None
        near = self._candidates(geometries)
        geometries[near] = _mend(geometries[near])
        rows, cells = self._touched(geometries[near])
        rows = near[rows]
        parts = _clip(geometries[rows], self._rough[cells], self._kept[cells], self._epsgs[cells])
        for row, cell, part in zip(rows.tolist(), cells.tolist(), parts, strict=True):
            if part is not None:
                yield int(self._cell_ids[cell]), dataclasses.replace(features[row], geometry=part)

    def _candidates(self, geometries: Geometries) -> Indices:
        """Indices of geometries whose envelope meets a box, or that may cross the antimeridian."""
        bounds = shapely.bounds(geometries)
        with np.errstate(invalid="ignore"):  # infinite coordinates are dealt with by `_mend`
            wide = np.flatnonzero(bounds[:, 2] - bounds[:, 0] > 180.0)
        rows, _ = self._tree.query(geometries)
        return np.union1d(rows, wide)

    def _touched(self, geometries: Geometries) -> tuple[Indices, Indices]:
        """Indices (of geometries, of cells) of the pairs that meet, sorted."""
        rows, boxes = self._tree.query(geometries, predicate="intersects")
        unwrapped = np.flatnonzero(shapely.bounds(geometries)[:, 2] > 180.0)
        if len(unwrapped):
            others, more = self._tree.query(_shifted(geometries[unwrapped], -360.0), predicate="intersects")
            rows, boxes = np.concatenate([rows, unwrapped[others]]), np.concatenate([boxes, more])
        pairs = np.unique(np.stack([rows, self._cell_of_box[boxes]], axis=1), axis=0)
        return pairs[:, 0], pairs[:, 1]


def deduplicate(features: Iterable[Feature]) -> list[Feature]:
    """Keeps one copy of each OSM element.

    Several extracts may hold the same element. Where the copies differ, as when one extract's edge or age
    cost it a part, the larger is kept, by area, then length; among equals the order of tags and bytes
    decides.

    Args:
        features: Features clipped to one chip, in any order.

    Returns:
        Features sorted by type (node, way, relation) and id; the same whatever the order of the input.
    """
    copies: dict[tuple[int, int], set[Feature]] = {}
    for feature in features:
        copies.setdefault((_TYPE_ORDER[feature.osm_type], feature.osm_id), set()).add(feature)
    return [max(same, key=_size) if len(same) > 1 else next(iter(same)) for _, same in sorted(copies.items())]


def _size(feature: Feature) -> tuple[float, float, tuple[tuple[str, str], ...], bytes]:
    geometry = shapely.from_wkb(feature.geometry)
    return geometry.area, geometry.length, feature.tags, feature.geometry


@functools.lru_cache(maxsize=120)  # there are 120 UTM zones
def _transformer(epsg: int) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(_LONGLAT, f"EPSG:{epsg}", always_xy=True)


def _kept(chips: Sequence[ChipWindow], margin_m: float) -> npt.NDArray[np.float64]:
    """(N, 4): chips and their margin in metres of their zones."""
    bounds = np.array([chip.bounds for chip in chips], dtype=np.float64).reshape(-1, 4)
    return bounds + margin_m * np.array([-1.0, -1.0, 1.0, 1.0])


def _decode(features: Sequence[Feature]) -> Geometries:
    """(N,) geometries; None for what is no WKB, as a ring of two points."""
    geometries: Geometries = np.empty(len(features), dtype=object)
    with np.errstate(invalid="ignore"):  # coordinates that are no numbers are dealt with by `_mend`
        geometries[:] = shapely.from_wkb([feature.geometry for feature in features], on_invalid="ignore")
    return geometries


def _mend(geometries: Geometries) -> Geometries:
    """Makes geometries in degrees valid, 2D, continuous in longitude; None where nothing can be drawn."""
    return _repaired(_continuous(geometries))[0]


def _tangled(geometries: Geometries) -> Indices:
    """Indices of the geometries in degrees that are left out, as to repair or cut them could take minutes."""
    rows = np.flatnonzero(may_be_tangled(geometries))
    continuous = _continuous(geometries[rows])
    crossed = ~np.where(
        shapely.get_dimensions(continuous) == 2, shapely.is_valid(continuous), shapely.is_simple(continuous)
    )
    crossed &= ~shapely.is_missing(continuous)
    return np.asarray(rows[crossed][are_tangled(continuous[crossed])])


def _continuous(geometries: Geometries) -> Geometries:
    """Makes geometries in degrees 2D and continuous in longitude; None where nothing can be drawn."""
    mended = shapely.force_2d(geometries)
    coordinates, rows = shapely.get_coordinates(mended, return_index=True)
    mended[rows[~np.isfinite(coordinates).all(axis=1)]] = None
    mended[shapely.is_empty(mended)] = None
    bounds = shapely.bounds(mended)
    for row in np.flatnonzero(bounds[:, 2] - bounds[:, 0] > 180.0):
        mended[row] = _unwrapped(mended[row])
    return mended


def _repaired(geometries: Geometries) -> tuple[Geometries, Indices]:
    """Makes geometries valid and keeps their dimension: a polygon that collapses to lines is nothing.

    Returns also the indices of those that are too tangled, which come out as None.
    """
    repaired = geometries.copy()
    broken = np.flatnonzero(~shapely.is_valid(geometries) & ~shapely.is_missing(geometries))
    dimensions = shapely.get_dimensions(geometries[broken])
    made, tangled = make_valid(geometries[broken])
    repaired[broken] = _of_dimension(made, dimensions)
    return repaired, broken[tangled]


def _of_dimension(geometries: Geometries, dimensions: npt.NDArray[np.integer[Any]]) -> Geometries:
    """Keeps the parts of a dimension: 0 points, 1 lines, 2 polygons; None where there are none."""
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


def _unwrapped(geometry: BaseGeometry) -> BaseGeometry:
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
        jumps |= bool(np.abs(np.diff(piece[:, 0])).max(initial=0.0) > 180.0)
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


def _shifted(geometries: Geometries, degrees: float) -> Geometries:
    moved: Geometries = shapely.transform(geometries, lambda lonlat: lonlat + np.array([degrees, 0.0]))
    return moved


def _clip(
    geometries: Geometries,
    rough: npt.NDArray[np.float64],
    kept: npt.NDArray[np.float64],
    epsgs: npt.NDArray[np.int64],
) -> Geometries:
    """Clips geometries, each to its own box.

    Args:
        geometries: (N,) mended geometries in degrees, or None.
        rough: (N, 4) boxes in degrees, larger than those in metres. Cutting there first keeps what is
            projected small, and keeps away coordinates that UTM cannot hold.
        kept: (N, 4) boxes in metres.
        epsgs: (N,) the UTM zones of the boxes.

    Returns:
        (N,) WKB of normalised geometries in metres, None where nothing is left; whole and invalid where they are
        too tangled.
    """
    clipped: Geometries = np.full(len(geometries), None, dtype=object)
    left: dict[int, BaseGeometry] = {}
    for degrees in (0.0, -360.0, 360.0):  # from each turn of the world that reaches into the box
        bounds = shapely.bounds(geometries) + degrees * np.array([1.0, 0.0, 1.0, 0.0])
        rows = np.flatnonzero(_meet(bounds, rough))
        if len(rows) == 0:
            continue
        here = _shifted(geometries[rows], degrees) if degrees else geometries[rows]
        here = _cut(here, rough[rows])
        for epsg in np.unique(epsgs[rows]):
            of_zone = np.flatnonzero(epsgs[rows] == epsg)
            here[of_zone] = _to_utm(here[of_zone], int(epsg))
        repaired, tangled = _repaired(here)
        left |= dict(zip(rows[tangled].tolist(), here[tangled], strict=True))
        here = _cut(repaired, kept[rows])
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


def _meet(bounds: npt.NDArray[np.float64], boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    apart = np.maximum(bounds[:, :2] - boxes[:, 2:], boxes[:, :2] - bounds[:, 2:])
    return np.asarray((apart <= 0.0).all(axis=1))


def _cut(geometries: Geometries, boxes: npt.NDArray[np.float64]) -> Geometries:
    """Cuts valid geometries at boxes, both (N,) and (N, 4); those that lie inside are left untouched."""
    bounds = shapely.bounds(geometries)
    inside = (bounds[:, :2] >= boxes[:, :2]).all(1) & (bounds[:, 2:] <= boxes[:, 2:]).all(1)
    rows = np.flatnonzero(~inside & ~shapely.is_missing(geometries))
    cut = geometries.copy()
    pieces = shapely.intersection(geometries[rows], shapely.box(*boxes[rows].T))
    cut[rows] = _of_dimension(pieces, shapely.get_dimensions(geometries[rows]))
    return cut


def _to_utm(geometries: Geometries, epsg: int) -> Geometries:
    transformer = _transformer(epsg)

    def project(lonlat: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.column_stack(transformer.transform(lonlat[:, 0], lonlat[:, 1]))

    projected: Geometries = shapely.transform(geometries, project)
    return projected


def cells_within(chips: Mapping[int, ChipWindow], bounds: Bounds | None) -> list[int]:
    """Returns the cells whose chip meets bounds.

    Args:
        chips: Cell id -> chip.
        bounds: (west, south, east, north) in degrees; None for the whole world.

    Returns:
        Ids of cells, ascending.
    """
    cell_ids = sorted(chips)
    if bounds is None or not cell_ids:
        return cell_ids
    boxes = lonlat_boxes([chips[cell_id] for cell_id in cell_ids], 0.0)  # (C, 4)
    west, south, east, north = bounds
    meets = np.zeros(len(cell_ids), np.bool_)
    for shift in (-360.0, 0.0, 360.0):  # a chip at the antimeridian lies on both of its sides
        meets |= (boxes[:, 0] + shift <= east) & (west <= boxes[:, 2] + shift)
    meets &= (boxes[:, 1] <= north) & (south <= boxes[:, 3])
    return [cell_id for cell_id, met in zip(cell_ids, meets.tolist(), strict=True) if met]
