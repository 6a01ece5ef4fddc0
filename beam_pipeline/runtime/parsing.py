"""JSON of others, or of an earlier run, turned into a typed model at the door."""

from typing import TypeVar

import pydantic

from beam_pipeline.runtime.foreign_text import one_line

_T = TypeVar("_T")

_MOST_ERRORS = 3
_MOST_CHARS = 80


class MalformedError(ValueError):
    """A text is no JSON, or its content is not what the model says; the message names each field."""


def parse_json(adapter: pydantic.TypeAdapter[_T], text: str | bytes) -> _T:
    """Parses a JSON text.

    Args:
        adapter: Of the type that the content must have.
        text: JSON in UTF-8.

    Returns:
        The content, validated.

    Raises:
        MalformedError: It is no JSON, or a field is missing or of another type.
    """
    try:
        return adapter.validate_json(text)
    except pydantic.ValidationError as error:
        raise MalformedError(describe(error)) from error


def parse_object(adapter: pydantic.TypeAdapter[_T], content: object) -> _T:
    """Validates what was parsed already, as `parse_json`."""
    try:
        return adapter.validate_python(content)
    except pydantic.ValidationError as error:
        raise MalformedError(describe(error)) from error


def describe(error: pydantic.ValidationError) -> str:
    """Returns one line that names each wrong field, what is wrong with it and what was given.

    Args:
        error: From pydantic, whose own text takes several lines an error and links to its manual.
    """
    errors = error.errors(include_url=False, include_context=False)
    said = [_said(one["loc"], one["msg"], one["input"], one["type"]) for one in errors[:_MOST_ERRORS]]
    more = len(errors) - len(said)
    return "; ".join([*said, f"and {more} more"] if more else said)


def _said(location: tuple[int | str, ...], message: str, given: object, kind: str) -> str:
    if kind == "json_invalid":
        return message
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
    # What was given may be the whole document.
    received = "" if kind == "missing" else f". Received: {one_line(repr(given), _MOST_CHARS)}"
    return f"{path or 'the whole'}: {message}{received}"
