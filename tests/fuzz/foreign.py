"""Strategies for what others might send: JSON of any kind, and sound documents in which a few places are wrong."""

import copy
from typing import Any

from hypothesis import strategies as st

NASTY: list[Any] = [
    None,
    True,
    "",
    " ",
    [],
    {},
    [[]],
    [None],
    0,
    -1,
    2**63,
    10**400,
    1e308,
    float("nan"),
    float("inf"),
    "\0",
    "\ud800",
    "../../etc/passwd",
    "http://[x/a.tif",
    "file://[/a.tif",
    "s3://b/a.tif",
    "a" * 3000,
    "٣",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
    "0999-06-01T00:00:00Z",
    "99QKB",
    "MGRS-00AAA",
]

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
values = st.sampled_from(NASTY) | st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def _places(part: Any) -> list[tuple[Any, Any]]:
    """(container, key or index) of everything in a document."""
    if isinstance(part, dict):
        return [place for key in part for place in [(part, key), *_places(part[key])]]
    if isinstance(part, list):
        return [place for index in range(len(part)) for place in [(part, index), *_places(part[index])]]
    return []


@st.composite
def damaged(draw: st.DrawFn, document: Any) -> Any:
    """The document with one to three places replaced, removed or doubled."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        places = _places(document)
        if not places:
            break
        container, key = draw(st.sampled_from(places))
        action = draw(st.sampled_from(["replace", "replace", "remove", "add"]))
        if action == "remove":
            del container[key]
        elif action == "replace":
            container[key] = copy.deepcopy(draw(values))
        elif isinstance(container, list):
            container.insert(key, copy.deepcopy(draw(values)))
        else:
            container[draw(st.text(max_size=10))] = copy.deepcopy(draw(values))
    return document
