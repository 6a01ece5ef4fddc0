"""Writes the map as an OpenStreetMap extract."""

import datetime
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import osmium
import shapely
from osmium.osm import mutable
from shapely.geometry import LineString, Polygon
from shapely.geometry.base import BaseGeometry

from beam_pipeline.sample_world.landscape import MappedFeature, Points
from beam_pipeline.sample_world.place import plane_to_lonlat

TIMESTAMP = "2023-01-01T00:00:00Z"
"""Replication timestamp in the extract's header: after both years."""

_EDITED = datetime.datetime(2022, 12, 31, tzinfo=datetime.UTC)
_DIGITS = 7  # Source: OpenStreetMap stores degrees to 1e-7


class _Numbering:
    """Gives nodes and ways their ids, in the order in which they are first needed."""

    def __init__(self) -> None:
        self.nodes: list[tuple[float, float]] = []
        self.ways: list[tuple[list[int], dict[str, str]]] = []
        self.relations: list[tuple[list[tuple[str, int, str]], dict[str, str]]] = []
        self._node_ids: dict[tuple[float, float], int] = {}

    def add_way(self, points: Iterable[Sequence[float]], tags: dict[str, str]) -> int:
        """Adds a way; points at the same place are one node, so that roads and rings connect and close."""
        ids: list[int] = []
        for lon, lat in points:
            place = (lon, lat)
            if place not in self._node_ids:
                self.nodes.append(place)
                self._node_ids[place] = len(self.nodes)
            ids.append(self._node_ids[place])
        self.ways.append((ids, tags))
        return len(self.ways)

    def add_feature(self, feature: MappedFeature, points: list[list[list[float]]]) -> None:
        """Adds a feature: lines and polygons without a hole are ways, others multipolygon relations."""
        tags = dict(sorted(feature.tags.items()))
        if len(points) == 1:
            self.add_way(points[0], tags)
            return
        roles = [
            role
            for polygon in _polygons(feature.geometry)
            for role in ("outer", *("inner" for _ in polygon.interiors))
        ]
        members = [("w", self.add_way(ring, {}), role) for ring, role in zip(points, roles, strict=True)]
        self.relations.append((members, {"type": "multipolygon"} | tags))


def write_extract(path: Path, features: Sequence[MappedFeature]) -> None:
    """Writes features as .osm.pbf: nodes, ways and relations, each sorted by id.

    Args:
        path: The file to write; it must not exist.
        features: Polygons, MultiPolygons and LineStrings in metres of the plane.
    """
    lines = [_lines(feature) for feature in features]
    lengths = [len(line) for of_feature in lines for line in of_feature]
    metres = np.concatenate([line for of_feature in lines for line in of_feature])
    degrees = np.round(plane_to_lonlat(metres), _DIGITS)
    pieces = iter(np.split(degrees, np.cumsum(lengths)[:-1]))
    numbering = _Numbering()
    for feature, of_feature in zip(features, lines, strict=True):
        numbering.add_feature(feature, [next(pieces).tolist() for _ in of_feature])

    header = osmium.io.Header()
    header.set("generator", "beam_pipeline.sample_world")
    header.set("osmosis_replication_timestamp", TIMESTAMP)
    low, high = degrees.min(axis=0).tolist(), degrees.max(axis=0).tolist()
    header.add_box(osmium.osm.Box(low[0], low[1], high[0], high[1]))
    with osmium.SimpleWriter(str(path), header=header) as writer:
        for number, place in enumerate(numbering.nodes, start=1):
            writer.add_node(mutable.Node(id=number, location=place, version=1, timestamp=_EDITED))
        for number, (nodes, tags) in enumerate(numbering.ways, start=1):
            writer.add_way(mutable.Way(id=number, nodes=nodes, tags=tags, version=1, timestamp=_EDITED))
        for number, (members, tags) in enumerate(numbering.relations, start=1):
            writer.add_relation(
                mutable.Relation(id=number, members=members, tags=tags, version=1, timestamp=_EDITED)
            )


def _polygons(geometry: BaseGeometry) -> list[Polygon]:
    return [part for part in shapely.get_parts(geometry).tolist() if isinstance(part, Polygon)]


def _lines(feature: MappedFeature) -> list[Points]:
    """Returns the feature's rings or its line, each (N, 2) metres."""
    if isinstance(feature.geometry, LineString):
        return [shapely.get_coordinates(feature.geometry)]
    return [
        shapely.get_coordinates(ring)
        for polygon in _polygons(feature.geometry)
        for ring in (polygon.exterior, *polygon.interiors)
    ]
