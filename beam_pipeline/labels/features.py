"""Brings OpenStreetMap features to chips: which cells a feature touches, and its part in a chip.

Features come in longitude and latitude, -180 to 180, as their source has them. A chip near the antimeridian
sees what lies on its other side shifted by 360 degrees.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj
import shapely
from shapely.geometry.base import BaseGeometry

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.labels.feature import Feature

PIXEL_M = 10
"""Ground sample distance of the label image in metres."""

_LONGLAT = "EPSG:4326"
_POINTS_A_SIDE = 9  # a chip's edge is no parallel and no meridian: between 9 points it strays by under 1 cm
_CUT_BEYOND_M = 250  # edges made by the first, rough cut in degrees lie so far outside of what is kept
_GATHER: Any = (shapely.multipoints, shapely.multilinestrings, shapely.multipolygons)
_TYPE_ORDER = {"node": 0, "way": 1, "relation": 2}

Bounds = tuple[float, float, float, float]


def clip_margin(max_dilation_m: float) -> float:
    """Returns how far outside a chip features are kept.

    Args:
        max_dilation_m: The widest dilation of the ontology in metres.

    Returns:
        Metres: the dilation, rounded up to whole pixels, and two pixels more, so that a pixel that dilates into
        the chip is drawn from everything that crosses it.
    """
    return float(PIXEL_M * (np.ceil(max_dilation_m / PIXEL_M) + 2))


def clip_to_chip(feature: Feature, chip: ChipWindow, margin_m: float) -> Feature | None:
    """Returns the part of a feature that lies in a chip or near it.

    Args:
        feature: Its geometry is WKB in degrees. It may be invalid; it is repaired.
        chip: The chip.
        margin_m: How far outside the chip features are kept, in metres.

    Returns:
        The feature with its geometry as WKB in metres of the chip's UTM zone: of the same dimension (points,
        lines or polygons), valid, normalised; None if nothing is left.
    """
    geometry = _mend(shapely.from_wkb(feature.geometry, on_invalid="ignore"))
    return None if geometry is None else _clip(feature, geometry, chip, margin_m)


def lonlat_boxes(chips: Sequence[ChipWindow], margin_m: float) -> npt.NDArray[np.float64]:
    """Returns the envelopes of chips in degrees.

    Args:
        chips: N chips of any zones.
        margin_m: How far the envelopes reach outside the chips, in metres.

    Returns:
        (N, 4) float64: west, south, east, north. Where a chip crosses the antimeridian, east exceeds 180 or west
        is below -180: a box is never wrapped.
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
        self._chips = dict(chips)
        self._margin_m = margin_m
        cell_ids = np.array(sorted(self._chips), dtype=np.int64)
        boxes = lonlat_boxes([self._chips[int(cell_id)] for cell_id in cell_ids], margin_m)
        # A chip at the antimeridian is sought on both of its sides.
        west, east = boxes[:, 0] < -180.0, boxes[:, 2] > 180.0
        shift = np.array([360.0, 0.0, 360.0, 0.0])
        boxes = np.concatenate([boxes, boxes[west] + shift, boxes[east] - shift])
        self._cell_ids = np.concatenate([cell_ids, cell_ids[west], cell_ids[east]])
        self._tree = shapely.STRtree([shapely.box(*box) for box in boxes.tolist()])

    def cells_of(self, feature: Feature) -> list[int]:
        """Returns the cells that a feature may touch.

        Args:
            feature: Its geometry is WKB in degrees.

        Returns:
            Ids of cells, ascending. A cell whose chip only comes near the feature may be among them.
        """
        geometry = _mend(shapely.from_wkb(feature.geometry, on_invalid="ignore"))
        return [] if geometry is None else self._touched(geometry)

    def clip(self, features: Sequence[Feature]) -> Iterator[tuple[int, Feature]]:
        """Clips features to all the chips that they touch.

        Args:
            features: Features in degrees. Most may touch no cell: those cost little.

        Yields:
            (cell id, the part of the feature as `clip_to_chip` gives it), in order of feature and cell.
        """
        geometries = shapely.from_wkb([feature.geometry for feature in features], on_invalid="ignore")
        for row in self._candidates(geometries):
            geometry = _mend(geometries[row])
            if geometry is None:
                continue
            for cell_id in self._touched(geometry):
                part = _clip(features[row], geometry, self._chips[cell_id], self._margin_m)
                if part is not None:
                    yield cell_id, part

    def _candidates(self, geometries: npt.NDArray[np.object_]) -> list[int]:
        """Indices of the geometries whose envelope meets a box, or that may cross the antimeridian."""
        bounds = shapely.bounds(geometries)
        with np.errstate(invalid="ignore"):
            wide = np.flatnonzero(bounds[:, 2] - bounds[:, 0] > 180.0)
        rows, _ = self._tree.query(geometries)
        return [int(row) for row in np.union1d(rows, wide)]

    def _touched(self, geometry: BaseGeometry) -> list[int]:
        found = [self._tree.query(geometry, predicate="intersects")]
        if geometry.bounds[2] > 180.0:  # unwrapped across the antimeridian
            found.append(self._tree.query(_shifted(geometry, -360.0), predicate="intersects"))
        return sorted({int(cell_id) for rows in found for cell_id in self._cell_ids[rows]})


