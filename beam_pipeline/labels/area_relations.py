"""Makes areas of the multipolygon and boundary relations of an extract, in bounded time.

pyosmium's assembler gives a relation whole or not at all. It is given those alone whose assembling takes no longer than
what they hold is worth; see `relation_work`.
"""

import array
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import osmium

from beam_pipeline.labels.feature import DroppedTally
from beam_pipeline.labels.member_ways import write_ways
from beam_pipeline.labels.relation_work import MOST_RELATIONS, AssemblingWork, Way, counting_ns, least_ns
from beam_pipeline.labels.way_columns import Lines

AREA_RELATIONS = frozenset({"boundary", "multipolygon"})
"""Types of relation that are areas. Source: https://wiki.openstreetmap.org/wiki/Types_of_relation"""

MOST_MEMBERS = 32_000
"""Of a relation. Source: https://wiki.openstreetmap.org/wiki/API_v0.6 (`relationmembers maximum`)."""

MOST_RELATION_NODES = 5_000_000
"""Of the ways of a relation: 32,000 members of 150 nodes."""

MOST_NS = 2e9
"""Of assembling all relations of a file; for each node of their ways it may take `MOST_NS_A_NODE` more."""

MOST_NS_A_NODE = 20_000.0
"""Of assembling, for each node of the ways. A mapped node takes about 2,000: it belongs to a relation or two."""

_NODES_AT_ONCE = 100_000
"""Of relations that are looked at together: one by one, they cost mostly numpy's calls."""


