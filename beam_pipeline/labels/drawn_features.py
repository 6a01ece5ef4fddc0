"""The features that an ontology draws of the objects of a map."""

import functools
import struct
from collections.abc import Callable, Iterator

from beam_pipeline.labels.feature import Feature
from beam_pipeline.labels.map_object import MapObject
from beam_pipeline.labels.ontology import COASTLINE, SEA_KEY, Ontology
from beam_pipeline.labels.ontology_json import Kind
from beam_pipeline.labels.polygon_rules import RULED_KEYS, tags_of_closed_way
from beam_pipeline.labels.store_keys import drawn_keys

_CACHED_TAGS = 1 << 13
_LINE_HEADER = struct.pack("<BI", 1, 2)  # little-endian WKB: a line string,
_POLYGON_HEADER = struct.pack("<BII", 1, 3, 1)  # and a polygon of one ring
_POINT_BYTES = 16
_COUNT_BYTES = 4

_Tags = tuple[tuple[str, str], ...]
_Drawn = tuple[tuple[Kind, _Tags], ...]
"""Kinds of geometry that are drawn, and the tags that the ontology looks at."""


class DrawnFeatures:
    """Makes features of map objects.

    Args:
        ontology: What is drawn.

    Attributes:
        keys: The keys of all tags that decide what is drawn.
    """

    def __init__(self, ontology: Ontology) -> None:
        self._keys = (ontology.keys | {COASTLINE[0]}) - {SEA_KEY}
        self.keys = self._keys | RULED_KEYS
        self._drawn_keys = frozenset(drawn_keys(ontology))
        self._ontology = ontology
        # Few combinations of tags make up most of a map.
        self._drawn: Callable[[Kind, _Tags], _Drawn] = functools.lru_cache(_CACHED_TAGS)(self._look_up)
        self._drawn_closed: Callable[[_Tags], _Drawn] = functools.lru_cache(_CACHED_TAGS)(
            self._look_up_closed
        )

    def of(self, one: MapObject) -> list[Feature]:
        """Returns the features that are drawn of an object.

        Args:
            one: Any object.

        Returns:
            None where nothing is drawn; of a closed way an area, a line, or both in this order. Tags are those that the
            ontology looks at.
        """
        geometry = one.geometry
        if one.osm_type != "way":
            kind: Kind = "point" if one.osm_type == "node" else "area"
            drawn = self._drawn(kind, tuple(tag for tag in one.tags if tag[0] in self._keys))
            return [Feature(one.osm_type, one.osm_id, tags, geometry) for _, tags in drawn]
        is_polygon = geometry.startswith(_POLYGON_HEADER)
        if is_polygon:
            drawn = self._drawn_closed(tuple(tag for tag in one.tags if tag[0] in self.keys))
        else:
            drawn = self._drawn("line", tuple(tag for tag in one.tags if tag[0] in self._keys))
        if not drawn:
            return []
        points = _points_of(geometry) if is_polygon else geometry[len(_LINE_HEADER) :]
        return [
            Feature("way", one.osm_id, tags, (_POLYGON_HEADER if kind == "area" else _LINE_HEADER) + points)
            for kind, tags in drawn
        ]

    def _look_up(self, kind: Kind, tags: _Tags) -> _Drawn:
        return ((kind, tags),) if self._ontology.keeps(kind, tags) else ()

    def _look_up_closed(self, tags: _Tags) -> _Drawn:
        area, line = tags_of_closed_way(dict(tags), self._drawn_keys)
        kinds: tuple[tuple[Kind, dict[str, str]], ...] = (("area", area), ("line", line))
        return tuple(self._kept(kinds))

    def _kept(self, kinds: tuple[tuple[Kind, dict[str, str]], ...]) -> Iterator[tuple[Kind, _Tags]]:
        for kind, of_kind in kinds:
            tags = tuple((key, value) for key, value in of_kind.items() if key in self._keys)
            looked_at = tuple(sorted(tags))
            if self._ontology.keeps(kind, looked_at):
                yield kind, looked_at


def _points_of(polygon: bytes) -> bytes:
    """Returns the number of points of a polygon, and these, as they are in a line: without one that makes up four."""
    points = polygon[len(_POLYGON_HEADER) :]
    if len(points) == _COUNT_BYTES + 4 * _POINT_BYTES and points.endswith(2 * points[-_POINT_BYTES:]):
        return struct.pack("<I", 3) + points[_COUNT_BYTES:-_POINT_BYTES]
    return points
