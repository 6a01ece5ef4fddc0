"""The JSON that an Overpass server answers: typed models, checked before it is kept or used.

It comes from a stranger, and what is read of it goes into libosmium, which trusts what it is given.
"""

import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter

from beam_pipeline.runtime.parsing import parse_json

_MOST_ID = 2**62
_MOST_VERSION = 2**31
_MOST_SECONDS = 2**32  # of libosmium
_MOST_TEXT_BYTES = (
    65_000  # of a tag or role; libosmium takes 65,535, OpenStreetMap itself allows 255 characters
)
_READ_TYPES = ("node", "way", "relation")


def _check_text(text: str) -> str:
    if "\0" in text:
        raise ValueError("it holds a NUL")
    if len(text.encode()) > _MOST_TEXT_BYTES:
        raise ValueError(f"it has more than {_MOST_TEXT_BYTES} bytes")
    return text


def _seconds(timestamp: object) -> object:
    """Returns the seconds since 1970 of a time such as "2019-07-01T12:00:00Z"."""
    if not isinstance(timestamp, str):
        return timestamp
    return int(datetime.datetime.fromisoformat(timestamp).timestamp())


def _without_other_types(elements: object) -> object:
    """Leaves out what Overpass makes of elements, as areas and counts: they are not read."""
    if not isinstance(elements, list):
        return elements
    return [one for one in elements if not _is_of_another_type(one)]


def _is_of_another_type(element: Any) -> bool:
    kind = element.get("type") if isinstance(element, dict) else None
    return isinstance(kind, str) and kind not in _READ_TYPES


_Id = Annotated[int, Field(gt=-_MOST_ID, lt=_MOST_ID)]
_Text = Annotated[str, AfterValidator(_check_text)]
_Time = Annotated[int, BeforeValidator(_seconds), Field(ge=0, lt=_MOST_SECONDS)]


class _Model(BaseModel):
    # An answer has more than is read of it, as the names of users, which are not kept.
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


class _Tagged(_Model):
    """The fields that all elements have.

    Attributes:
        id: Unique within the type.
        version: From 1; 0 where the answer does not say.
        timestamp: Of the last edit, in seconds since 1970 in UTC; 0 where the answer does not say.
        tags: Key -> value.
    """

    id: _Id
    version: Annotated[int, Field(ge=0, lt=_MOST_VERSION)] = 0
    timestamp: _Time = 0
    tags: dict[_Text, _Text] = Field(default={})


class AnsweredNode(_Tagged):
    """A node.

    Attributes:
        lat: Latitude in degrees.
        lon: Longitude in degrees.
    """

    type: Literal["node"]
    lat: Annotated[float, Field(ge=-90.0, le=90.0)]
    lon: Annotated[float, Field(ge=-180.0, le=180.0)]


class AnsweredWay(_Tagged):
    """A way.

    Attributes:
        nodes: Ids of its nodes in order.
    """

    type: Literal["way"]
    nodes: list[_Id]


class Member(_Model):
    """A member of a relation.

    Attributes:
        type: The type of the member.
        ref: Its id.
        role: Its role; "" for none.
    """

    type: Literal["node", "way", "relation"]
    ref: _Id
    role: _Text


class AnsweredRelation(_Tagged):
    """A relation.

    Attributes:
        members: Its members in order.
    """

    type: Literal["relation"]
    members: list[Member]


Element = AnsweredNode | AnsweredWay | AnsweredRelation
_Elements = Annotated[
    list[Annotated[Element, Field(discriminator="type")]], BeforeValidator(_without_other_types)
]


class OverpassAnswer(_Model):
    """A whole answer.

    Attributes:
        elements: Its nodes, ways and relations.
        remark: What went wrong after Overpass had answered 200, or None.
    """

    elements: _Elements
    remark: object = None


_ANSWER: TypeAdapter[OverpassAnswer] = TypeAdapter(OverpassAnswer)
_ELEMENTS: TypeAdapter[list[Element]] = TypeAdapter(_Elements)


def parse_answer(content: str | bytes) -> OverpassAnswer:
    """Parses what a server answered.

    Args:
        content: JSON in UTF-8.

    Returns:
        The answer. Elements of other types than node, way and relation are left out.

    Raises:
        MalformedError: It is no answer of Overpass.
    """
    return parse_json(_ANSWER, content)


def format_elements(elements: list[Element]) -> bytes:
    """Returns elements as JSON."""
    return _ELEMENTS.dump_json(elements, exclude_defaults=True)


def parse_elements(content: bytes) -> list[Element]:
    """Is the inverse of `format_elements`.

    Raises:
        MalformedError: It is not what `format_elements` gives.
    """
    return parse_json(_ELEMENTS, content)
