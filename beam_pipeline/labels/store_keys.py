"""The keys that a store of map objects holds, whatever ontology is drawn of it."""

from beam_pipeline.labels.ontology import COASTLINE, SEA_KEY, Ontology
from beam_pipeline.labels.ontology_json import KINDS, Kind

STORE_KEYS: tuple[str, ...] = (
    "advertising",
    "aerialway",
    "aeroway",
    "allotments",
    "amenity",
    "area",
    "area:highway",
    "attraction",
    "barrier",
    "boundary",
    "building",
    "building:part",
    "club",
    "craft",
    "crop",
    "embankment",
    "emergency",
    "geological",
    "golf",
    "healthcare",
    "highway",
    "historic",
    "indoor",
    "industrial",
    "landcover",
    "landuse",
    "leisure",
    "man_made",
    "military",
    "natural",
    "office",
    "piste:type",
    "place",
    "playground",
    "power",
    "produce",
    "public_transport",
    "railway",
    "residential",
    "ruins",
    "seamark:type",
    "shop",
    "sport",
    "telecom",
    "tourism",
    "water",
    "waterway",
    "wetland",
)
"""Keys that say what a thing is, sorted: one of them makes an object of the map part of a store.

They are the keys of the shipped ontologies and of the rules for closed ways, and the other keys of physical things.
Keys that only tell more of a thing (`layer`, `surface`) or of the map itself (`source`, `note`) are not among them.

Source: https://wiki.openstreetmap.org/wiki/Map_features ("Primary features").
"""

PADDING_M = 600.0
"""Metres outside of a cell within which a store holds objects: no ontology's labels depend on what lies farther out."""


def drawn_keys(ontology: Ontology, kinds: tuple[Kind, ...] = KINDS) -> list[str]:
    """Returns the keys of OpenStreetMap without one of which an object is of no use to drawing, sorted.

    Args:
        ontology: What is drawn.
        kinds: The kinds of geometry that are meant.
    """
    rules = (rule for label in ontology.labels for rule in label.rules)
    keys = {rule.key for rule in rules if set(kinds) & set(rule.kinds)} - {SEA_KEY}
    return sorted(keys | {COASTLINE[0]} if "line" in kinds else keys)


def keys_for(ontology: Ontology) -> tuple[str, ...]:
    """Returns the keys of a store that an ontology, and most others, can be drawn of.

    Args:
        ontology: Its drawn keys are added to `STORE_KEYS`.

    Returns:
        The keys, sorted.
    """
    return tuple(sorted({*STORE_KEYS, *drawn_keys(ontology)}))
