"""OpenStreetMap features, and what a search for them finds."""

import collections
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Generic, Literal, TypeVar

import shapely

OsmType = Literal["node", "way", "relation", "sea"]

MOST_NAMED = 20
"""Elements that are named of those that were left out, of each extract and for each reason."""

_TYPE_ORDER = {"node": 0, "way": 1, "relation": 2, "sea": 3}
_DIMENSIONS = 3  # the types of well-known binary are points, lines and areas, and then these in several parts

_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True)
class Feature:
    """An OSM element with a geometry.

    A closed way may be an area by one of its tags and a line by another: then it is two features.

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

    def with_geometry(self, geometry: bytes) -> "Feature":
        """Returns the same element with another geometry; `dataclasses.replace` takes four times as long."""
        return Feature(self.osm_type, self.osm_id, self.tags, geometry)


@dataclasses.dataclass(frozen=True)
class Dropped:
    """OSM elements that were left out.

    Attributes:
        counts: Reason -> number of elements, where there are any.
        named: Reason -> the first of them in order of the file, `MOST_NAMED` at most, as "way/123".
    """

    counts: Mapping[str, int] = dataclasses.field(default_factory=dict)
    named: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)


class DroppedTally:
    """Gathers what was left out."""

    def __init__(self) -> None:
        self._counts: collections.Counter[str] = collections.Counter()
        self._named: dict[str, list[str]] = {}

    def add(self, reason: str, osm_type: OsmType, osm_id: int) -> None:
        """Notes an element."""
        self.update(Dropped({reason: 1}, {reason: (f"{osm_type}/{osm_id}",)}))

    def update(self, dropped: Dropped) -> None:
        """Notes what came after all that was noted before."""
        self._counts.update(dropped.counts)
        for reason, names in dropped.named.items():
            named = self._named.setdefault(reason, [])
            named += names[: MOST_NAMED - len(named)]

    def dropped(self) -> Dropped:
        """Returns what was noted, sorted by reason."""
        return Dropped(
            {reason: self._counts[reason] for reason in sorted(self._counts)},
            {reason: tuple(self._named[reason]) for reason in sorted(self._named)},
        )


@dataclasses.dataclass(frozen=True)
class Found(Generic[_T]):
    """Features, and what could not be had.

    What is too much for memory comes as many of these, whose counts add up.

    Attributes:
        features: A `Feature` each, or a (cell id, `Feature`).
        dropped: What was left out.
    """

    features: Sequence[_T]
    dropped: Dropped = Dropped()

    @classmethod
    def all_of(cls, parts: "Iterable[Found[_T]]") -> "Found[_T]":
        """Returns what came in several parts as one."""
        features: list[_T] = []
        tally = DroppedTally()
        for part in parts:
            features += part.features
            tally.update(part.dropped)
        return cls(features, tally.dropped())


def deduplicate(features: Iterable[Feature]) -> list[Feature]:
    """Keeps one copy of each feature, told apart by type, id and kind of geometry.

    Several extracts may hold the same element. Where the copies differ, as when one extract's edge or age
    cost it a part, the larger is kept, by area, then length; among equals the order of tags and bytes
    decides.

    Args:
        features: Features clipped to one chip, in any order.

    Returns:
        Features sorted by type (node, way, relation, sea), id and kind (point, line, area); the same whatever the order
        of the input.
    """
    copies: dict[tuple[int, int, int], set[Feature]] = {}
    for feature in features:
        element = (_TYPE_ORDER[feature.osm_type], feature.osm_id, _dimension(feature))
        copies.setdefault(element, set()).add(feature)
    return [max(same, key=_size) if len(same) > 1 else next(iter(same)) for _, same in sorted(copies.items())]


def _dimension(feature: Feature) -> int:
    """Returns 0 for points, 1 for lines, 2 for areas; read off the geometry's head, which is little-endian."""
    return (int.from_bytes(feature.geometry[1:5], "little") - 1) % _DIMENSIONS


def _size(feature: Feature) -> tuple[float, float, tuple[tuple[str, str], ...], bytes]:
    geometry = shapely.from_wkb(feature.geometry)
    return geometry.area, geometry.length, feature.tags, feature.geometry
