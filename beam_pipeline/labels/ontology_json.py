"""The JSON of an ontology: typed models, checked at the door. `ontology.py` compiles them.

Others write such files by hand (`--ontology JSON`), so an error names the place as a path, says what was given
and what to do.
"""

from typing import Annotated, Literal, NoReturn, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from beam_pipeline.labels.condition_json import CONDITION, NAME, ConditionJson, Conditions, TagTestJson
from beam_pipeline.labels.label_image import CHANNELS, NONE
from beam_pipeline.labels.ontology_text import (
    ANY,
    Model,
    TagKey,
    Text,
    Texts,
    TextsOrAny,
    TrueOrFalse,
    check_unique,
    field_error,
    parse_plain,
    refuse,
    says,
    sorted_once,
)

Kind = Literal["area", "line", "point"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""The kinds of geometry: a (multi)polygon, a (multi)line, a (multi)point."""

MAX_DISTANCE_M = 500
"""The farthest that an ontology may ask for, in metres: a slip (mm for m) must not draw half a chip."""

_Metres = Annotated[
    float,
    Field(ge=0, le=MAX_DISTANCE_M),
    says(f"this must be metres from 0 to {MAX_DISTANCE_M}", "Correct it"),
]


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
        return OntologyJson.model_validate(parse_plain(text))
    except ValidationError as error:
        _refuse_first(error.errors(include_url=False)[0])


def _rule_of_value(part: object) -> object:
    return {"values": [part]} if isinstance(part, str) else part


class RuleJson(Model):
    """Tags of one key and how they are drawn; a plain value of the key is a rule of that value alone.

    Attributes:
        values: Values of the key, sorted; `ANY` alone for every value.
        excluded: Values that `ANY` does not take, sorted; "except" in the file.
        geometry: The kinds of geometry that are drawn.
        all_touched: Whether polygons light every pixel they touch.
        dilation_m: Metres by which the burnt pixels grow.
        settles: Whether the burnt pixels count for the `none` table.
        unless: A feature that fulfils one of these conditions is not drawn.
    """

    values: TextsOrAny
    excluded: Texts = Field(default=[], alias="except")
    geometry: Annotated[
        list[Annotated[Kind, says(f"a geometry is one of {', '.join(KINDS)}", "Correct it")]],
        Field(min_length=1),
        AfterValidator(sorted_once),
    ] = Field(default=["area"])
    all_touched: TrueOrFalse = False
    dilation_m: _Metres = 0.0
    settles: TrueOrFalse = True
    unless: Conditions = Field(default=[])

    @field_validator("excluded")
    @classmethod
    def _of_any(cls, excluded: list[str], info: ValidationInfo) -> list[str]:
        if ANY not in info.data.get("values", (ANY,)):
            raise field_error(f'only "{ANY}" can have exceptions', "Leave them out of values")
        return excluded


def _each_value_once(rules: list[RuleJson]) -> list[RuleJson]:
    for kind in KINDS:
        of_kind = [value for rule in rules if kind in rule.geometry for value in rule.values]
        check_unique(f"tag value for {kind}", of_kind)
    return rules


_Rules = Annotated[
    list[Annotated[RuleJson, BeforeValidator(_rule_of_value)]],
    Field(min_length=1),
    AfterValidator(_each_value_once),
]


class LabelJson(Model):
    """A category. All fields but these two are keys of tags with their rules.

    Attributes:
        value: Its pixel value; 254 and 255 are `none` and `unlabeled`.
        precedence: Where labels of a channel meet, the highest wins.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[TagKey, _Rules] = Field(init=False)

    value: Annotated[
        int,
        Field(ge=0, le=NONE - 1),
        says(f"this must be a whole number from 0 to {NONE - 1}", "Correct it"),
    ]
    precedence: Annotated[
        int, Field(ge=1, le=100), says("this must be a whole number from 1 to 100", "Correct it")
    ]

    @model_validator(mode="after")
    def _has_a_tag(self) -> "LabelJson":
        if not self.rules:
            raise field_error(
                "a label needs a tag",
                'Add one, e.g. "natural": ["wood"]',
                received=["precedence", "value"],
            )
        return self

    @property
    def rules(self) -> dict[str, list[RuleJson]]:
        """Key of tags -> its rules."""
        return self.__pydantic_extra__


_RESERVED = frozenset({"none", "unlabeled"})


class ChannelJson(Model):
    """A channel of the label image.

    Attributes:
        name: Its name.
        labels: Name -> label. No name is "none" or "unlabeled": under these, counts hold the values 254 and 255.
    """

    name: Text
    labels: dict[Text, LabelJson]

    @field_validator("labels")
    @classmethod
    def _one_a_precedence(cls, labels: dict[str, LabelJson]) -> dict[str, LabelJson]:
        if not labels:
            raise field_error("a channel needs a label", "Add one")
        if reserved := sorted(_RESERVED & labels.keys()):
            raise field_error(
                f'a label may not be called "{reserved[0]}", which means a value of every channel',
                "Give it another name",
            )
        check_unique("precedence", [label.precedence for label in labels.values()])
        return labels


class NoneRuleJson(Model):
    """Where an unlabelled pixel of a channel is known to hold none of the channel's categories.

    Attributes:
        where: Names of labels, sorted; `ANY` alone for all of them.
        distance_m: How far from a pixel of one of them, in metres.
        if_mapped: Name of a label -> the least share, above 0 to 1, of the chip's pixels of `where` that hold it.
    """

    where: TextsOrAny
    distance_m: _Metres = 0.0
    if_mapped: dict[
        Text,
        Annotated[float, Field(gt=0, le=1), says("this must be a share above 0, up to 1", "Correct it")],
    ] = Field(default={})

    @model_validator(mode="before")
    @classmethod
    def _of_this_version(cls, part: object) -> object:
        if isinstance(part, dict) and "if_cell_has" in part:
            raise field_error(
                "if_cell_has is of an older version of this format",
                'Write "if_mapped": {"building": 0.05} for a rule that holds only where at least 5 % of the '
                "pixels of its labels are building",
                received=part["if_cell_has"],
            )
        return part


class OntologyJson(Model):
    """A whole file.

    Attributes:
        version: The version that the file gives itself.
        conditions: Name -> conditions, which others take up by that name.
        unless: A feature that fulfils one of these conditions is not drawn, whatever its tags.
        settles_unless: A feature that fulfils one of these conditions does not count for the `none` table.
        channels: The channels in the order of the label image.
        none: Name of a channel -> where it is known to hold nothing.
    """

    version: Annotated[
        int, Field(ge=1, le=1_000_000), says("this must be a whole number from 1 to 1000000", "Correct it")
    ]
    conditions: dict[Text, Annotated[list[ConditionJson], Field(min_length=1)]] = Field(default={})
    unless: Conditions = Field(default=[])
    settles_unless: Conditions = Field(default=[])
    channels: Annotated[list[ChannelJson], Field(min_length=1)]
    none: dict[str, Annotated[list[NoneRuleJson], Field(min_length=1)]] = Field(default={})

    @field_validator("channels")
    @classmethod
    def _each_name_and_value_once(cls, channels: list[ChannelJson]) -> list[ChannelJson]:
        if len(channels) != CHANNELS:
            raise field_error(
                f"there must be {CHANNELS} channels", "Give one object a channel", received=len(channels)
            )
        check_unique("channel name", [channel.name for channel in channels])
        check_unique("label name", [name for channel in channels for name in channel.labels])
        check_unique("label value", [it.value for channel in channels for it in channel.labels.values()])
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
    steps = [step for step in error["loc"] if step not in ("[key]", NAME, CONDITION)]
    path = "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    if kind == "missing":
        refuse(path, "this field is missing", sorted(received), "Add it")
    if kind == "extra_forbidden":
        refuse(path, "this field is unknown", steps[-1], f"Use only {', '.join(_fields_at(steps))}")
    if kind == "ontology":
        refuse(path, context["problem"], context.get("received", received), context["advice"])
    problem, advice = _OF_TYPE.get(kind, (error["msg"], "Correct it"))
    refuse(path, problem, received, advice)


_STEPS_TO_UNLESS = len(("channels", 0, "labels", "wooded", "natural", 0, "unless"))


def _fields_at(steps: list[int | str]) -> list[str]:
    """The fields that the object may have in which an unknown one stands."""
    if len(steps) == 1:
        model: type[Model] = OntologyJson
    elif steps[0] == "none":
        model = NoneRuleJson
    elif steps[0] != "channels" or len(steps) > _STEPS_TO_UNLESS:
        model = TagTestJson
    else:
        model = ChannelJson if len(steps) == 3 else RuleJson
    return sorted(field.alias or name for name, field in model.model_fields.items())
