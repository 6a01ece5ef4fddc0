"""What an answer of an Overpass server must be, checked before it is kept or used: it comes from a stranger."""

from collections.abc import Callable, Mapping
from typing import Any

Element = dict[str, Any]

_MOST_ID = 2**62
_MOST_TEXT_BYTES = 65_000
"""Of a tag or role; libosmium takes 65,535. OpenStreetMap itself allows 255 characters."""


def checked_elements(answer: Any) -> list[Element]:
    """Returns the nodes, ways and relations of an answer.

    Args:
        answer: The JSON.

    Returns:
        Its elements, each with what is read of it; of other types there may be any, and they are left out.

    Raises:
        ValueError: It is no answer of Overpass.
    """
    elements = answer.get("elements") if isinstance(answer, Mapping) else None
    if not isinstance(elements, list):
        raise ValueError("it has no elements")
    known = []
    for element in elements:
        kind = element.get("type") if isinstance(element, dict) else None
        if not isinstance(kind, str):
            raise ValueError("it has an element without a type")
        if kind not in _CHECKS:
            continue
        known.append(element)
        sound = _is_id(element.get("id")) and _are_tags(element.get("tags", {}))
        if not sound or not _CHECKS[kind](element):
            raise ValueError(f"it has a malformed {kind}")
    return known


def _is_node(node: Element) -> bool:
    return _is_number(node.get("lat"), 90.0) and _is_number(node.get("lon"), 180.0)


def _is_way(way: Element) -> bool:
    nodes = way.get("nodes")
    return isinstance(nodes, list) and all(map(_is_id, nodes))


def _is_relation(relation: Element) -> bool:
    members = relation.get("members")
    return isinstance(members, list) and all(
        isinstance(member, dict)
        and member.get("type") in ("node", "way", "relation")
        and _is_id(member.get("ref"))
        and _is_text(member.get("role"))
        for member in members
    )


_CHECKS: Mapping[str, Callable[[Element], bool]] = {
    "node": _is_node,
    "way": _is_way,
    "relation": _is_relation,
}


def _is_id(value: object) -> bool:
    return type(value) is int and -_MOST_ID < value < _MOST_ID


def _is_number(value: object, most: float) -> bool:
    return type(value) in (int, float) and -most <= value <= most  # type: ignore[operator]


def _are_tags(tags: object) -> bool:
    return isinstance(tags, dict) and all(_is_text(key) and _is_text(value) for key, value in tags.items())


def _is_text(value: object) -> bool:
    if not isinstance(value, str) or "\0" in value:
        return False
    try:
        return len(value.encode()) <= _MOST_TEXT_BYTES
    except UnicodeEncodeError:  # a lone surrogate
        return False
