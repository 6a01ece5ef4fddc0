"""dataset.json as readers take it: the fields that are read, and the errors that damage gets."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings

from beam_pipeline.cells.cell import SPLITS
from beam_pipeline.records.description import (
    MOST_NAME_CHARS,
    DatasetDescription,
    parse_description,
    parse_unit_counts,
)
from beam_pipeline.records.shards import parse_shard_name, shard_name
from beam_pipeline.runtime.faults import InvalidInputError
from tests.fuzz.foreign import damaged, values

SOUND: dict[str, Any] = {
    "schema_version": "1.0.0",
    "shards": [
        {"name": shard_name("testing", 0, 1), "examples": 0, "num_bytes": 0, "sha256": ""},
        {"name": shard_name("training", 2, 3), "examples": 5, "num_bytes": 700, "sha256": "ab"},
    ],
    "splits": {split: {"cells": 3, "examples": 5} for split in SPLITS},
    "ontology": {
        "channels": [
            {"name": "land_use", "labels": {"wooded": 0, "quarry": 7}},
            {"name": "water_and_roads", "labels": {"road": 13}},
            {"name": "buildings", "labels": {}},
        ]
    },
    "bands": {"B02": {"mean": 0.1, "variance": 0.01, "pixels": 4}, "B03": {"mean": None, "variance": None}},
    "years": [2020, 2021],
}


def changed(path: tuple[str | int, ...], value: object) -> dict[str, Any]:
    """The sound description with one place replaced; ... takes it away."""
    content = copy.deepcopy(SOUND)
    parent: Any = content
    for key in path[:-1]:
        parent = parent[key]
    if value is ...:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    return content


def parse(content: object) -> DatasetDescription:
    return parse_description(json.dumps(content), "set/dataset.json")


def test_says_what_there_is() -> None:
    read = parse(SOUND)
    assert [(it.split, it.index, it.examples, it.num_bytes, it.sha256) for it in read.shards] == [
        ("testing", 0, 0, 0, ""),
        ("training", 2, 5, 700, "ab"),
    ]
    assert [read.splits.training.cells, read.splits.validation.cells, read.splits.testing.cells] == [3, 3, 3]
    assert [channel.name for channel in read.ontology.channels] == [
        "land_use",
        "water_and_roads",
        "buildings",
    ]
    assert read.ontology.channels[0].labels == {"wooded": 0, "quarry": 7}
    assert (read.bands["B02"].mean, read.bands["B02"].variance) == (0.1, 0.01)
    assert read.bands["B03"].mean is None
    assert read.years == (2020, 2021)
    assert read.grid_name is None
    assert parse({**SOUND, "grid": {"name": "hexagons", "cells": 7}}).grid_name == "hexagons"


@pytest.mark.parametrize("version", ["1.0.1", "1.7.3", "1"])
def test_another_version_of_this_major_is_read_whatever_it_adds(version: str) -> None:
    more = {**SOUND, "schema_version": version, "added": [1], "shards": [{**SOUND["shards"][1], "added": 1}]}
    assert parse(more).shards[0].examples == 5


@pytest.mark.parametrize("version", ["2.0.0", "0.9.0", "10.0.0", "", "x"])
def test_another_major_is_refused_before_anything_else(version: str) -> None:
    said = r"^set/dataset\.json: schema_version must be 1\.x\.x, .*Received: .*use the version that built it"
    with pytest.raises(InvalidInputError, match=said):
        parse({"schema_version": version})


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("schema_version",), ..., "schema_version: Field required"),
        (("schema_version",), 1, "schema_version: Input should be a valid string. Received: 1"),
        (("shards",), ..., "shards: Field required"),
        (
            ("shards", 1, "examples"),
            "5",
            "shards[1].examples: Input should be a valid integer. Received: '5'",
        ),
        (
            ("shards", 1, "examples"),
            -1,
            "shards[1].examples: Input should be greater than or equal to 0. Rec",
        ),
        (
            ("shards", 0, "name"),
            "shard-1",
            "shards[0].name: A shard is named like opensentinelmap-training.tf",
        ),
        (("shards", 0, "name"), "../x", "-00003-of-00012. Received: '../x'"),
        (("splits", "testing"), ..., "splits.testing: Field required"),
        (
            ("splits", "training", "cells"),
            True,
            "splits.training.cells: Input should be a valid integer. Rec",
        ),
        (("ontology",), ..., "ontology: Field required"),
        (("ontology", "channels"), None, "ontology.channels: "),
        (("ontology", "channels"), SOUND["ontology"]["channels"][:2], "should have at least 3 items"),
        (("ontology", "channels"), SOUND["ontology"]["channels"] * 2, "should have at most 3 items"),
        (("ontology", "channels", 1, "labels"), ..., "ontology.channels[1].labels: Field required"),
        (
            ("ontology", "channels", 1, "labels", "road"),
            254,
            "labels.road: Input should be less than 254. Re",
        ),
        (("ontology", "channels", 1, "labels", "road"), "13", "labels.road: Input should be a valid integer"),
        (
            ("ontology", "channels", 0, "labels", "quarry"),
            0,
            "channels[0]: labels must have different values",
        ),
        (
            ("ontology", "channels", 2, "labels"),
            {"road": 14},
            "ontology: channels must hold categories, of d",
        ),
        (
            ("bands", "B02", "mean"),
            "high",
            "bands.B02.mean: Input should be a valid number. Received: 'high'",
        ),
        (("years", 0), 2020.5, "years[0]: Input should be a valid integer"),
    ],
)
def test_each_kind_of_damage_is_named(path: tuple[str | int, ...], value: object, said: str) -> None:
    with pytest.raises(InvalidInputError) as raised:
        parse(changed(path, value))
    message = str(raised.value)
    assert message.startswith("set/dataset.json: ")
    assert said in message
    assert message.endswith("Copy it again from where the dataset was built.")
    assert len(message.splitlines()) == 1


def test_an_ontology_without_a_category_is_refused() -> None:
    channels = [{"name": str(index), "labels": {}} for index in range(3)]
    with pytest.raises(InvalidInputError, match="ontology: channels must hold categories"):
        parse(changed(("ontology", "channels"), channels))


@pytest.mark.parametrize("name", ["a\nb", "\x1b[31m", "\u202e", "x" * (MOST_NAME_CHARS + 1), "\0"])
def test_names_that_cannot_be_shown_are_refused(name: str) -> None:
    for path, value in ((("name",), name), (("labels",), {name: 90})):
        with pytest.raises(
            InvalidInputError, match=r"channels\[1\].*Must be printable, with at most 100"
        ) as raised:
            parse(changed(("ontology", "channels", 1, *path), value))
        assert str(raised.value).isprintable()


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\ufeff{}", b"\xff\xfe", "null", "9" * 5000])
def test_what_is_no_description_is_refused(text: str | bytes) -> None:
    with pytest.raises(InvalidInputError, match=r"^set/dataset\.json: .*Copy it again"):
        parse_description(text, "set/dataset.json")


def test_counts_of_a_unit_are_read_or_refused() -> None:
    assert parse_unit_counts('{"cells_with_examples": 7, "name": "x"}', "s.json").cells_with_examples == 7
    with pytest.raises(
        InvalidInputError, match=r"^s\.json: cells_with_examples: .*Received: '7'\. Copy it again"
    ):
        parse_unit_counts('{"cells_with_examples": "7"}', "s.json")


@given(damaged(SOUND) | values)
@settings(deadline=None)
def test_any_description_is_read_or_refused(content: object) -> None:
    try:
        read = parse(content)
    except InvalidInputError:
        return
    for shard in read.shards:
        parse_shard_name(shard.name)
    assert all(0 <= value < 254 for channel in read.ontology.channels for value in channel.labels.values())
