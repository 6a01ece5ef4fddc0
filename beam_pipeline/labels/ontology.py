"""The ontology: which OSM tags are drawn as which category, how, and what `none` means.

It is data: `osm_categories.json` says it all, `docs/ontology.md` explains it tag by tag, this module checks
and compiles it. A label has rules, and a rule is a tag (a key and its values) with the way it is drawn.
"""

import collections
import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, NoReturn, get_args

from beam_pipeline.labels.label_image import CHANNELS, NONE
from beam_pipeline.runtime.faults import InvalidInputError

DEFAULT_ONTOLOGY = Path(__file__).with_name("osm_categories.json")
"""The ontology that is used when no other is given."""

MAX_DILATION_M = 500
"""Widest dilation that an ontology may ask for, in metres: a slip (mm for m) must not draw half a chip."""

Kind = Literal["area", "line", "point"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""What a geometry can be: a (multi)polygon, a (multi)line, a (multi)point."""

ANY = "*"
"""Stands for every value of a key."""

_TAG_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_:]*")


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
        return _read_ontology(text)

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
    def max_dilation_m(self) -> float:
        """The widest dilation of any tag, in metres: what lies farther outside a chip cannot show in it."""
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


def _fail(path: str, problem: str, received: object, advice: str) -> NoReturn:
    raise InvalidInputError(f"Ontology, at {path}: {problem}. Received: {received!r}. {advice}.")


def _read_ontology(text: str) -> Ontology:
    document = _object("$", _parse(text), required={"version", "channels"}, optional={"none"})
    version = _whole("$.version", document["version"], 1, 1_000_000)
    parts = _list("$.channels", document["channels"])
    if len(parts) != CHANNELS:
        _fail("$.channels", f"there must be {CHANNELS} channels", len(parts), "Give one object a channel")
    channels = tuple(_channel(f"$.channels[{i}]", i, part) for i, part in enumerate(parts))
    _unique("$.channels", "channel name", [channel.name for channel in channels])
    labels = [label for channel in channels for label in channel.labels]
    _unique("$.channels", "label name", [label.name for label in labels])
    _unique("$.channels", "label value", [label.value for label in labels])
    return Ontology(version, channels, _none_rules("$.none", document.get("none", {}), channels))


def _parse(text: str) -> object:
    def pairs(items: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(items)
        if len(found) != len(items):
            names = [name for name, _ in items]
            double = next(name for name in names if names.count(name) > 1)
            raise InvalidInputError(
                f'Ontology: the key "{double}" stands twice in one object. Received: keys {names}. Keep one.'
            )
        return found

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
    except InvalidInputError:
        raise
    except (RecursionError, ValueError) as error:  # nested without end, or a number of thousands of digits
        raise InvalidInputError(
            f"Ontology: this JSON cannot be read ({error}). Received: {text[:20]!r}... Give an ontology."
        ) from error
    return parsed


def _object(path: str, part: object, required: set[str], optional: set[str] | None = None) -> dict[str, Any]:
    """Checks an object's fields; with `optional` None any other field passes."""
    if not isinstance(part, dict):
        _fail(path, "this must be an object", part, "Write {...}")
    for name in sorted(required - part.keys()):
        _fail(f"{path}.{name}", "this field is missing", sorted(part), "Add it")
    if optional is not None:
        for name in sorted(part.keys() - required - optional):
            allowed = ", ".join(sorted(required | optional))
            _fail(f"{path}.{name}", "this field is unknown", name, f"Use only {allowed}")
    return part


def _list(path: str, part: object) -> list[Any]:
    if not isinstance(part, list) or not part:
        _fail(path, "this must be a list that is not empty", part, "Write [...]")
    return part


def _string(path: str, part: object) -> str:
    if not isinstance(part, str) or not part or part != part.strip() or not part.isprintable():
        _fail(path, "this must be a printable text without spaces around it", part, 'Write "..."')
    return part


def _strings(path: str, part: object) -> tuple[str, ...]:
    texts = [_string(f"{path}[{i}]", text) for i, text in enumerate(_list(path, part))]
    _unique(path, "text", texts)
    return tuple(sorted(texts))


def _whole(path: str, part: object, low: int, high: int) -> int:
    if not isinstance(part, int) or isinstance(part, bool) or not low <= part <= high:
        _fail(path, f"this must be a whole number from {low} to {high}", part, "Correct it")
    return part


def _unique(path: str, what: str, items: list[Any]) -> None:
    times = collections.Counter(items)
    for item in items:
        if times[item] > 1:
            _fail(path, f"each {what} may stand only once", item, "Change or remove one of them")


def _channel(path: str, index: int, part: object) -> Channel:
    fields = _object(path, part, required={"name", "labels"}, optional=set())
    name = _string(f"{path}.name", fields["name"])
    parts = _object(f"{path}.labels", fields["labels"], required=set())
    labels = [_label(f"{path}.labels.{label}", index, label, parts[label]) for label in parts]
    if not labels:
        _fail(f"{path}.labels", "a channel needs a label", {}, "Add one")
    _unique(f"{path}.labels", "precedence", [label.precedence for label in labels])
    return Channel(name, tuple(sorted(labels, key=lambda label: label.value)))


def _label(path: str, channel: int, name: str, part: object) -> Label:
    fields = _object(path, part, required={"value", "precedence"})
    _string(path, name)
    # 254 and 255 are `none` and `unlabeled`.
    value = _whole(f"{path}.value", fields["value"], 0, NONE - 1)
    precedence = _whole(f"{path}.precedence", fields["precedence"], 1, 100)
    rules: list[Rule] = []
    for key in sorted(fields.keys() - {"value", "precedence"}):
        if not _TAG_KEY.fullmatch(key):
            _fail(f"{path}.{key}", "this is no key of an OSM tag", key, "Use letters, digits, _ and :")
        rules += _rules(f"{path}.{key}", key, value, fields[key])
    if not rules:
        _fail(path, "a label needs a tag", sorted(fields), 'Add one, e.g. "natural": ["wood"]')
    return Label(name, value, precedence, channel, tuple(rules))


def _rules(path: str, key: str, value: int, part: object) -> list[Rule]:
    parts = _list(path, part)
    rules = [_rule(f"{path}[{i}]", key, value, p) for i, p in enumerate(parts)]
    for kind in KINDS:
        _unique(
            path, f"tag value for {kind}", [v for rule in rules if kind in rule.kinds for v in rule.values]
        )
    return sorted(rules, key=lambda rule: (rule.values, rule.kinds))


def _rule(path: str, key: str, value: int, part: object) -> Rule:
    if isinstance(part, str):
        part = {"values": [part]}
    fields = _object(
        path,
        part,
        required={"values"},
        optional={"except", "geometry", "all_touched", "dilation_m", "unless"},
    )
    values = _strings(f"{path}.values", fields["values"])
    if ANY in values and len(values) > 1:
        _fail(f"{path}.values", f'"{ANY}" stands for every value', list(values), "Let it stand alone")
    excluded = _strings(f"{path}.except", fields["except"]) if "except" in fields else ()
    if excluded and ANY not in values:
        _fail(
            f"{path}.except", f'only "{ANY}" can have exceptions', list(excluded), "Leave them out of values"
        )
    kinds = _strings(f"{path}.geometry", fields.get("geometry", ["area"]))
    for kind in kinds:
        if kind not in KINDS:
            _fail(f"{path}.geometry", f"a geometry is one of {', '.join(KINDS)}", kind, "Correct it")
    all_touched = fields.get("all_touched", False)
    if not isinstance(all_touched, bool):
        _fail(f"{path}.all_touched", "this must be true or false", all_touched, "Correct it")
    dilation_m = fields.get("dilation_m", 0)
    if (
        not isinstance(dilation_m, int | float)
        or isinstance(dilation_m, bool)
        or not 0 <= dilation_m <= MAX_DILATION_M  # nor is NaN
    ):
        _fail(
            f"{path}.dilation_m", f"this must be metres from 0 to {MAX_DILATION_M}", dilation_m, "Correct it"
        )
    unless = _object(f"{path}.unless", fields.get("unless", {}), required=set())
    return Rule(
        key=key,
        values=values,
        excluded=excluded,
        kinds=tuple(kind for kind in KINDS if kind in kinds),
        layer=Layer(value, float(dilation_m), all_touched),
        unless=tuple((other, _strings(f"{path}.unless.{other}", unless[other])) for other in sorted(unless)),
    )


def _none_rules(path: str, part: object, channels: tuple[Channel, ...]) -> tuple[NoneRule, ...]:
    table = _object(path, part, required=set(), optional={channel.name for channel in channels})
    labels = {label.name: label for channel in channels for label in channel.labels}

    def label_named(at: str, name: object) -> Label:
        if not isinstance(name, str) or name not in labels:
            _fail(at, "there is no label of this name", name, f"Use one of {', '.join(labels)}")
        return labels[name]

    rules = []
    for index, channel in enumerate(channels):
        if channel.name not in table:
            continue
        for i, rule in enumerate(_list(f"{path}.{channel.name}", table[channel.name])):
            at = f"{path}.{channel.name}[{i}]"
            fields = _object(at, rule, required={"where"}, optional={"if_cell_has"})
            where = [label_named(f"{at}.where", name) for name in _strings(f"{at}.where", fields["where"])]
            for label in where:
                if label.channel == index:
                    _fail(
                        f"{at}.where",
                        "a channel cannot settle itself",
                        label.name,
                        "Name labels of other channels",
                    )
            has = (
                label_named(f"{at}.if_cell_has", fields["if_cell_has"]).value
                if "if_cell_has" in fields
                else None
            )
            rules.append(NoneRule(index, tuple(sorted(label.value for label in where)), has))
    return tuple(rules)
