"""Makes areas of the multipolygon and boundary relations of an extract, in bounded time.

pyosmium's assembler gives a relation whole or not at all. It is given those alone whose assembling takes no longer than
what they hold is worth; see `relation_work`.
"""

import array
import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import osmium

from beam_pipeline.labels.feature import DroppedTally
from beam_pipeline.labels.relation_work import Way, assembling_ns, counting_ns

AREA_RELATIONS = frozenset({"boundary", "multipolygon"})
"""Types of relation that are areas. Source: https://wiki.openstreetmap.org/wiki/Types_of_relation"""

MOST_MEMBERS = 32_000
"""Of a relation. Source: https://wiki.openstreetmap.org/wiki/API_v0.6 (`relationmembers maximum`)."""

MOST_RELATION_NODES = 5_000_000
"""Of the ways of a relation: 32,000 members of 150 nodes."""

MOST_NS = 2e9
"""Of assembling all relations of a file; for each node of their ways it may take `MOST_NS_A_NODE` more."""

MOST_NS_A_NODE = 20_000.0
"""What is mapped takes about 2,000: a node of it belongs to a relation or two."""

_A_DEGREE = 1e7  # in libosmium's units
_WKB_HEADER_BYTES = 9


class AreaRelations:
    """The relations of a file that are areas.

    Args:
        file: The file.
        is_drawn: Tells by the tags of a relation whether it is wanted.
        tally: Takes what is left out: "incomplete_relation", "broken_relation",
            "long_relation" or "tangled_relation".
    """

    def __init__(
        self, file: osmium.io.File, is_drawn: Callable[[Mapping[str, str]], bool], tally: DroppedTally
    ) -> None:
        self._file = file
        self._is_drawn = is_drawn
        self._wkb = osmium.geom.WKBFactory()
        self._members: dict[int, array.array[int]] = {}  # of each relation, the ways, each once
        self._wanted: frozenset[int] = frozenset()  # all ways of them
        self._ways: dict[int, Way] = {}  # those of which no node is missing
        self._tally = tally

    def find(self) -> None:
        """Reads the relations."""
        with osmium.io.Reader(self._file, osmium.osm.RELATION) as reader:
            osmium.apply(reader, _EachRelation(self._note))
        self._wanted = frozenset(itertools.chain.from_iterable(self._members.values()))

    def look_at(self, way: Any) -> None:
        """Keeps of a way what tells how much work it makes; to be called with each that may be a member, after `find`.

        Args:
            way: A way with the locations of its nodes.
        """
        if way.id not in self._wanted or not all(node.location.valid() for node in way.nodes):
            return
        try:
            line = bytes.fromhex(self._wkb.create_linestring(way))
        except RuntimeError:  # all of its nodes lie in one place
            line = bytes(_WKB_HEADER_BYTES)
        degrees = np.frombuffer(line, np.float64, offset=_WKB_HEADER_BYTES).reshape(-1, 2)
        self._ways[way.id] = np.rint(degrees * _A_DEGREE).astype(np.int32)

    def areas(self, locations: Sequence[Any]) -> Iterator[Any]:
        """Yields the areas; to be called once, when all ways have been looked at.

        Args:
            locations: Handlers that give ways the locations of their nodes.

        Yields:
            pyosmium's areas, each to be used before the next one.
        """
        accepted = set(self._accepted())
        self._ways.clear()
        for area in self._assembled(accepted, locations):
            if area.from_way() or area.num_rings()[0] == 0:
                continue
            accepted.discard(area.orig_id())
            yield area
        for relation in self._members:
            if relation in accepted:
                self._tally.add("broken_relation", "relation", relation)

    def _note(self, relation: Any) -> None:
        tags = dict(relation.tags)
        if tags.get("type") not in AREA_RELATIONS or not self._is_drawn(tags):
            return
        if len(relation.members) > MOST_MEMBERS:
            self._tally.add("long_relation", "relation", relation.id)
            return
        ways = {member.ref for member in relation.members if member.type == "w"}
        self._members[relation.id] = array.array("q", ways)

    def _accepted(self) -> Iterator[int]:
        """Yields the ids of the relations that are assembled, and counts the others."""
        left_ns = MOST_NS + MOST_NS_A_NODE * sum(map(len, self._ways.values()))
        for relation, members in self._members.items():
            ways = [self._ways[member] for member in members if member in self._ways]
            if not members or len(ways) < len(members):
                self._tally.add("incomplete_relation", "relation", relation)
            elif sum(map(len, ways)) > MOST_RELATION_NODES:
                self._tally.add("long_relation", "relation", relation)
            elif (takes_ns := assembling_ns(ways, left_ns)) > left_ns:
                self._tally.add("tangled_relation", "relation", relation)
                left_ns -= min(left_ns, counting_ns(ways))
            else:
                left_ns -= takes_ns
                yield relation

    def _assembled(self, relations: Collection[int], locations: Sequence[Any]) -> Iterator[Any]:
        """Yields what pyosmium's assembler makes of relations and of those of their ways that are closed."""
        if not relations:
            return
        members = _Only(way for relation in relations for way in self._members[relation])
        manager = osmium.area.AreaManager()
        with osmium.io.Reader(self._file, osmium.osm.RELATION) as reader:
            osmium.apply(reader, _Only(relations), manager.first_pass_handler())
        areas = osmium.BufferIterator()
        with osmium.io.Reader(self._file, osmium.osm.WAY) as reader:
            chain = (members, *locations, manager.second_pass_to_buffer(areas))
            for _ in osmium.OsmFileIterator(reader, *chain):
                if areas:
                    yield from areas
        yield from areas


class _Only:
    """Lets what has one of some ids pass."""

    def __init__(self, ids: Iterable[int]) -> None:
        self._ids = frozenset(ids)

    def way(self, way: Any) -> bool:
        """Tells whether a way is filtered out."""
        return way.id not in self._ids

    def relation(self, relation: Any) -> bool:
        """Tells whether a relation is filtered out."""
        return relation.id not in self._ids


class _EachRelation:
    """Calls a function with each relation."""

    def __init__(self, take: Callable[[Any], None]) -> None:
        self.relation = take
