"""Objects of OpenStreetMap as the map has them, before an ontology has looked at them."""

import dataclasses
from typing import Literal

ObjectType = Literal["node", "way", "relation"]


@dataclasses.dataclass(frozen=True)
class MapObject:
    """An object of OpenStreetMap with a geometry.

    Attributes:
        osm_type: The kind of object.
        osm_id: Its id, unique within its type.
        version: How often it was edited, from 1; 0 where the source does not say.
        timestamp: When it was edited last, in seconds since 1970 in UTC; 0 where the source does not say.
        tags: All (key, value) pairs, sorted by key.
        geometry: Well-known binary, 2D and little-endian, in degrees of longitude and latitude. Of a node a point, of
            an open way a line, of a relation an area. A closed way of four points or more that one of its tags makes
            an area is a polygon of its ring, any other a line: the coordinates are the same.
    """

    osm_type: ObjectType
    osm_id: int
    version: int
    timestamp: int
    tags: tuple[tuple[str, str], ...]
    geometry: bytes
