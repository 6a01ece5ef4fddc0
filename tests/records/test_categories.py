import copy
import dataclasses
import json

import pytest

from beam_pipeline.records.categories import CategoryTable
from tests.model_tf.made_dataset import ONTOLOGY, table_of


def test_order_is_by_channel_and_value():
    shuffled = copy.deepcopy(ONTOLOGY)
    for channel in shuffled["channels"]:
        channel["labels"] = dict(sorted(channel["labels"].items()))
    table = table_of(shuffled)
    assert table == table_of(ONTOLOGY)
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
    table = table_of({"channels": channels})
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
    table = table_of(ONTOLOGY)
    assert CategoryTable.from_json(json.loads(json.dumps(table.to_json()))) == table
    assert hash(table) == hash(dataclasses.replace(table))


def test_a_table_with_a_row_cut_off_is_refused():
    content = table_of(ONTOLOGY).to_json()
    with pytest.raises(ValueError, match=r"must be equally many. Received: 15, 14 and 15"):
        CategoryTable.from_json({**content, "channels": content["channels"][1:]})
