"""The JSON of an ontology: typed models, checked at the door. `ontology.py` compiles them.

Others write such files by hand (`--ontology JSON`), so an error names the place as a path, says what was given
and what to do.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Any, Literal, NoReturn, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    WrapValidator,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from beam_pipeline.labels.label_image import CHANNELS, NONE
from beam_pipeline.runtime.faults import InvalidInputError

Kind = Literal["area", "line", "point"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""What a geometry can be: a (multi)polygon, a (multi)line, a (multi)point."""

ANY = "*"
"""Stands for every value of a key."""

MAX_DILATION_M = 500
"""Widest dilation that an ontology may ask for, in metres: a slip (mm for m) must not draw half a chip."""

_TAG_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_:]*")

_T = TypeVar("_T")


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


def parse_ontology(text: str) -> "OntologyJson":
    """Parses the JSON of an ontology and checks each field.

    Args:
        text: The file's content.

    Returns:
        The document. Whether the labels that it names exist is checked by whoever looks them up.

    Raises:
        InvalidInputError: Something is missing, unknown, double or out of its range. Names the place as a path.
    """
    try:
        return OntologyJson.model_validate(_parse(text))
    except ValidationError as error:
        _refuse_first(error.errors(include_url=False)[0])


def first_double(items: Iterable[_T]) -> _T | None:
    """Returns the first item that comes more than once, or None."""
    times = Counter(items)
    return next((item for item, count in times.items() if count > 1), None)


def _says(problem: str, advice: str) -> WrapValidator:
    """Says in our words whatever pydantic finds wrong with a plain value."""

    def check(value: object, inner: Any) -> Any:
        try:
            return inner(value)
        except ValidationError:
            raise _problem(problem, advice) from None

    return WrapValidator(check)


def _problem(problem: str, advice: str, **received: object) -> PydanticCustomError:
    """The error of a field; `received` is what it shows of a value that is long."""
    return PydanticCustomError("ontology", "{problem}", {"problem": problem, "advice": advice, **received})


def _check_unique(what: str, items: Iterable[object]) -> None:
    double = first_double(items)
    if double is not None:
        raise _problem(f"each {what} may stand only once", "Change or remove one of them", received=double)


def _check_printable(text: str) -> str:
    if not text or text != text.strip() or not text.isprintable():
        raise ValueError
    return text


def _check_tag_key(key: str) -> str:
    if not _TAG_KEY.fullmatch(key):
        raise _problem("this is no key of an OSM tag", "Use letters, digits, _ and :")
    return key


def _sorted_once(texts: list[str]) -> list[str]:
    _check_unique("text", texts)
    return sorted(texts)


def _check_name(name: object) -> object:
    if not isinstance(name, str):
        raise _problem("there is no label of this name", "Write the name of a label")
    return name


def _rule_of_value(part: object) -> object:
    return {"values": [part]} if isinstance(part, str) else part


