"""Reads the ontology of a dataset of schema 1.0, so that such datasets can still be looked through.

Its conditions are of another form, and so is its `none` table, which only counts for the digest: nothing is drawn by it
any more.
"""

import dataclasses
import functools
import hashlib
import json
from typing import Any

import pydantic

from beam_pipeline.labels.ontology import Ontology
from beam_pipeline.labels.ontology_text import Model, Texts, parse_plain, refuse
from beam_pipeline.labels.tag_rules import Rule


class _NoneRule(Model):
    """A rule of the `none` table.

    Attributes:
        where: Names of labels.
        if_cell_has: Name of a label, or None.
    """

    where: Texts
    if_cell_has: str | None = None


class _Ontology(pydantic.BaseModel):
    """A file, as far as it is of another form.

    Attributes:
        none: Name of a channel -> its rules.
    """

    none: dict[str, list[_NoneRule]] = pydantic.Field(default={})


@dataclasses.dataclass(frozen=True)
class _OntologyOf10(Ontology):
    """An ontology that keeps the digest which was taken of its older form.

    Attributes:
        digest: SHA-256 in hex digits.
    """

    digest: str = ""

    @functools.cached_property
    def sha256(self) -> str:
        """SHA-256 of the content as schema 1.0 took it."""
        return self.digest


def load_1_0(text: str) -> Ontology:
    """Reads an ontology of schema 1.0.

    Args:
        text: JSON, `plan/osm_categories.json` of such a dataset.

    Returns:
        The ontology with the digest that its fingerprint has, without a `none` table.

    Raises:
        InvalidInputError: As for `Ontology.load`.
    """
    document = parse_plain(text)
    try:
        table = _Ontology.model_validate(document).none
    except pydantic.ValidationError as error:
        refuse("$.none", "this is no table of schema 1.0", str(error.errors()[0]["msg"]), "Restore the file")
    now = _in_new_form(document)
    if isinstance(now, dict):
        now.pop("none", None)
    ontology = Ontology.load(json.dumps(now))
    fields = {field.name: getattr(ontology, field.name) for field in dataclasses.fields(ontology)}
    return _OntologyOf10(**fields, digest=_digest(ontology, table))


def _in_new_form(part: Any) -> Any:
    """Writes the conditions of rules as lists: of several keys one was enough."""
    if isinstance(part, list):
        return [_in_new_form(item) for item in part]
    if not isinstance(part, dict):
        return part
    renewed = {key: _in_new_form(value) for key, value in part.items()}
    unless = part.get("unless")
    if "values" in part and isinstance(unless, dict):
        renewed["unless"] = [{key: values} for key, values in unless.items()]
        if not unless:
            del renewed["unless"]
    return renewed


def _digest(ontology: Ontology, table: dict[str, list[_NoneRule]]) -> str:
    values = {label.name: label.value for label in ontology.labels}
    names = [channel.name for channel in ontology.channels]
    named = {name for rules in table.values() for rule in rules for name in (*rule.where, rule.if_cell_has)}
    unknown = sorted({*table} - {*names}) + sorted(named - {*values, None}, key=str)
    if unknown:
        refuse("$.none", "there is no label or channel of this name", unknown[0], "Restore the file")
    content = {
        "version": ontology.version,
        "channels": [
            {
                "name": channel.name,
                "labels": [
                    {**dataclasses.asdict(label), "rules": [_rule(rule) for rule in label.rules]}
                    for label in channel.labels
                ],
            }
            for channel in ontology.channels
        ],
        "none_rules": [
            {
                "channel": index,
                "where": sorted(values[name] for name in rule.where),
                "if_cell_has": None if rule.if_cell_has is None else values[rule.if_cell_has],
            }
            for index, channel in enumerate(names)
            for rule in table.get(channel, ())
        ],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _rule(rule: Rule) -> dict[str, Any]:
    plain = dataclasses.asdict(rule)
    del plain["layer"]["settles"]
    tests = [test for condition in rule.unless for test in condition]  # one each, in this form
    return {**plain, "unless": sorted((test.key, test.values) for test in tests)}
