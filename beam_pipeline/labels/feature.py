"""OpenStreetMap features, and what a search for them finds."""

import collections
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Generic, Literal, TypeVar

import shapely

OsmType = Literal["node", "way", "relation", "sea"]

_TYPE_ORDER = {"node": 0, "way": 1, "relation": 2, "sea": 3}

_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True)
class Feature:
    """An OSM element with a geometry.

    Attributes:
        osm_type: The element that carries the tags. An area made of a closed way is a "way", one of a
            multipolygon a "relation", a polygon of the sea, which is no element of OSM, a "sea".
        osm_id: The element's id, unique within its type.
        tags: (key, value) pairs, sorted by key; only keys that the ontology looks at.
        geometry: Well-known binary (2D). Longitude and latitude in degrees as it comes from the source;
            metres of the chip's UTM zone once it is clipped to a chip.
    """

    osm_type: OsmType
    osm_id: int
    tags: tuple[tuple[str, str], ...]
    geometry: bytes


@dataclasses.dataclass(frozen=True)
class Found(Generic[_T]):
    """Features, and how many could not be had.

    What is too much for memory comes as many of these, whose counts add up.

    Attributes:
        features: A `Feature` each, or a (cell id, `Feature`).
        dropped: Reason -> number of elements that were left out, where there are any.
    """

    features: Sequence[_T]
    dropped: Mapping[str, int]

    @classmethod
    def all_of(cls, parts: "Iterable[Found[_T]]") -> "Found[_T]":
        """Returns what came in several parts as one."""
        features: list[_T] = []
        dropped: collections.Counter[str] = collections.Counter()
        for part in parts:
            features += part.features
            dropped.update(part.dropped)
        return cls(features, dropped)


def deduplicate(features: Iterable[Feature]) -> list[Feature]:
    """Keeps one copy of each OSM element.

    Several extracts may hold the same element. Where the copies differ, as when one extract's edge or age
    cost it a part, the larger is kept, by area, then length; among equals the order of tags and bytes
    decides.

    Args:
        features: Features clipped to one chip, in any order.

    Returns:
        Features sorted by type (node, way, relation, sea) and id; the same whatever the order of the input.
    """
    copies: dict[tuple[int, int], set[Feature]] = {}
    for feature in features:
        copies.setdefault((_TYPE_ORDER[feature.osm_type], feature.osm_id), set()).add(feature)
    return [max(same, key=_size) if len(same) > 1 else next(iter(same)) for _, same in sorted(copies.items())]


def _size(feature: Feature) -> tuple[float, float, tuple[tuple[str, str], ...], bytes]:
    geometry = shapely.from_wkb(feature.geometry)
    return geometry.area, geometry.length, feature.tags, feature.geometry
