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

from beam_pipeline.labels.ontology_json import (
    ANY,
    KINDS,
    ChannelJson,
    Kind,
    LabelJson,
    NoneRuleJson,
    OntologyJson,
    RuleJson,
    parse_ontology,
    refuse,
)

DEFAULT_ONTOLOGY = Path(__file__).with_name("osm_categories.json")
"""The ontology that is used when no other is given."""

SEA_KEY = "water_polygons"
"""Key of a tag that OpenStreetMap does not have: what `--water_polygons` brings is tagged SEA_KEY = "sea"."""

COASTLINE = ("natural", "coastline")
"""The tag of lines that have the sea on one side. It is not drawn; it tells where the sea is near."""


@dataclasses.dataclass(frozen=True, order=True)
class Layer:
    """What is burnt in one go: pixels of one label that are drawn in one way.

    Attributes:
        value: The label's pixel value.
        dilation_m: Metres by which the burnt pixels grow; 0 for not at all.
        all_touched: Whether polygons light every pixel they touch, instead of those whose centre they hold.
            Lines are always all-touched.
    """

    value: int
    dilation_m: float
    all_touched: bool


@dataclasses.dataclass(frozen=True)
class Rule:
    """One tag of a label and how it is drawn.

    Attributes:
        key: The tag's key.
        values: The values it takes, sorted; `ANY` alone for every value.
        excluded: Values that `ANY` does not take, sorted.
        kinds: The kinds of geometry that it takes.
        layer: Where its pixels are burnt.
        unless: (key, values) pairs, sorted: a feature with one of these values of the key is not drawn.
    """

    key: str
    values: tuple[str, ...]
    excluded: tuple[str, ...]
    kinds: tuple[Kind, ...]
    layer: Layer
    unless: tuple[tuple[str, tuple[str, ...]], ...]

    def admits(self, tags: dict[str, str]) -> bool:
        """Returns whether no `unless` speaks against a feature with these tags."""
        return not any(tags.get(key) in values for key, values in self.unless)


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
        where: Values of labels of other channels, sorted: the pixel holds one of them.
        if_cell_has: Value of a label that some pixel of the cell must hold for the rule to apply, or None.
    """

    channel: int
    where: tuple[int, ...]
    if_cell_has: int | None


@dataclasses.dataclass(frozen=True)
class Ontology:
    """Categories, the tags they are made of, and the `none` table.

    Attributes:
        version: The version that the file gives itself.
        channels: The three channels in the order of the label image.
        none_rules: The `none` table.
    """

    version: int
    channels: tuple[Channel, ...]
    none_rules: tuple[NoneRule, ...]

    @classmethod
    def load(cls, text: str) -> "Ontology":
        """Reads an ontology and checks all of it.

        Args:
            text: JSON, `{"version", "channels": [{"name", "labels": {NAME: {"value", "precedence",
                KEY: [rule, ...]}}}], "none": {CHANNEL: [{"where": [NAME, ...], "if_cell_has": NAME}]}}`. A
                rule is a value of the key or `{"values", "except", "geometry", "all_touched", "dilation_m",
                "unless"}`.

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
    def keys(self) -> frozenset[str]:
        """The tag keys that drawing looks at: those of the rules and those of their `unless`."""
        rules = [rule for label in self.labels for rule in label.rules]
        return frozenset([rule.key for rule in rules] + [key for rule in rules for key, _ in rule.unless])

    @functools.cached_property
    def reach_m(self) -> float:
        """The farthest that a feature reaches, in metres: what lies farther outside a chip cannot show in it."""
        return max((rule.layer.dilation_m for label in self.labels for rule in label.rules), default=0.0)

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
            for part in value.split(";") if ";" in value else (value,):
                for rule in self._rules_of(kind, key, part.strip()):
                    if rule.admits(looked_at):
                        layers.add(rule.layer)
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
        for rule in (rule for label in self.labels for rule in label.rules):
            for kind in rule.kinds:
                by_value, by_any = index.get((kind, rule.key), ({}, ()))
                if ANY in rule.values:
                    by_any = (*by_any, rule)
                else:
                    for value in rule.values:
                        by_value[value] = (*by_value.get(value, ()), rule)
                index[kind, rule.key] = by_value, by_any
        return index


def _compiled(document: OntologyJson) -> Ontology:
    channels = tuple(_channel(index, part) for index, part in enumerate(document.channels))
    return Ontology(document.version, channels, tuple(_none_rules(document.none, channels)))


def _channel(index: int, part: ChannelJson) -> Channel:
    labels = [_label(index, name, label) for name, label in part.labels.items()]
    return Channel(part.name, tuple(sorted(labels, key=lambda label: label.value)))


def _label(channel: int, name: str, part: LabelJson) -> Label:
    rules = [rule for key in sorted(part.rules) for rule in _rules(key, part.value, part.rules[key])]
    return Label(name, part.value, part.precedence, channel, tuple(rules))


def _rules(key: str, value: int, parts: Iterable[RuleJson]) -> list[Rule]:
    rules = [
        Rule(
            key=key,
            values=tuple(part.values),
            excluded=tuple(part.excluded),
            kinds=tuple(kind for kind in KINDS if kind in part.geometry),
            layer=Layer(value, float(part.dilation_m), part.all_touched),
            unless=tuple((other, tuple(part.unless[other])) for other in sorted(part.unless)),
        )
        for part in parts
    ]
    return sorted(rules, key=lambda rule: (rule.values, rule.kinds))


def _none_rules(
    table: Mapping[str, Sequence[NoneRuleJson]], channels: tuple[Channel, ...]
) -> Iterator[NoneRule]:
    names = [channel.name for channel in channels]
    for name in sorted(table.keys() - names):
        refuse(f"$.none.{name}", "this field is unknown", name, f"Use only {', '.join(sorted(names))}")
    labels = {label.name: label for channel in channels for label in channel.labels}
    for index, channel in enumerate(names):
        for i, rule in enumerate(table.get(channel, ())):
            at = f"$.none.{channel}[{i}]"
            where = [_named(f"{at}.where", name, labels) for name in rule.where]
            for label in where:
                if label.channel == index:
                    refuse(
                        f"{at}.where",
                        "a channel cannot settle itself",
                        label.name,
                        "Name labels of other channels",
                    )
            has = None
            if rule.if_cell_has is not None:
                has = _named(f"{at}.if_cell_has", rule.if_cell_has, labels).value
            yield NoneRule(index, tuple(sorted(label.value for label in where)), has)


def _named(path: str, name: str, labels: Mapping[str, Label]) -> Label:
    if name not in labels:
        refuse(path, "there is no label of this name", name, f"Use one of {', '.join(labels)}")
    return labels[name]