def deduplicate(features: Iterable[Feature]) -> list[Feature]:
    """Keeps one copy of each OSM element.

    Several extracts may hold the same element. Where the copies differ, as when one extract's edge or age cost
    it a part, the larger is kept, by area, then length; among equals the order of tags and bytes decides.

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


@functools.lru_cache(maxsize=4096)
def _rough_box(chip: ChipWindow, margin_m: float) -> Bounds:
    west, south, east, north = lonlat_boxes([chip], margin_m + _CUT_BEYOND_M)[0].tolist()
    return west, south, east, north


def _mend(geometry: BaseGeometry | None) -> BaseGeometry | None:
    """Returns the geometry valid, 2D and continuous in longitude; None if there is nothing to draw."""
    if geometry is None or geometry.is_empty:
        return None
    geometry = shapely.force_2d(geometry)
    if not np.isfinite(shapely.get_coordinates(geometry)).all():
        return None
    west, _, east, _ = geometry.bounds
    if east - west > 180.0:
        geometry = _unwrapped(geometry)
    return _repaired(geometry)


def _repaired(geometry: BaseGeometry) -> BaseGeometry | None:
    """Returns the geometry valid and of its own dimension; a polygon that collapses to lines is nothing."""
    if geometry.is_valid:
        return geometry
    return _of_dimension(shapely.make_valid(geometry), _dimension(geometry))


def _dimension(geometry: BaseGeometry) -> int:
    return int(shapely.get_dimensions(geometry))


def _of_dimension(geometry: BaseGeometry, dimension: int) -> BaseGeometry | None:
    """Returns the parts of a dimension: 0 points, 1 lines, 2 polygons; None if there are none."""
    if geometry.is_empty:
        return None
    if geometry.geom_type != "GeometryCollection":
        return geometry if _dimension(geometry) == dimension else None
    # A collection may hold multi-geometries: two steps bring out the single ones.
    parts = shapely.get_parts(shapely.get_parts(geometry))
    parts = parts[(shapely.get_dimensions(parts) == dimension) & ~shapely.is_empty(parts)]
    if len(parts) == 0:
        return None
    # Parts of one result of an overlay or a repair meet in points at most: gathering them keeps them valid.
    gather: Callable[..., BaseGeometry] = _GATHER[dimension]
    return gather(parts)


def _unwrapped(geometry: BaseGeometry) -> BaseGeometry:
    """Returns a geometry that jumps from one side of the antimeridian to the other as one that crosses it.

    No edge in OpenStreetMap is meant to go more than half around the world, so a jump of more than 180 degrees
    is a crossing. Each line and ring is made continuous and brought to a mean longitude in [0, 360), so that
    shells and their holes stay together. Rings around a pole, which end elsewhere than they begin, stay as they
    are.
    """
    pieces = _pieces(geometry)
    if not any(np.abs(np.diff(piece[:, 0])).max(initial=0.0) > 180.0 for piece in pieces):
        return geometry  # truly wide
    moved = []
    for piece in pieces:
        lon = np.unwrap(piece[:, 0], period=360.0)
        closed = bool((piece[0] == piece[-1]).all())
        if closed and abs(lon[-1] - lon[0]) > 1.0:
            return geometry
        lon = lon - 360.0 * np.floor(lon.mean() / 360.0)
        if closed:
            lon[-1] = lon[0]
        moved.append(np.column_stack([lon, piece[:, 1]]))
    stacked = np.concatenate(moved)
    return shapely.set_coordinates(shapely.from_wkb(shapely.to_wkb(geometry)), stacked)


def _pieces(geometry: BaseGeometry) -> list[npt.NDArray[np.float64]]:
    """The coordinates of each point, line and ring, in the order of `shapely.get_coordinates`."""
    parts = shapely.get_parts(geometry)
    if _dimension(geometry) == 2:
        parts = shapely.get_rings(parts)
    return [shapely.get_coordinates(part) for part in parts]


def _shifted(geometry: BaseGeometry, degrees: float) -> BaseGeometry:
    moved: BaseGeometry = shapely.transform(geometry, lambda lonlat: lonlat + np.array([degrees, 0.0]))
    return moved


def _clip(feature: Feature, geometry: BaseGeometry, chip: ChipWindow, margin_m: float) -> Feature | None:
    """Clips a mended geometry; arguments and result as for `clip_to_chip`."""
    dimension = _dimension(geometry)
    kept = shapely.box(
        chip.left - margin_m, chip.bottom - margin_m, chip.right + margin_m, chip.top + margin_m
    )
    parts = []
    for rough in _rough_cuts(geometry, _rough_box(chip, margin_m)):
        projected = _repaired(_to_utm(rough, chip.epsg))
        part = None if projected is None else _of_dimension(shapely.intersection(projected, kept), dimension)
        if part is not None:
            parts.append(part)
    if not parts:
        return None
    # The two sides of the antimeridian are parts of one thing.
    whole = parts[0] if len(parts) == 1 else _of_dimension(shapely.union_all(parts), dimension)
    if whole is None:
        return None
    return Feature(feature.osm_type, feature.osm_id, feature.tags, shapely.to_wkb(shapely.normalize(whole)))


def _rough_cuts(geometry: BaseGeometry, box: Bounds) -> Iterator[BaseGeometry]:
    """Yields what of the geometry lies in a box in degrees, from each turn of the world that reaches into it.

    Cutting here keeps what is projected small, and keeps coordinates that UTM cannot hold away from it.
    """
    west, south, east, north = box
    g_west, g_south, g_east, g_north = geometry.bounds
    if g_south > north or g_north < south:
        return
    for degrees in (-360.0, 0.0, 360.0):
        if g_west + degrees > east or g_east + degrees < west:
            continue
        here = _shifted(geometry, degrees) if degrees else geometry
        rough = shapely.box(west, south, east, north)
        inside = bool(rough.covers(shapely.box(*here.bounds)))
        cut = here if inside else _of_dimension(shapely.intersection(here, rough), _dimension(here))
        if cut is not None:
            yield cut


def _to_utm(geometry: BaseGeometry, epsg: int) -> BaseGeometry:
    transformer = _transformer(epsg)

    def project(lonlat: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.column_stack(transformer.transform(lonlat[:, 0], lonlat[:, 1]))

    projected: BaseGeometry = shapely.transform(geometry, project)
    return projected
