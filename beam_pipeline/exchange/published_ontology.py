"""Reads the ontology that comes with published files."""

import json
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field

from beam_pipeline.labels.label_image import NONE
from beam_pipeline.labels.ontology import PUBLISHED, Ontology, shipped_ontology
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.parsing import MalformedError, parse_json

GIVEN: Literal["given"] = "given"
REDUCED: Literal["reduced"] = "reduced"
DEFAULT: Literal["default"] = "default"
"""An ontology as the file says it; its names, values and precedence alone; that of our package, for want of a file."""

_STAND_IN = "published_label"
"""Key of the one tag that a label of a reduced ontology has; OpenStreetMap does not have it."""


Kind = Literal["given", "reduced", "default"]


class _Label(pydantic.BaseModel):
    value: Annotated[int, Field(ge=0, lt=NONE, strict=True)]
    precedence: Annotated[int, Field(ge=1, le=100, strict=True)]


class _Channel(pydantic.BaseModel):
    name: str
    labels: dict[str, _Label]


class _Document(pydantic.BaseModel):
    version: Annotated[int, Field(ge=1)] = 10
    channels: list[_Channel]


_DOCUMENT = pydantic.TypeAdapter(_Document)


def published_ontology(text: str | None, path: str) -> tuple[str, Kind]:
    """Returns the ontology of published files.

    Args:
        text: The content of `osm_categories.json`; None where there is none.
        path: Where it is, for messages.

    Returns:
        The text of an ontology that `Ontology.load` takes, and what it is: `GIVEN`, `REDUCED` or `DEFAULT`.

    Raises:
        InvalidInputError: It does not say the names, values and precedence of the labels of three channels.
    """
    if text is None:
        return shipped_ontology(PUBLISHED), DEFAULT
    try:
        Ontology.load(text)
        return text, GIVEN
    except InvalidInputError as error:
        refused = error
    try:
        reduced = json.dumps(_reduced(parse_json(_DOCUMENT, text)))
        Ontology.load(reduced)
    except (MalformedError, InvalidInputError):
        raise InvalidInputError(
            f"{path} does not say name, value and precedence of each label: {refused}. Mend it; or without the file "
            f"the labels are taken to be those of version 10"
        ) from refused
    return reduced, REDUCED


def _reduced(document: _Document) -> dict[str, Any]:
    channels = [
        {
            "name": channel.name,
            "labels": {
                name: {"value": label.value, "precedence": label.precedence, _STAND_IN: [name]}
                for name, label in channel.labels.items()
            },
        }
        for channel in document.channels
    ]
    return {"version": document.version, "channels": channels}
