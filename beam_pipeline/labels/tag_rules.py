"""Rules of an ontology: which tags draw a feature, in what way, and which forbid it."""

import dataclasses
import re
from collections.abc import Mapping

from beam_pipeline.labels.ontology_json import Kind
from beam_pipeline.labels.ontology_text import ANY

_NUMBER = r"-?\d+(?:\.\d+)?"
_NUMBERS = re.compile(rf"({_NUMBER})(?:-({_NUMBER}))?", re.ASCII)


@dataclasses.dataclass(frozen=True)
class TagTest:
    """Asks something of one tag. A value that lists several, as `-1;-2`, counts as each of them.

    Attributes:
        key: The tag's key.
        values: The values that fulfil it, sorted; `ANY` alone for every value; empty with `below`.
        excluded: Values that `ANY` does not take, sorted.
        below: All numbers of the value are less than this, ranges (`-3--1`) included; None where it does not matter.
    """

    key: str
    values: tuple[str, ...]
    excluded: tuple[str, ...] = ()
    below: float | None = None

    def holds(self, tags: Mapping[str, str]) -> bool:
        """Returns whether the tag is there and has such a value."""
        value = tags.get(self.key)
        if value is None:
            return False
        parts = split_values(value)
        if self.below is not None:
            return all(_is_below(part, self.below) for part in parts)
        if ANY in self.values:
            return any(part not in self.excluded for part in parts)
        return any(part in self.values for part in parts)


Condition = tuple[TagTest, ...]
"""Holds where all its tests do."""


@dataclasses.dataclass(frozen=True, order=True)
class Layer:
    """Pixels of one label that are drawn in one way, and burnt in one go.

    Attributes:
        value: The label's pixel value.
        dilation_m: Metres by which the burnt pixels grow; 0 for not at all.
        all_touched: Whether polygons light every pixel they touch, instead of those whose centre they hold.
            Lines are always all-touched.
        settles: Whether the burnt pixels count for the `none` table.
    """

    value: int
    dilation_m: float
    all_touched: bool
    settles: bool


@dataclasses.dataclass(frozen=True)
class Rule:
    """One tag of a label and how it is drawn.

    Attributes:
        key: The tag's key.
        values: The values it takes, sorted; `ANY` alone for every value.
        excluded: Values that `ANY` does not take, sorted.
        kinds: The kinds of geometry that it takes.
        layer: Where its pixels are burnt.
        unless: A feature that fulfils one of these is not drawn.
    """

    key: str
    values: tuple[str, ...]
    excluded: tuple[str, ...]
    kinds: tuple[Kind, ...]
    layer: Layer
    unless: tuple[Condition, ...]


def fulfils(conditions: tuple[Condition, ...], tags: Mapping[str, str]) -> bool:
    """Returns whether one of the conditions holds for a feature of these tags."""
    return any(all(test.holds(tags) for test in condition) for condition in conditions)


def split_values(value: str) -> list[str]:
    """Returns the values that a tag's value lists: one, or those between semicolons."""
    return [part.strip() for part in value.split(";")]


def _is_below(part: str, bound: float) -> bool:
    match = _NUMBERS.fullmatch(part)
    return match is not None and all(float(number) < bound for number in match.groups() if number is not None)
