"""Writes small OSM files for tests."""

from collections.abc import Iterable
from pathlib import Path

import osmium
from osmium.osm.mutable import Node, Relation, Way

Tags = dict[str, str]
LonLat = tuple[float, float]


class OsmFile:
    """Elements of a made-up file: nodes get ids in the order in which they are first used, from 1."""

    def __init__(self) -> None:
        self.nodes: dict[LonLat, Node] = {}
        self.ways: list[Way] = []
        self.relations: list[Relation] = []

    def node(self, lonlat: LonLat, tags: Tags | None = None) -> int:
        if lonlat not in self.nodes or tags:
            old = self.nodes.get(lonlat)
            osm_id = old.id if old else len(self.nodes) + 1
            self.nodes[lonlat] = Node(id=osm_id, location=lonlat, tags=tags or {})
        return int(self.nodes[lonlat].id)

    def way(self, osm_id: int, lonlats: Iterable[LonLat], **tags: str) -> None:
        self.ways.append(Way(id=osm_id, nodes=[self.node(lonlat) for lonlat in lonlats], tags=tags))

    def relation(self, osm_id: int, members: Iterable[tuple[int, str]], **tags: str) -> None:
        ways = [("w", ref, role) for ref, role in members]
        self.relations.append(Relation(id=osm_id, members=ways, tags=tags))

    def write(self, path: Path, order: str = "nwr") -> Path:
        """Writes the kinds of element in the given order, each sorted by id."""
        with osmium.SimpleWriter(str(path), overwrite=True) as writer:
            for kind in order:
                elements = {"n": self.nodes.values(), "w": self.ways, "r": self.relations}[kind]
                add = {"n": writer.add_node, "w": writer.add_way, "r": writer.add_relation}[kind]
                for element in sorted(elements, key=lambda element: element.id):
                    add(element)
        return path


def square(lon: float, lat: float, half: float) -> list[LonLat]:
    """A closed ring around a point; all in degrees."""
    west, east, south, north = (round(v, 7) for v in (lon - half, lon + half, lat - half, lat + half))
    return [(west, south), (east, south), (east, north), (west, north), (west, south)]
