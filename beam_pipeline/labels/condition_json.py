"""Conditions in the JSON of an ontology: which tags beside its own make a feature one that is not drawn."""

from typing import Annotated

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from beam_pipeline.labels.ontology_text import Model, TagKey, Text, Texts, TextsOrAny, field_error, says

NAME, CONDITION = "[name]", "[condition]"
"""Words that pydantic adds to the path of an error in `Conditions`, to say what it took an item for."""


def _test_of_values(part: object) -> object:
    return {"values": part} if isinstance(part, list) else part


def _check_is_list(part: object) -> object:
    if isinstance(part, dict):
        raise field_error(
            "this must be a list of conditions",
            'Write [{"tunnel": ["yes"]}, ...], one object for each of them',
        )
    return part


class TagTestJson(Model):
    """The test of a key's value in a condition. A plain list is a list of the values that fulfil it.

    Attributes:
        values: The values that fulfil it, sorted; `ANY` alone for every value.
        excluded: The values that do not, sorted, where any other does; "except" in the file.
        below: All numbers of the value are less than this.
    """

    values: TextsOrAny = Field(default=[])
    excluded: Texts = Field(default=[], alias="except")
    below: Annotated[float | None, says("this must be a number", "Correct it")] = None

    @model_validator(mode="after")
    def _one_way(self) -> "TagTestJson":
        if len(self.model_fields_set) != 1:
            raise field_error(
                "a condition says in one way what value it asks for",
                'Write ["a", "b"], ["*"], {"except": ["no"]} or {"below": 0}',
                received=sorted("except" if it == "excluded" else it for it in self.model_fields_set),
            )
        return self


ConditionJson = Annotated[
    dict[TagKey, Annotated[TagTestJson, BeforeValidator(_test_of_values)]], Field(min_length=1)
]
"""Key -> what is asked of its value; holds where all of it holds."""

Conditions = Annotated[
    list[
        Annotated[
            Annotated[Text, Tag(NAME)] | Annotated[ConditionJson, Tag(CONDITION)],
            Discriminator(lambda part: NAME if isinstance(part, str) else CONDITION),
        ]
    ],
    Field(min_length=1),
    BeforeValidator(_check_is_list),
]
"""Conditions, or names of some, of which one must hold."""
