import copy
import dataclasses
import json

import pytest

from beam_pipeline.runtime.faults import InvalidInputError
from model_tf.data.categories import CategoryTable
from tests.model_tf.made_dataset import ONTOLOGY


def test_order_is_by_channel_and_value():
    shuffled = copy.deepcopy(ONTOLOGY)
    for channel in shuffled["channels"]:
        channel["labels"] = dict(sorted(channel["labels"].items()))
    table = CategoryTable.from_ontology(shuffled)
    assert table == CategoryTable.from_ontology(ONTOLOGY)
    assert table.values == tuple(range(15))
    assert table.channels == (0,) * 12 + (1, 1, 2)
    assert table.names[0] == "wooded"
    assert table.names[11:] == ("other_natural", "water", "road", "building")
    assert table.channel_names == ("OSM_land_use", "OSM_water_and_roads", "buildings")
    assert len(table) == 15


def test_index_is_not_value_where_an_ontology_has_gaps():
    channels = [
        {"name": "a", "labels": {"x": 40, "y": 7}},
        {"name": "b", "labels": {}},
        {"name": "c", "labels": {"z": 7}},
    ]
    table = CategoryTable.from_ontology({"channels": channels})
    assert list(zip(table.names, table.channels, table.values, strict=True)) == [
        ("y", 0, 7),
        ("x", 0, 40),
        ("z", 2, 7),
    ]
    assert [table.of_channel(channel) for channel in range(3)] == [(0, 1), (), (2,)]
    assert [table.valid_values(channel) for channel in range(3)] == [
        (7, 40, 254, 255),
        (254, 255),
        (7, 254, 255),
    ]


def test_json_round_trip():
    table = CategoryTable.from_ontology(ONTOLOGY)
    assert CategoryTable.from_json(json.loads(json.dumps(table.to_json()))) == table
    assert hash(table) == hash(dataclasses.replace(table))


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("channels",), None, "3 channels"),
        (("channels",), ONTOLOGY["channels"][:2], "3 channels"),
        (("channels", 1), {"name": "OSM_water_and_roads"}, r"\[1\] must have a name and labels"),
        (
            ("channels", 1, "labels", "road"),
            254,
            r"\[1\].labels.road must be an integer from 0 to 253. Received: 254",
        ),
        (("channels", 1, "labels", "road"), "13", r"\[1\].labels.road .* Received: '13'"),
        (("channels", 1, "labels", "road"), 12, r"\[1\].labels must have different values"),
        (("channels", 2, "labels"), {"road": 14}, "different names"),
    ],
)
def test_what_is_no_ontology_is_refused(path, value, said):
    ontology = copy.deepcopy(ONTOLOGY)
    parent = ontology
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    with pytest.raises(InvalidInputError, match=rf"here.json: ontology.channels.*{said}"):
        CategoryTable.from_ontology(ontology, "here.json")
