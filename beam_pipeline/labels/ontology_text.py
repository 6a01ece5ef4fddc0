"""Reads the text of an ontology as plain JSON, and what its models are made of: fields that say what is wrong.

Others write such files by hand, so an error names the place as a path, says what was given and what to do.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Any, NoReturn, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, WrapValidator
from pydantic_core import PydanticCustomError

from beam_pipeline.runtime.faults import InvalidInputError

ANY = "*"
"""Stands for every value of a key, or for every label."""

_TAG_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_:]*")

_T = TypeVar("_T")


class Model(BaseModel):
    """An object of the file, whose fields are known and of the types that are stated."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


def refuse(path: str, problem: str, received: object, advice: str) -> NoReturn:
    """Raises the error of one place of an ontology.

    Args:
        path: The place, e.g. "$.channels[0].name".
        problem: What is wrong there.
        received: What was given.
        advice: What to do.

    Raises:
        InvalidInputError: Always.
    """
    raise InvalidInputError(f"Ontology, at {path}: {problem}. Received: {received!r}. {advice}.")


def parse_plain(text: str) -> object:
    """Parses JSON in which no key stands twice.

    Args:
        text: The file's content.

    Raises:
        InvalidInputError: It is no such JSON.
    """

    def pairs(items: list[tuple[str, object]]) -> dict[str, object]:
        double = _first_double(name for name, _ in items)
        if double is not None:
            raise InvalidInputError(
                f'Ontology: the key "{double}" stands twice in one object. '
                f"Received: keys {[name for name, _ in items]}. Keep one."
            )
        return dict(items)

    def constant(name: str) -> NoReturn:
        raise InvalidInputError(
            f"Ontology: {name} is no number that can be used. Received: {name}. Give a number."
        )

    try:
        parsed: object = json.loads(text, object_pairs_hook=pairs, parse_constant=constant)
    except json.JSONDecodeError as error:
        raise InvalidInputError(
            f"Ontology: this is no JSON, line {error.lineno} column {error.colno}: {error.msg}. "
            f"Received: {text[max(0, error.pos - 20) : error.pos + 20]!r}. Correct the file there."
        ) from error
    except (RecursionError, ValueError) as error:  # nested without end, or a number of thousands of digits
        raise InvalidInputError(
            f"Ontology: this JSON cannot be read ({error}). Received: {text[:20]!r}... Give an ontology."
        ) from error
    return parsed


def _first_double(items: Iterable[_T]) -> _T | None:
    """Returns the first item that comes more than once, or None."""
    times = Counter(items)
    return next((item for item, count in times.items() if count > 1), None)


def says(problem: str, advice: str) -> WrapValidator:
    """Says in our words whatever pydantic finds wrong with a plain value."""

    def check(value: object, inner: Any) -> Any:
        try:
            return inner(value)
        except ValidationError:
            raise field_error(problem, advice) from None

    return WrapValidator(check)


def field_error(problem: str, advice: str, **received: object) -> PydanticCustomError:
    """The error of a field; `received` is what it shows of a value that is long."""
    return PydanticCustomError("ontology", "{problem}", {"problem": problem, "advice": advice, **received})


def check_unique(what: str, items: Iterable[object]) -> None:
    """Raises the error of a field of which an item comes more than once; `what` names the items."""
    double = _first_double(items)
    if double is not None:
        raise field_error(f"each {what} may stand only once", "Change or remove one of them", received=double)


def _check_printable(text: str) -> str:
    if not text or text != text.strip() or not text.isprintable():
        raise ValueError
    return text


def _check_tag_key(key: str) -> str:
    if not _TAG_KEY.fullmatch(key):
        raise field_error("this is no key of an OSM tag", "Use letters, digits, _ and :")
    return key


def sorted_once(texts: list[str]) -> list[str]:
    """Sorts texts and refuses one that comes more than once."""
    check_unique("text", texts)
    return sorted(texts)


def _check_any_alone(texts: list[str]) -> list[str]:
    if ANY in texts and len(texts) > 1:
        raise field_error(f'"{ANY}" stands for every one', "Let it stand alone")
    return texts


Text = Annotated[
    str,
    AfterValidator(_check_printable),
    says("this must be a printable text without spaces around it", 'Write "..."'),
]
Texts = Annotated[list[Text], Field(min_length=1), AfterValidator(sorted_once)]
TextsOrAny = Annotated[Texts, AfterValidator(_check_any_alone)]
"""Texts, or `ANY` alone."""

TrueOrFalse = Annotated[bool, says("this must be true or false", "Correct it")]

TagKey = Annotated[str, AfterValidator(_check_tag_key)]
"""The key of a tag."""
