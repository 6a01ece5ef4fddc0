"""The ontology: which OSM tags are drawn as which category, how, and what `none` means.

It is data: `osm_categories.json` says it all, `docs/ontology.md` explains it tag by tag, `ontology_json.py` parses
it, this module compiles it. A label has rules, and a rule is a tag (a key and its values) with the way it is drawn.
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from beam_pipeline.labels.condition_json import ConditionJson
from beam_pipeline.labels.ontology_json import (
    KINDS,
    ChannelJson,
    Kind,
    LabelJson,
    NoneRuleJson,
    OntologyJson,
    RuleJson,
    parse_ontology,
)
from beam_pipeline.labels.ontology_text import ANY, refuse
from beam_pipeline.labels.tag_rules import Condition, Layer, Rule, TagTest, fulfils, split_values

_T = TypeVar("_T")

DEFAULT_ONTOLOGY = Path(__file__).with_name("osm_categories.json")
"""The ontology that is used when no other is given."""

PUBLISHED, STRICT = "published", "strict"
SHIPPED = (PUBLISHED, STRICT)
"""Names of the ontologies that come with the package: they draw the same and differ in their `none` table."""

_NONE_STRICT = Path(__file__).with_name("none_strict.json")

SEA_KEY = "water_polygons"
"""Key of a tag that OpenStreetMap does not have: what `--water_polygons` brings is tagged SEA_KEY = "sea"."""

COASTLINE = ("natural", "coastline")
"""The tag of lines that have the sea on one side. It is not drawn; it tells where the sea is near."""


def shipped_ontology(name: str) -> str:
    """Returns the text of an ontology that comes with the package, by its name in `SHIPPED`."""
    text = DEFAULT_ONTOLOGY.read_text("utf-8")
    if name == PUBLISHED:
        return text
    return json.dumps({**json.loads(text), "none": json.loads(_NONE_STRICT.read_text("utf-8"))}, indent=1)


@dataclasses.dataclass(frozen=True)
class Label:
    """A category.

    Attributes:
        name: Its name, e.g. "wooded".
        value: Its pixel value, 0 to 253, unique in the ontology.
        precedence: 1 to 100, unique in its channel: where labels of a channel meet, the highest wins.
        channel: Index of its channel, 0 to 2.
        rules: Its tags.
    """

    name: str
    value: int
    precedence: int
    channel: int
    rules: tuple[Rule, ...]


@dataclasses.dataclass(frozen=True)
class Channel:
    """A channel of the label image.

    Attributes:
        name: Its name, e.g. "OSM_land_use".
        labels: Its labels in order of value.
    """

    name: str
    labels: tuple[Label, ...]


@dataclasses.dataclass(frozen=True)
class NoneRule:
    """Where an unlabelled pixel of a channel is known to hold none of the channel's categories.

    Attributes:
        channel: Index of the channel.
        where: Values of labels, sorted. What is drawn of them counts as it is before any dilation, and only what is
            drawn by features and rules that settle.
        distance_m: 0 where the pixel itself holds one of them and nothing else lies over it; else how far at most
            a pixel of one of them is.
        if_mapped: (value of a label, share) pairs: of the chip's pixels that are of a label of `where` in the end, at
            least this share must hold that label.
    """

    channel: int
    where: tuple[int, ...]
    distance_m: float
    if_mapped: tuple[tuple[int, float], ...]


@dataclasses.dataclass(frozen=True)
class Ontology:
    """Categories, the tags they are made of, and the `none` table.

    Attributes:
        version: The version that the file gives itself.
        channels: The three channels in the order of the label image.
        none_rules: The `none` table.
        unless: A feature that fulfils one of these conditions is not drawn.
        settles_unless: A feature that fulfils one of these conditions does not count for the `none` table.
    """

    version: int
    channels: tuple[Channel, ...]
    none_rules: tuple[NoneRule, ...]
    unless: tuple[Condition, ...] = ()
    settles_unless: tuple[Condition, ...] = ()

    @classmethod
    def load(cls, text: str) -> "Ontology":
        """Reads an ontology and checks all of it.

        Args:
            text: JSON, as docs/ontology.md describes it.

        Returns:
            The ontology.

        Raises:
            InvalidInputError: Something is missing, unknown, double or out of its range. Names the place as a
                path.
        """
        return _compiled(parse_ontology(text))

    @functools.cached_property
    def labels(self) -> tuple[Label, ...]:
        """All labels in order of value."""
        return tuple(
            sorted((label for c in self.channels for label in c.labels), key=lambda label: label.value)
        )

    @functools.cached_property
    def rules(self) -> tuple[Rule, ...]:
        """The rules of all labels."""
        return tuple(rule for label in self.labels for rule in label.rules)

    @functools.cached_property
    def keys(self) -> frozenset[str]:
        """The tag keys that drawing looks at: those of the rules and those of all conditions."""
        conditions = [condition for rule in self.rules for condition in rule.unless]
        conditions += [*self.unless, *self.settles_unless]
        tested = [test.key for condition in conditions for test in condition]
        return frozenset([rule.key for rule in self.rules] + tested)

    @functools.cached_property
    def reach_m(self) -> float:
        """The farthest that a feature reaches, in metres: what lies farther outside a chip cannot show in it."""
        reaches = [rule.layer.dilation_m for rule in self.rules]
        return max([*reaches, *(rule.distance_m for rule in self.none_rules)], default=0.0)

    @functools.cached_property
    def sea_channel(self) -> int | None:
        """Index of the channel that the polygons of the sea are drawn in; None if they are not drawn."""
        drawn = {layer.value for layer in self.layers_of("area", [(SEA_KEY, "sea")])}
        return next((label.channel for label in self.labels if label.value in drawn), None)

    @functools.cached_property
    def sha256(self) -> str:
        """SHA-256 of the content in hex digits; layout and the order of keys or values do not matter."""
        content = dataclasses.asdict(self)
        return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def layers_of(self, kind: Kind, tags: Iterable[tuple[str, str]]) -> frozenset[Layer]:
        """Returns where a feature is drawn.

        A value that lists several, as `wood;scrub`, counts as each of them.

        Args:
            kind: The kind of its geometry.
            tags: Its (key, value) pairs; keys that are not in `keys` make no difference.

        Returns:
            The layers; empty if the feature is not drawn.
        """
        looked_at = dict(tags)
        layers = set()
        for key, value in looked_at.items():
            for part in split_values(value):
                for rule in self._rules_of(kind, key, part):
                    if not fulfils(rule.unless, looked_at):
                        layers.add(rule.layer)
        if not layers or fulfils(self.unless, looked_at):
            return frozenset()
        if fulfils(self.settles_unless, looked_at):
            return frozenset(dataclasses.replace(layer, settles=False) for layer in layers)
        return frozenset(layers)

    def keeps(self, kind: Kind, tags: Iterable[tuple[str, str]]) -> bool:
        """Returns whether drawing makes use of a feature: it is drawn, or it is a line of coastline.

        Args:
            kind: As for `layers_of`.
            tags: As for `layers_of`.
        """
        tags = tuple(tags)
        return (kind == "line" and COASTLINE in tags) or bool(self.layers_of(kind, tags))

    def _rules_of(self, kind: Kind, key: str, value: str) -> tuple[Rule, ...]:
        by_value, by_any = self._index.get((kind, key), ({}, ()))
        named = by_value.get(value, ())
        if not by_any:
            return named
        # A label's own rule for the value comes before its rule for any value.
        taken = {rule.layer.value for rule in named}
        return named + tuple(
            rule for rule in by_any if value not in rule.excluded and rule.layer.value not in taken
        )

    @functools.cached_property
    def _index(self) -> dict[tuple[Kind, str], tuple[dict[str, tuple[Rule, ...]], tuple[Rule, ...]]]:
        """(kind, key) -> (value -> rules that name it, rules for any value)."""
        index: dict[tuple[Kind, str], tuple[dict[str, tuple[Rule, ...]], tuple[Rule, ...]]] = {}
        for rule in self.rules:
            for kind in rule.kinds:
                by_value, by_any = index.get((kind, rule.key), ({}, ()))
                if ANY in rule.values:
                    by_any = (*by_any, rule)
                else:
                    for value in rule.values:
                        by_value[value] = (*by_value.get(value, ()), rule)
                index[kind, rule.key] = by_value, by_any
        return index


_Named = Mapping[str, Sequence[ConditionJson]]


def _compiled(document: OntologyJson) -> Ontology:
    named = document.conditions
    channels = tuple(_channel(index, part, named) for index, part in enumerate(document.channels))
    return Ontology(
        version=document.version,
        channels=channels,
        none_rules=tuple(_none_rules(document.none, channels)),
        unless=_conditions("$.unless", document.unless, named),
        settles_unless=_conditions("$.settles_unless", document.settles_unless, named),
    )


def _channel(index: int, part: ChannelJson, named: _Named) -> Channel:
    labels = [_label(index, name, label, named) for name, label in part.labels.items()]
    return Channel(part.name, tuple(sorted(labels, key=lambda label: label.value)))


def _label(channel: int, name: str, part: LabelJson, named: _Named) -> Label:
    at = f"$.channels[{channel}].labels.{name}"
    rules = [
        rule
        for key in sorted(part.rules)
        for rule in _rules(f"{at}.{key}", key, part.value, part.rules[key], named)
    ]
    return Label(name, part.value, part.precedence, channel, tuple(rules))


def _rules(at: str, key: str, value: int, parts: Iterable[RuleJson], named: _Named) -> list[Rule]:
    rules = [
        Rule(
            key=key,
            values=tuple(part.values),
            excluded=tuple(part.excluded),
            kinds=tuple(kind for kind in KINDS if kind in part.geometry),
            layer=Layer(value, float(part.dilation_m), part.all_touched, part.settles),
            unless=_conditions(f"{at}[{i}].unless", part.unless, named),
        )
        for i, part in enumerate(parts)
    ]
    return sorted(rules, key=lambda rule: (rule.values, rule.kinds))


def _conditions(at: str, parts: Sequence[str | ConditionJson], named: _Named) -> tuple[Condition, ...]:
    """Puts what names stand for in their places; the order makes no difference."""
    plain: list[ConditionJson] = []
    for i, part in enumerate(parts):
        if isinstance(part, str):
            plain += _look_up(f"{at}[{i}]", "condition", part, named)
        else:
            plain.append(part)
    conditions = {
        tuple(
            TagTest(
                key,
                (ANY,) if test.excluded else tuple(test.values),
                tuple(test.excluded),
                None if test.below is None else float(test.below),
            )
            for key, test in sorted(condition.items())
        )
        for condition in plain
    }
    return tuple(sorted(conditions, key=repr))


def _none_rules(
    table: Mapping[str, Sequence[NoneRuleJson]], channels: tuple[Channel, ...]
) -> Iterator[NoneRule]:
    names = [channel.name for channel in channels]
    for name in sorted(table.keys() - names):
        refuse(f"$.none.{name}", "this field is unknown", name, f"Use only {', '.join(sorted(names))}")
    values = {label.name: label.value for channel in channels for label in channel.labels}
    for index, channel in enumerate(names):
        for i, rule in enumerate(table.get(channel, ())):
            at = f"$.none.{channel}[{i}]"
            where = values if rule.where == [ANY] else rule.where
            yield NoneRule(
                channel=index,
                where=tuple(sorted(_look_up(f"{at}.where", "label", name, values) for name in where)),
                distance_m=float(rule.distance_m),
                if_mapped=tuple(
                    sorted(
                        (_look_up(f"{at}.if_mapped", "label", name, values), float(share))
                        for name, share in rule.if_mapped.items()
                    )
                ),
            )


def _look_up(path: str, what: str, name: str, known: Mapping[str, _T]) -> _T:
    if name not in known:
        refuse(path, f"there is no {what} of this name", name, f"Use one of {', '.join(known) or 'none'}")
    return known[name]
