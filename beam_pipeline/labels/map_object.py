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
            a way a line, of a relation an area. But a closed way, one that ends with the node that it begins with,
            is a polygon of its ring where one of its tags makes an area: the coordinates are the same. One that only
            goes there and back has its last point twice then, as a ring has four.
    """

    osm_type: ObjectType
    osm_id: int
    version: int
    timestamp: int
    tags: tuple[tuple[str, str], ...]
    geometry: bytes
