"""Tells whether a closed way is an area or a line that ends where it begins, or both.

OpenStreetMap has no type for areas: a closed way is one by its tags. The rules are those of Overpass Turbo and OSMnx,
but for these: a closed `highway=pedestrian` is a square, a closed `leisure=track` is the lap and not what lies within
it, and `no` makes nothing an area.
"""

from collections.abc import Collection, Mapping

from beam_pipeline.labels.ontology import COASTLINE

Tags = dict[str, str]
"""Key -> value."""

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
    # Source: https://github.com/gravitystorm/openstreetmap-carto/blob/master/openstreetmap-carto.lua
    "leisure": frozenset({"track"}),
    "man_made": frozenset({"cutline", "embankment", "pipeline"}),
    "natural": frozenset({"arete", "cliff", "coastline", "ridge", "tree_row"}),
}
"""Keys that make a closed way an area, but for these values.

Source: https://wiki.openstreetmap.org/wiki/Overpass_turbo/Polygon_Features ("all" and "blocklist").
"""

_ONLY: Mapping[str, frozenset[str]] = {
    "barrier": frozenset({"city_wall", "ditch", "hedge", "retaining_wall", "spikes"}),
    # Source of pedestrian: https://github.com/osmose-qa/osmose-backend/pull/1865
    "highway": frozenset({"elevator", "escape", "pedestrian", "rest_area", "services"}),
    "power": frozenset({"generator", "plant", "substation", "transformer"}),
    "railway": frozenset({"platform", "roundhouse", "station", "turntable"}),
    "waterway": frozenset({"boatyard", "dam", "dock", "riverbank"}),
}
"""Keys that make a closed way an area with these values only.

Source: https://wiki.openstreetmap.org/wiki/Overpass_turbo/Polygon_Features ("passlist").
"""


RULED_KEYS = frozenset({*_NEVER, *_ONLY})
"""Keys that the rules know."""


def makes_area(key: str, value: str) -> bool:
    """Returns whether a tag says by itself that a closed way is an area.

    Args:
        key: The tag's key. Of one that the rules do not know, nothing is said.
        value: One value.
    """
    if value == "no":
        return False
    return (key in _NEVER and value not in _NEVER[key]) or (key in _ONLY and value in _ONLY[key])


def may_make_area(key: str, value: str) -> bool:
    """Returns whether `makes_area` holds for a tag or one of the values that it lists."""
    return makes_area(key, value) or any(makes_area(key, part.strip()) for part in value.split(";"))


def may_be_area(tags: Mapping[str, str]) -> bool:
    """Returns whether there is an ontology that draws a closed way of these tags as an area.

    Args:
        tags: All tags of the way.
    """
    stated = tags.get("area")
    if stated is not None:
        return stated != "no"
    return any(may_make_area(key, value) for key, value in tags.items())


def tags_of_closed_way(tags: Mapping[str, str], drawn: Collection[str]) -> tuple[Tags, Tags]:
    """Returns the tags by which a closed way is an area, and those by which it is a line.

    Source: https://wiki.openstreetmap.org/wiki/Key:area

    `area=yes` and `area=no` go before all, but a coastline is a line in any case. Else each key that is drawn is looked
    at by itself: a ditch that is also `historic=moat` is a line, and a road around a park is a line and an area. A key
    that the rules do not know, as `water`, goes with the others: with the line, where another key that is drawn makes
    one or no key at all makes an area, else with the area.

    Args:
        tags: All tags of the way, not only those that the ontology looks at.
        drawn: The keys that the ontology draws.

    Returns:
        Tags of the area and tags of the line; none where no drawn key makes one. Keys that are not drawn are in both,
        a key that is drawn in one of them; of several values, as `pedestrian;service`, each in its own.
    """
    stated = tags.get("area")
    if stated == "no":
        return {}, dict(tags)
    if stated is not None:
        shore = {key: value for key, value in tags.items() if key not in drawn or (key, value) == COASTLINE}
        return dict(tags), shore if COASTLINE in tags.items() else {}
    area: Tags = {}
    line: Tags = {}
    unruled, others = {}, {}
    for key, value in tags.items():
        if key not in drawn:
            others[key] = value
        elif key not in _NEVER and key not in _ONLY:
            unruled[key] = value
        elif ";" not in value:
            (area if makes_area(key, value) else line)[key] = value
        else:
            parts = value.split(";")
            for of_kind, wanted in ((area, True), (line, False)):
                if chosen := [part for part in parts if makes_area(key, part.strip()) is wanted]:
                    of_kind[key] = ";".join(chosen)
    if unruled:
        is_line = set(line.values()) - {"no"} or not any(
            makes_area(key, part.strip()) for key, value in tags.items() for part in value.split(";")
        )
        (line if is_line else area).update(unruled)
    return ({**others, **area} if area else {}), ({**others, **line} if line else {})