_Text = Annotated[
    str,
    AfterValidator(_check_printable),
    _says("this must be a printable text without spaces around it", 'Write "..."'),
]
_Texts = Annotated[list[_Text], Field(min_length=1), AfterValidator(_sorted_once)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class RuleJson(_Model):
    """Tags of one key and how they are drawn; a plain value of the key is a rule of that value alone.

    Attributes:
        values: Values of the key, sorted; `ANY` alone for every value.
        excluded: Values that `ANY` does not take, sorted; "except" in the file.
        geometry: The kinds of geometry that are drawn.
        all_touched: Whether polygons light every pixel they touch.
        dilation_m: Metres by which the burnt pixels grow.
        unless: Key -> values, sorted: a feature with one of them is not drawn.
    """

    values: _Texts
    excluded: _Texts = Field(default=[], alias="except")
    geometry: Annotated[
        list[Annotated[Kind, _says(f"a geometry is one of {', '.join(KINDS)}", "Correct it")]],
        Field(min_length=1),
        AfterValidator(_sorted_once),
    ] = Field(default=["area"])
    all_touched: Annotated[bool, _says("this must be true or false", "Correct it")] = False
    dilation_m: Annotated[
        float,
        Field(ge=0, le=MAX_DILATION_M),
        _says(f"this must be metres from 0 to {MAX_DILATION_M}", "Correct it"),
    ] = 0.0
    unless: dict[str, _Texts] = Field(default={})

    @field_validator("values")
    @classmethod
    def _any_alone(cls, values: list[str]) -> list[str]:
        if ANY in values and len(values) > 1:
            raise _problem(f'"{ANY}" stands for every value', "Let it stand alone")
        return values

    @field_validator("excluded")
    @classmethod
    def _of_any(cls, excluded: list[str], info: ValidationInfo) -> list[str]:
        if ANY not in info.data.get("values", (ANY,)):
            raise _problem(f'only "{ANY}" can have exceptions', "Leave them out of values")
        return excluded


def _each_value_once(rules: list[RuleJson]) -> list[RuleJson]:
    for kind in KINDS:
        of_kind = [value for rule in rules if kind in rule.geometry for value in rule.values]
        _check_unique(f"tag value for {kind}", of_kind)
    return rules


_Rules = Annotated[
    list[Annotated[RuleJson, BeforeValidator(_rule_of_value)]],
    Field(min_length=1),
    AfterValidator(_each_value_once),
]


class LabelJson(_Model):
    """A category. All fields but these two are keys of tags with their rules.

    Attributes:
        value: Its pixel value; 254 and 255 are `none` and `unlabeled`.
        precedence: Where labels of a channel meet, the highest wins.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[Annotated[str, AfterValidator(_check_tag_key)], _Rules] = Field(init=False)

    value: Annotated[
        int,
        Field(ge=0, le=NONE - 1),
        _says(f"this must be a whole number from 0 to {NONE - 1}", "Correct it"),
    ]
    precedence: Annotated[
        int, Field(ge=1, le=100), _says("this must be a whole number from 1 to 100", "Correct it")
    ]

    @model_validator(mode="after")
    def _has_a_tag(self) -> "LabelJson":
        if not self.rules:
            raise _problem(
                "a label needs a tag",
                'Add one, e.g. "natural": ["wood"]',
                received=["precedence", "value"],
            )
        return self

    @property
    def rules(self) -> dict[str, list[RuleJson]]:
        """Key of tags -> its rules."""
        return self.__pydantic_extra__


class ChannelJson(_Model):
    """A channel of the label image.

    Attributes:
        name: Its name.
        labels: Name -> label.
    """

    name: _Text
    labels: dict[_Text, LabelJson]

    @field_validator("labels")
    @classmethod
    def _one_a_precedence(cls, labels: dict[str, LabelJson]) -> dict[str, LabelJson]:
        if not labels:
            raise _problem("a channel needs a label", "Add one")
        _check_unique("precedence", [label.precedence for label in labels.values()])
        return labels


class NoneRuleJson(_Model):
    """Where an unlabelled pixel of a channel is known to hold none of the channel's categories.

    Attributes:
        where: Names of labels, sorted: the pixel holds one of them.
        if_cell_has: Name of a label that the cell must hold somewhere, or None.
    """

    where: _Texts
    if_cell_has: Annotated[str | None, BeforeValidator(_check_name)] = None


class OntologyJson(_Model):
    """A whole file.

    Attributes:
        version: The version that the file gives itself.
        channels: The channels in the order of the label image.
        none: Name of a channel -> where it is known to hold nothing.
    """

    version: Annotated[
        int, Field(ge=1, le=1_000_000), _says("this must be a whole number from 1 to 1000000", "Correct it")
    ]
    channels: Annotated[list[ChannelJson], Field(min_length=1)]
    none: dict[str, Annotated[list[NoneRuleJson], Field(min_length=1)]] = Field(default={})

    @field_validator("channels")
    @classmethod
    def _each_name_and_value_once(cls, channels: list[ChannelJson]) -> list[ChannelJson]:
        if len(channels) != CHANNELS:
            raise _problem(
                f"there must be {CHANNELS} channels", "Give one object a channel", received=len(channels)
            )
        _check_unique("channel name", [channel.name for channel in channels])
        _check_unique("label name", [name for channel in channels for name in channel.labels])
        _check_unique("label value", [it.value for channel in channels for it in channel.labels.values()])
        return channels


_OF_TYPE = {
    "model_type": ("this must be an object", "Write {...}"),
    "dict_type": ("this must be an object", "Write {...}"),
    "list_type": ("this must be a list that is not empty", "Write [...]"),
    "too_short": ("this must be a list that is not empty", "Write [...]"),
}
"""pydantic's types of error -> (problem, advice)."""


def _refuse_first(error: ErrorDetails) -> NoReturn:
    """Says in one sentence what pydantic found."""
    kind, received, context = error["type"], error["input"], error.get("ctx", {})
    # pydantic adds a part where the key of an object is wrong, whose path names it already.
    steps = [step for step in error["loc"] if step != "[key]"]
    path = "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    if kind == "missing":
        refuse(path, "this field is missing", sorted(received), "Add it")
    if kind == "extra_forbidden":
        refuse(path, "this field is unknown", steps[-1], f"Use only {', '.join(_fields_at(steps))}")
    if kind == "ontology":
        refuse(path, context["problem"], context.get("received", received), context["advice"])
    problem, advice = _OF_TYPE.get(kind, (error["msg"], "Correct it"))
    refuse(path, problem, received, advice)


def _fields_at(steps: list[int | str]) -> list[str]:
    """The fields that the object may have in which an unknown one stands."""
    if len(steps) == 1:
        model: type[_Model] = OntologyJson
    elif steps[0] == "none":
        model = NoneRuleJson
    else:
        model = ChannelJson if len(steps) == 3 else RuleJson
    return sorted(field.alias or name for name, field in model.model_fields.items())


def _parse(text: str) -> object:
    def pairs(items: list[tuple[str, object]]) -> dict[str, object]:
        double = first_double(name for name, _ in items)
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