class AreaRelations:
    """The relations of a file that are areas.

    Args:
        file: The file, or its header and its blocks with relations.
        keys: A relation with one of these is wanted.
        tally: Takes what is left out: "incomplete_relation", "broken_relation",
            "long_relation" or "tangled_relation".
    """

    def __init__(self, file: osmium.io.File, keys: Collection[str], tally: DroppedTally) -> None:
        self._file = file
        self._keys = keys
        self._members: dict[int, array.array[int]] = {}  # of each relation, the ways, each once
        self._types: dict[int, str] = {}
        self._wanted = np.empty(0, np.int64)  # all ways of them
        self._ways: dict[int, Way] = {}  # those of which no node is missing
        self._tally = tally

    def find(self) -> None:
        """Reads the relations."""
        types = osmium.filter.TagFilter(*(("type", name) for name in sorted(AREA_RELATIONS)))
        with osmium.io.Reader(self._file, osmium.osm.RELATION) as reader:
            osmium.apply(reader, types, osmium.filter.KeyFilter(*self._keys), _EachRelation(self._note))
        self._wanted = np.unique(np.concatenate([np.empty(0, np.int64), *self._members.values()]))

    def tags_of(self, area: Any) -> tuple[tuple[str, str], ...]:
        """Returns all tags of an area's relation, sorted by key: the assembler leaves out the type."""
        return tuple(sorted({**dict(area.tags), "type": self._types[area.orig_id()]}.items()))

    def look_at(self, ids: npt.NDArray[np.int64], lines: Lines) -> None:
        """Keeps of ways what tells how much work they make; to be called with all that may be members, after `find`.

        Args:
            ids: (N,) ids of ways.
            lines: Theirs.
        """
        complete = ~lines.missing & ~lines.are_long
        for row in np.flatnonzero(self._are_wanted(ids) & complete).tolist():
            line = lines.of(row)
            # Of one whose nodes all lie in one place there is nothing to assemble.
            self._ways[int(ids[row])] = (line if len(line) > 1 else line[:0]).astype(np.int32)

    def areas(self, scratch: BinaryIO) -> Iterator[Any]:
        """Yields the areas; to be called once, when all ways have been looked at.

        Args:
            scratch: An empty file, which takes their ways.

        Yields:
            pyosmium's areas, each to be used before the next one.
        """
        accepted = set(self._accepted())
        ways = {way for relation in accepted for way in self._members[relation]}
        members = sorted(ways, key=lambda way: (way > 0, abs(way)))  # as libosmium sorts ids
        write_ways(scratch, ((way, self._ways[way]) for way in members))
        self._ways.clear()
        for area in self._assembled(accepted, osmium.io.File(f"/dev/fd/{scratch.fileno()}", "pbf")):
            if area.from_way() or area.num_rings()[0] == 0:
                continue
            accepted.discard(area.orig_id())
            yield area
        for relation in self._members:
            if relation in accepted:
                self._tally.add("broken_relation", "relation", relation)

    def _are_wanted(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        # Not np.isin: for each block of ways it would sort all ways that are wanted.
        places = np.searchsorted(self._wanted, ids)
        found: npt.NDArray[np.bool_] = np.append(self._wanted, -1)[places] == ids
        return found & (places < len(self._wanted))

    def _note(self, relation: Any) -> None:
        if len(relation.members) > MOST_MEMBERS:
            self._tally.add("long_relation", "relation", relation.id)
            return
        ways = {member.ref for member in relation.members if member.type == "w"}
        self._members[relation.id] = array.array("q", ways)
        self._types[relation.id] = relation.tags["type"]

    def _accepted(self) -> Iterator[int]:
        """Yields the ids of the relations that are assembled, and counts the others."""
        left_ns = MOST_NS + MOST_NS_A_NODE * sum(map(len, self._ways.values()))
        for complete in self._complete():
            # What takes too long however its ways lie is not looked at.
            work = AssemblingWork([ways if least_ns(ways) <= left_ns else [] for _, ways in complete])
            for number, (relation, ways) in enumerate(complete):
                takes_ns = max(least_ns(ways), work.ns(number, left_ns))
                if takes_ns > left_ns:
                    self._tally.add("tangled_relation", "relation", relation)
                    left_ns -= min(left_ns, counting_ns(ways))
                else:
                    left_ns -= takes_ns
                    yield relation

    def _complete(self) -> Iterator[list[tuple[int, list[Way]]]]:
        """Yields the ids and ways of relations of which no way is missing, in parts, and counts the others."""
        part: list[tuple[int, list[Way]]] = []
        nodes = 0
        for relation, members in self._members.items():
            ways = [self._ways[member] for member in members if member in self._ways]
            size = sum(map(len, ways))
            if not members or len(ways) < len(members):
                self._tally.add("incomplete_relation", "relation", relation)
            elif size > MOST_RELATION_NODES:
                self._tally.add("long_relation", "relation", relation)
            else:
                if part and (nodes + size > _NODES_AT_ONCE or len(part) == MOST_RELATIONS):
                    yield part
                    part, nodes = [], 0
                part.append((relation, ways))
                nodes += size
        if part:
            yield part

    def _assembled(self, relations: Collection[int], ways: osmium.io.File) -> Iterator[Any]:
        """Yields what pyosmium's assembler makes of relations and of those of their ways that are closed."""
        if not relations:
            return
        manager = osmium.area.AreaManager()
        with osmium.io.Reader(self._file, osmium.osm.RELATION) as reader:
            osmium.apply(reader, _Only(relations), manager.first_pass_handler())
        areas = osmium.BufferIterator()
        with osmium.io.Reader(ways, osmium.osm.WAY) as reader:
            take = manager.second_pass_to_buffer(areas)  # which the iterator does not keep alive
            for _ in osmium.OsmFileIterator(reader, take):
                if areas:
                    yield from areas
        yield from areas


class _Only:
    """Lets what has one of some ids pass. pyosmium's own filter would take 4 MiB for each 33 million of the highest."""

    def __init__(self, ids: Iterable[int]) -> None:
        self._ids = frozenset(ids)

    def relation(self, relation: Any) -> bool:
        """Tells whether a relation is filtered out."""
        return relation.id not in self._ids


class _EachRelation:
    """Calls a function with each relation."""

    def __init__(self, take: Callable[[Any], None]) -> None:
        self.relation = take
