"""The vector scene: what is painted on the ground, and what of it is mapped."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry

from beam_pipeline.sample_world.materials import material_number

Points = npt.NDArray[np.float64]
Geometries = npt.NDArray[np.object_]
Bounds = tuple[float, float, float, float]

LAYERS = ("soil", "cover", "detail", "water", "lane", "roof", "road")
"""The painter's order: a later layer hides an earlier one."""

_LONGEST_EDGE_M = 40.0
_TURN = (0.9563, 0.2924)  # cosine and sine of 17 degrees: nothing runs along the pixels
_WAVES = ((210.0, 6100.0, 0.3), (70.0, 2300.0, 1.7))  # (amplitude, length, phase) in metres, metres, radians
_PLAN_ORIGIN = (6750.0, 5600.0)  # the plan's point at the plane's origin: the first group lies in the area
_CENTIMETRES = 2


def plan_to_plane(points: Points) -> Points:
    """Bends the plan, in which blocks are rectangles, into the landscape.

    Args:
        points: (N, 2) metres of the plan.

    Returns:
        (N, 2) metres of the plane, rounded to a centimetre so that the last digits of `sin` do not matter.
    """
    p, q = points[:, 0] - _PLAN_ORIGIN[0], points[:, 1] - _PLAN_ORIGIN[1]
    x, y = p.copy(), q.copy()
    for amplitude, length, phase in _WAVES:
        x += amplitude * np.sin(2 * np.pi * q / length + phase)
        y += amplitude * np.sin(2 * np.pi * p / (1.13 * length) + 2 * phase)
    cosine, sine = _TURN
    bent: Points = np.column_stack((cosine * x - sine * y, sine * x + cosine * y))
    return bent.round(_CENTIMETRES)


def plan_bounds(bounds: Bounds) -> Bounds:
    """Returns the rectangle of the plan that surely holds a rectangle of the plane."""
    reach = sum(wave[0] for wave in _WAVES)
    cosine, sine = _TURN
    corners = [(x, y) for x in bounds[::2] for y in bounds[1::2]]
    p = [cosine * x + sine * y for x, y in corners]
    q = [-sine * x + cosine * y for x, y in corners]
    left, bottom = min(p) + _PLAN_ORIGIN[0] - reach, min(q) + _PLAN_ORIGIN[1] - reach
    return left, bottom, left + max(p) - min(p) + 2 * reach, bottom + max(q) - min(q) + 2 * reach


@dataclasses.dataclass(frozen=True)
class MappedFeature:
    """Something that a mapper drew.

    Attributes:
        geometry: Polygon with or without holes, MultiPolygon, LineString or Point in metres of the plane.
        tags: OpenStreetMap tags.
    """

    geometry: BaseGeometry
    tags: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Landscape:
    """The finished scene in metres of the plane.

    Attributes:
        surfaces: (N,) polygons in painter's order: a later one hides an earlier one.
        materials: (N,) uint16 numbers, see `materials.material_number`.
        features: What is mapped, in the order of the OSM ids.
    """

    surfaces: Geometries
    materials: npt.NDArray[np.uint16]
    features: tuple[MappedFeature, ...]


class Canvas:
    """Collects surfaces and features in metres of the plan."""

    def __init__(self) -> None:
        self._surfaces: dict[str, list[tuple[BaseGeometry, float, int]]] = {layer: [] for layer in LAYERS}
        self._features: list[tuple[BaseGeometry, float, Mapping[str, str]]] = []

    def paint(
        self, layer: str, geometry: BaseGeometry, material: str, variant: int = 0, straight: bool = False
    ) -> None:
        """Covers a polygon of the ground with a material.

        Args:
            layer: One of `LAYERS`; within a layer the later paint hides the earlier.
            geometry: Polygon or MultiPolygon in metres of the plan.
            material: A name of `materials.MATERIALS`.
            variant: The shade.
            straight: Whether edges stay straight, however long they are; else they bend with the landscape.
        """
        edge = math.inf if straight else _LONGEST_EDGE_M
        self._surfaces[layer].append((geometry, edge, material_number(material, variant)))

    def map(self, geometry: BaseGeometry, tags: Mapping[str, str], straight: bool = False) -> None:
        """Adds a feature to the map, whatever lies on the ground; `straight` as in `paint`."""
        self._features.append((geometry, math.inf if straight else _LONGEST_EDGE_M, tags))

    def finish(self, bounds: Bounds) -> Landscape:
        """Bends everything into the landscape and keeps what meets `bounds`.

        Args:
            bounds: (left, bottom, right, top) in metres of the plane.

        Returns:
            The scene; geometries are whole, not cut at the bounds.
        """
        painted = [surface for layer in LAYERS for surface in self._surfaces[layer]]
        surfaces, kept = _bend([surface[:2] for surface in painted], bounds)
        numbers = np.array([surface[2] for surface in painted], np.uint16)[kept]
        geometries, mapped = _bend([feature[:2] for feature in self._features], bounds)
        tags = [self._features[index][2] for index in np.flatnonzero(mapped)]
        features = tuple(MappedFeature(*pair) for pair in zip(geometries, tags, strict=True))
        return Landscape(surfaces, numbers, features)


def _bend(
    shapes: Sequence[tuple[BaseGeometry, float]], bounds: Bounds
) -> tuple[Geometries, npt.NDArray[np.bool_]]:
    """Bends (geometry, longest edge) pairs; returns those within the bounds and which they are."""
    array = np.array([geometry for geometry, _ in shapes], dtype=object)
    edges = np.array([edge for _, edge in shapes])
    array = np.where(np.isinf(edges), array, shapely.segmentize(array, np.minimum(edges, _LONGEST_EDGE_M)))
    bent = shapely.transform(array, plan_to_plane)
    kept = shapely.intersects(shapely.envelope(bent), shapely.box(*bounds))
    return bent[kept], kept
