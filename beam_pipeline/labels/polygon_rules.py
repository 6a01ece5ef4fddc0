"""Tells whether a closed way is an area or a line that ends where it begins.

OpenStreetMap has no type for areas: a closed way is one by its tags.
"""

from collections.abc import Mapping

_ALL: frozenset[str] = frozenset()

_NEVER: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(
        (
            "amenity",
            "area",
            "area:highway",
            "boundary",
            "building",
            "building:part",
            "craft",
            "golf",
            "historic",
            "indoor",
            "landuse",
            "leisure",
            "military",
            "office",
            "place",
            "public_transport",
            "ruins",
            "shop",
            "tourism",
        ),
        _ALL,
    ),
    "aeroway": frozenset({"taxiway"}),
    "man_made": frozenset({"cutline", "embankment", "pipeline"}),
    "natural": frozenset({"arete", "cliff", "coastline", "ridge", "tree_row"}),
}
"""Keys that make a closed way an area, but for these values.

Source: https://wiki.openstreetmap.org/wiki/Overpass_turbo/Polygon_Features ("all" and "blocklist").
"""

_ONLY: Mapping[str, frozenset[str]] = {
    "barrier": frozenset({"city_wall", "ditch", "hedge", "retaining_wall", "spikes"}),
    "highway": frozenset({"elevator", "escape", "rest_area", "services"}),
    "power": frozenset({"generator", "plant", "substation", "transformer"}),
    "railway": frozenset({"platform", "roundhouse", "station", "turntable"}),
    "waterway": frozenset({"boatyard", "dam", "dock", "riverbank"}),
}
"""Keys that make a closed way an area with these values only.

Source: https://wiki.openstreetmap.org/wiki/Overpass_turbo/Polygon_Features ("passlist").
"""


def is_area(tags: Mapping[str, str]) -> bool:
    """Returns whether a closed way with these tags is an area.

    Args:
        tags: All tags of the way, not only those that the ontology looks at.

    Returns:
        False for `area=no` and where no tag makes it an area, as for most closed roads.
    """
    if tags.get("area") == "no":
        return False
    return any(
        (key in _NEVER and value not in _NEVER[key]) or (key in _ONLY and value in _ONLY[key])
        for key, value in tags.items()
    )
