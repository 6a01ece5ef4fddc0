"""The plain data class of an OpenStreetMap feature."""

import dataclasses
from typing import Literal

OsmType = Literal["node", "way", "relation"]


@dataclasses.dataclass(frozen=True)
class Feature:
    """An OSM element with a geometry.

    Attributes:
        osm_type: The element that carries the tags. An area made of a closed way is a "way", one of a
            multipolygon a "relation".
        osm_id: The element's id, unique within its type.
        tags: (key, value) pairs, sorted by key; only keys that the ontology looks at.
        geometry: Well-known binary (2D). Longitude and latitude in degrees as it comes from the source;
            metres of the chip's UTM zone once it is clipped to a chip.
    """

    osm_type: OsmType
    osm_id: int
    tags: tuple[tuple[str, str], ...]
    geometry: bytes
