"""The ontology: what the file says, what is refused, how tags are matched, and that the page agrees with it."""

import copy
import dataclasses
import itertools
import json
import pickle
import re
import time
from pathlib import Path

import pytest

from beam_pipeline.labels.condition_json import TagTestJson
from beam_pipeline.labels.label_image import NONE, UNLABELED
from beam_pipeline.labels.ontology import COASTLINE, DEFAULT_ONTOLOGY, SEA_KEY, Ontology, shipped_ontology
from beam_pipeline.labels.ontology_json import KINDS, OntologyJson, parse_ontology
from beam_pipeline.labels.store_keys import drawn_keys
from beam_pipeline.runtime.faults import InvalidInputError

TEXT = DEFAULT_ONTOLOGY.read_text(encoding="utf-8")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "ontology.md"

TABLE = [  # name, value, precedence, channel
    ("wooded", 0, 2, 0),
    ("agricultural", 1, 5, 0),
    ("residential", 2, 50, 0),
    ("industrial", 3, 96, 0),
    ("commercial", 4, 95, 0),
    ("recreation", 5, 99, 0),
    ("airport", 6, 93, 0),
    ("quarry", 7, 92, 0),
    ("military", 8, 90, 0),
    ("desert_sand", 9, 10, 0),
    ("mountain_rock", 10, 1, 0),
    ("other_natural", 11, 4, 0),
    ("water", 12, 96, 1),
    ("road", 13, 97, 1),
    ("building", 14, 100, 2),
]


@pytest.fixture(scope="module")
def ontology() -> Ontology:
    return Ontology.load(TEXT)


def names(ontology: Ontology, kind: str, **tags: str) -> dict[str, float]:
    """The labels that a feature is drawn as: label -> dilation."""
    label_of = {label.value: label.name for label in ontology.labels}
    return {label_of[x.value]: x.dilation_m for x in ontology.layers_of(kind, tuple(sorted(tags.items())))}


def test_values_precedences_and_channels_are_those_of_the_paper(ontology: Ontology) -> None:
    assert [(label.name, label.value, label.precedence, label.channel) for label in ontology.labels] == TABLE
    assert [c.name for c in ontology.channels] == ["OSM_land_use", "OSM_water_and_roads", "buildings"]
    assert (NONE, UNLABELED) == (254, 255)


def test_keys_and_reach(ontology: Ontology) -> None:
    assert max(rule.layer.dilation_m for rule in ontology.rules) == 30
    assert ontology.reach_m == 100  # of the `none` table
    document = json.loads(TEXT)
    del document["none"]
    assert Ontology.load(json.dumps(document)).reach_m == 30
    assert {"landuse", "natural", "highway", "building", "waterway", "tunnel"} <= ontology.keys
    assert not {"railway", "area:highway", "name"} & ontology.keys


@pytest.mark.parametrize(
    ("kind", "tags", "expected"),
    [
        ("line", {"highway": "trunk"}, {"road": 10}),
        ("line", {"highway": "residential"}, {"road": 0}),
        ("line", {"highway": "living_street"}, {"road": 0, "residential": 30}),
        ("line", {"highway": "trunk", "tunnel": "yes"}, {}),
        ("line", {"highway": "trunk", "tunnel": "no"}, {"road": 10}),
        ("line", {"highway": "proposed"}, {}),
        ("line", {"highway": "construction"}, {}),
        ("area", {"highway": "rest_area"}, {}),
        ("area", {"highway": "pedestrian"}, {"road": 0}),
        ("area", {"highway": "trunk"}, {"road": 0}),
        ("point", {"highway": "crossing"}, {}),
        ("line", {"railway": "rail"}, {}),
        ("area", {"area:highway": "primary"}, {}),
        ("area", {"building": "house"}, {"building": 0, "residential": 30}),
        ("point", {"building": "house"}, {"building": 0, "residential": 30}),
        ("line", {"building": "house"}, {}),
        ("area", {"building": "yes"}, {"building": 0}),
        ("area", {"building": "no"}, {}),
        ("area", {"building": "warehouse"}, {"building": 0, "industrial": 0}),
        ("area", {"building": "yes", "location": "underground"}, {}),
        ("point", {"man_made": "water_tower"}, {"building": 0}),
        ("line", {"man_made": "pier"}, {"industrial": 0}),
        ("line", {"waterway": "river"}, {"water": 0}),
        ("area", {"waterway": "riverbank"}, {"water": 0}),
        ("line", {"waterway": "dam"}, {}),
        ("line", {"waterway": "weir"}, {}),
        ("line", {"waterway": "stream", "tunnel": "culvert"}, {}),
        ("area", {"natural": "water", "water": "lake"}, {"water": 0}),
        ("line", {"natural": "coastline"}, {}),
        ("area", {"natural": "wood;scrub"}, {"wooded": 0, "other_natural": 0}),
        ("area", {"natural": "tree"}, {}),
        ("line", {"aeroway": "runway"}, {"airport": 20}),
        ("area", {"aeroway": "runway"}, {"airport": 0}),
        ("line", {"aeroway": "parking_position"}, {}),
        ("area", {"military": "airfield"}, {"airport": 0, "military": 0}),
        ("area", {"amenity": "parking", "parking": "underground"}, {}),
        ("area", {"landuse": "forest", "leisure": "park"}, {"wooded": 0, "recreation": 0}),
        ("area", {}, {}),
        ("area", {"building": "yes", "layer": "-1", "level": "-2"}, {"building": 0}),
        ("area", {"building": "train_station", "layer": "-2", "tunnel": "yes"}, {}),
        ("area", {"building": "train_station", "layer": "-2", "tunnel": "no"}, {"building": 0}),
        ("area", {"building": "train_station", "tunnel": "yes"}, {"building": 0}),  # a tunnel through it
        ("area", {"building": "roof", "covered": "yes"}, {"building": 0}),
        ("area", {"building": "yes", "level": "-3--1", "indoor": "room"}, {}),
        ("area", {"building": "yes", "level": "-2;-1", "covered": "yes"}, {}),
        ("area", {"building": "yes", "level": "-1;0", "covered": "yes"}, {"building": 0}),
        ("area", {"building": "yes", "level": "-1-2", "covered": "yes"}, {"building": 0}),
        ("area", {"building": "yes", "level": "basement", "covered": "yes"}, {"building": 0}),
        ("area", {"building": "house", "layer": "-1", "covered": "yes"}, {}),
        ("area", {"building": "warehouse", "layer": "-1", "indoor": "yes"}, {}),
        ("area", {"building": "collapsed"}, {}),
        ("area", {"building": "destroyed"}, {}),
        ("area", {"building": "foundation"}, {}),
        ("area", {"building": "ruins"}, {"building": 0}),
        ("area", {"building": "yes", "ruins": "yes"}, {"building": 0}),
        ("area", {"building": "yes", "disused": "yes"}, {"building": 0}),
        ("area", {"building": "house", "demolished": "yes"}, {}),
        ("area", {"building": "house", "demolished": "no"}, {"building": 0, "residential": 30}),
        ("area", {"building": "house", "razed": "2019"}, {}),
        ("area", {"landuse": "industrial", "demolished": "yes"}, {}),
        ("area", {"landuse": "industrial", "proposed": "yes"}, {}),
        ("area", {"natural": "water", "tunnel": "culvert"}, {}),
        ("area", {"natural": "water", "covered": "yes"}, {}),
        ("area", {"natural": "water", "indoor": "pool"}, {}),
        ("area", {"natural": "water", "covered": "no"}, {"water": 0}),
        ("area", {"natural": "water", "location": "underground", "water": "reservoir"}, {}),
        ("area", {"man_made": "reservoir_covered", "water": "reservoir"}, {}),
        ("area", {"landuse": "reservoir", "location": "underground"}, {}),
        ("area", {"landuse": "reservoir", "covered": "yes"}, {}),
        ("area", {"natural": "water", "layer": "-1"}, {"water": 0}),
        ("area", {"natural": "water", "intermittent": "yes"}, {"water": 0}),
        ("line", {"waterway": "stream", "seasonal": "yes"}, {"water": 0}),
        ("line", {"waterway": "river", "layer": "-1"}, {"water": 0}),
        ("line", {"waterway": "canal", "covered": "yes"}, {}),
        ("line", {"waterway": "stream", "tunnel": "flooded"}, {}),
        ("line", {"waterway": "wadi"}, {}),
        ("line", {"waterway": "check_dam"}, {}),
        ("line", {"highway": "trunk", "tunnel": "avalanche_protector"}, {}),
        ("line", {"highway": "motorway", "covered": "yes"}, {}),
        ("line", {"highway": "living_street", "tunnel": "building_passage"}, {}),
        ("line", {"highway": "footway", "indoor": "yes"}, {}),
        ("line", {"highway": "footway", "location": "underground"}, {}),
        ("line", {"highway": "footway", "level": "-1"}, {"road": 0}),
        ("line", {"highway": "footway", "covered": "no"}, {"road": 0}),
    ],
)
def test_tags(ontology: Ontology, kind: str, tags: dict[str, str], expected: dict[str, float]) -> None:
    assert names(ontology, kind, **tags) == expected


LIFECYCLE = [  # Source: https://wiki.openstreetmap.org/wiki/Lifecycle_prefix
    *(
        "proposed",
        "planned",
        "construction",
        "disused",
        "abandoned",
        "ruins",
        "demolished",
        "removed",
        "razed",
    ),
    *("destroyed", "was", "historic", "former"),
]


@pytest.mark.parametrize("prefix", LIFECYCLE)
def test_what_was_or_will_be_draws_nothing_and_forbids_nothing(ontology: Ontology, prefix: str) -> None:
    for kind, key, value in [
        ("area", "landuse", "quarry"),
        ("area", "building", "house"),
        ("area", "natural", "water"),
        ("line", "highway", "trunk"),
        ("line", "waterway", "river"),
        ("area", "aeroway", "aerodrome"),
    ]:
        assert names(ontology, kind, **{f"{prefix}:{key}": value}) == {}
        # The key without a prefix says what is there now: a quarry that is a wood, a church that is a house.
        now = names(ontology, kind, **{key: value})
        assert now
        assert names(ontology, kind, **{key: value, f"{prefix}:{key}": "yes"}) == now
    assert names(ontology, "area", landuse="forest", **{f"{prefix}:landuse": "quarry"}) == {"wooded": 0}
    assert not {key for key in ontology.keys if key.startswith(f"{prefix}:")}


def test_what_settles_nothing_is_drawn_the_same(ontology: Ontology) -> None:
    for kind, tags in [
        ("area", {"natural": "wetland", "wetland": "tidalflat"}),
        ("area", {"military": "danger_area"}),
        ("line", {"man_made": "pier"}),
    ]:
        layers = ontology.layers_of(kind, tuple(tags.items()))
        assert {layer.settles for layer in layers} == {False}
    assert names(ontology, "area", natural="wetland", wetland="tidalflat") == {"other_natural": 0}
    (layer,) = ontology.layers_of("area", [("natural", "wetland"), ("wetland", "bog")])
    assert layer.settles


def test_the_ontologies_that_come_with_the_package_differ_in_their_none_table(ontology: Ontology) -> None:
    published, strict = (Ontology.load(shipped_ontology(name)) for name in ("published", "strict"))
    assert published == ontology
    assert published.version == strict.version == 2
    assert dataclasses.replace(strict, none_rules=published.none_rules) == published
    assert len({published.sha256, strict.sha256}) == 2
    assert strict.reach_m == 30


LAND, WATER_AND_ROADS = 0, 1


@pytest.mark.parametrize(
    ("place", "kind", "tags", "before", "after"),
    [
        ((LAND, "other_natural"), "area", {"landuse": "grass"}, {}, {"other_natural": 0}),
        ((LAND, "recreation"), "area", {"landuse": "village_green"}, {}, {"recreation": 0}),
        ((LAND, "recreation"), "area", {"landuse": "cemetery"}, {}, {"recreation": 0}),
        ((LAND, "recreation"), "area", {"landuse": "winter_sports"}, {}, {"recreation": 0}),
        ((LAND, "mountain_rock"), "area", {"natural": "glacier"}, {}, {"mountain_rock": 0}),
        ((WATER_AND_ROADS, "road"), "line", {"highway": "path"}, {"road": 0}, {}),
        ((WATER_AND_ROADS, "road"), "line", {"highway": "track"}, {"road": 0}, {}),
        ((WATER_AND_ROADS, "water"), "line", {"waterway": "ditch"}, {"water": 0}, {}),
    ],
)
def test_a_decision_is_taken_the_other_way_in_one_line(
    place: tuple[int, str], kind: str, tags: dict[str, str], before: dict[str, float], after: dict[str, float]
) -> None:
    document = json.loads(TEXT)
    label = document["channels"][place[0]]["labels"][place[1]]
    ((key, value),) = tags.items()
    if before:
        next(rule for rule in label[key] if rule["values"] == ["*"])["except"].append(value)
    else:
        label.setdefault(key, []).append(value)
    assert names(Ontology.load(TEXT), kind, **tags) == before
    assert names(Ontology.load(json.dumps(document)), kind, **tags) == after


def test_intermittent_water_is_left_out_by_a_condition_more() -> None:
    document = json.loads(TEXT)
    document["conditions"]["hidden"].append({"intermittent": ["yes"]})
    ontology = Ontology.load(json.dumps(document))
    for kind, tags in (("area", {"natural": "water"}), ("line", {"waterway": "stream"})):
        assert names(ontology, kind, **tags) == {"water": 0}
        assert names(ontology, kind, **tags, intermittent="yes") == {}


def test_what_drawing_makes_use_of_is_kept(ontology: Ontology) -> None:
    assert ontology.keeps("line", [COASTLINE])
    assert not ontology.keeps("area", [COASTLINE])
    assert ontology.keeps("line", iter([("highway", "path"), ("name", "x")]))
    assert not ontology.keeps("point", iter([("highway", "path")]))


def test_the_sea_is_drawn_and_is_no_key_of_openstreetmap(ontology: Ontology) -> None:
    assert names(ontology, "area", **{SEA_KEY: "sea"}) == {"water": 0}
    assert SEA_KEY not in drawn_keys(ontology)


def test_only_buildings_towers_and_tanks_are_all_touched(ontology: Ontology) -> None:
    keys = {rule.key for label in ontology.labels for rule in label.rules if rule.layer.all_touched}
    assert keys == {"building", "man_made"}


def test_rivers_are_not_dilated(ontology: Ontology) -> None:
    water = next(label for label in ontology.labels if label.name == "water")
    assert {rule.layer.dilation_m for rule in water.rules} == {0}


def test_digest_is_of_the_content(ontology: Ontology) -> None:
    document = json.loads(TEXT)
    shuffled = json.loads(json.dumps(document, sort_keys=True))
    labels = shuffled["channels"][0]["labels"]
    labels["agricultural"]["landuse"].reverse()
    labels["wooded"]["natural"] = [{"values": ["wood"], "dilation_m": 0.0, "geometry": ["area"]}]
    assert Ontology.load(json.dumps(shuffled)).sha256 == ontology.sha256
    labels["wooded"]["natural"] = [{"values": ["wood"], "dilation_m": 1}]
    assert Ontology.load(json.dumps(shuffled)).sha256 != ontology.sha256
    assert re.fullmatch("[0-9a-f]{64}", ontology.sha256)


def test_the_digest_of_the_ontology_of_the_package(ontology: Ontology) -> None:
    # Datasets keep it in their fingerprint: with another they do not resume. Change it only with the ontology.
    assert ontology.sha256 == "5ac3c0ecf3fac4cd1b9d0947d8b5f50b772d81a416341d5c559e7981e60405d8"


def test_travels_between_processes(ontology: Ontology) -> None:
    again = pickle.loads(pickle.dumps(ontology))
    assert again == ontology
    assert again.sha256 == ontology.sha256


DELETE = object()
WOODED = ("channels", 0, "labels", "wooded")


@pytest.mark.parametrize(
    ("place", "value", "path", "problem"),
    [
        (("version",), DELETE, "$.version", "missing"),
        (("version",), "ten", "$.version", "whole number"),
        (("versions",), 1, "$.versions", "unknown"),
        (("channels",), {}, "$.channels", "this must be a list that is not empty"),
        (("channels", 2), DELETE, "$.channels", "3 channels"),
        (("channels", 1, "name"), "buildings", "$.channels", "channel name"),
        (("channels", 1, "name"), " ", "$.channels[1].name", "text"),
        (("channels", 1, "colour"), 1, "$.channels[1].colour", "unknown"),
        (("channels", 2, "labels"), {}, "$.channels[2].labels", "needs a label"),
        (
            ("channels", 2, "labels"),
            {"none": {"value": 99, "precedence": 1, "a": ["b"]}},
            "$.channels[2].labels",
            'may not be called "none"',
        ),
        (
            ("channels", 2, "labels"),
            {"unlabeled": {"value": 99, "precedence": 1, "a": ["b"]}},
            "$.channels[2].labels",
            "means a value",
        ),
        (("channels", 2, "labels", "a "), {"value": 9}, "$.channels[2].labels.a ", "text"),
        (
            ("channels", 2, "labels", "wooded"),
            {"value": 99, "precedence": 1, "a": ["b"]},
            "$.channels",
            "label name",
        ),
        ((*WOODED, "value"), DELETE, "$.channels[0].labels.wooded.value", "missing"),
        ((*WOODED, "value"), 254, "$.channels[0].labels.wooded.value", "0 to 253"),
        ((*WOODED, "value"), 255, "$.channels[0].labels.wooded.value", "0 to 253"),
        ((*WOODED, "value"), -1, "$.channels[0].labels.wooded.value", "0 to 253"),
        ((*WOODED, "value"), True, "$.channels[0].labels.wooded.value", "whole number"),
        ((*WOODED, "value"), 13, "$.channels", "label value"),
        ((*WOODED, "precedence"), 0, "$.channels[0].labels.wooded.precedence", "1 to 100"),
        ((*WOODED, "precedence"), 2.5, "$.channels[0].labels.wooded.precedence", "1 to 100"),
        ((*WOODED, "precedence"), 99, "$.channels[0].labels", "precedence"),
        ((*WOODED, "precedance"), 99, "$.channels[0].labels.wooded.precedance", "list"),
        ((*WOODED, "natural"), [], "$.channels[0].labels.wooded.natural", "list"),
        (
            (*WOODED, "natural"),
            ["wood", "wood"],
            "$.channels[0].labels.wooded.natural",
            "each tag value for area may stand only once. Received: 'wood'",
        ),
        ((*WOODED, "natural"), [""], "$.channels[0].labels.wooded.natural[0].values[0]", "text"),
        ((*WOODED, "natural"), [7], "$.channels[0].labels.wooded.natural[0]", "object"),
        ((*WOODED, "na tural"), ["wood"], "$.channels[0].labels.wooded.na tural", "no key"),
        ((*WOODED,), {"value": 0, "precedence": 2}, "$.channels[0].labels.wooded", "needs a tag"),
        (
            (*WOODED, "natural"),
            [{"dilation_m": 3}],
            "$.channels[0].labels.wooded.natural[0].values",
            "missing",
        ),
        ((*WOODED, "natural"), [{"values": ["a"], "dilation": 3}], "wooded.natural[0].dilation", "unknown"),
        (
            (*WOODED, "natural"),
            [{"values": ["a"], "dilation_m": -1}],
            "wooded.natural[0].dilation_m",
            "metres",
        ),
        ((*WOODED, "natural"), [{"values": ["a"], "dilation_m": 500.5}], "natural[0].dilation_m", "metres"),
        ((*WOODED, "natural"), [{"values": ["a"], "dilation_m": 30000}], "natural[0].dilation_m", "metres"),
        ((*WOODED, "natural"), [{"values": ["a"], "dilation_m": "3"}], "natural[0].dilation_m", "metres"),
        (
            (*WOODED, "natural"),
            [{"values": ["a"], "all_touched": 1}],
            "natural[0].all_touched",
            "true or false",
        ),
        (
            (*WOODED, "natural"),
            [{"values": ["a"], "geometry": ["polygon"]}],
            "natural[0].geometry[0]",
            "one of",
        ),
        ((*WOODED, "natural"), [{"values": ["a"], "except": ["b"]}], "natural[0].except", "exceptions"),
        (
            (*WOODED, "natural"),
            [{"values": ["a", "a"]}],
            "natural[0].values",
            "each text may stand only once",
        ),
        ((*WOODED, "natural"), [{"values": ["*"], "except": ["b", "b"]}], "natural[0].except", "only once"),
        ((*WOODED, "natural"), [{"values": ["*", "a"]}], "natural[0].values", "every one"),
        ((*WOODED, "natural"), [{"values": ["a"], "unless": []}], "natural[0].unless", "list"),
        ((*WOODED, "natural"), [{"values": ["a"], "unless": [7]}], "natural[0].unless[0]", "object"),
        ((*WOODED, "natural"), [{"values": ["a"], "unless": [{}]}], "natural[0].unless[0]", "not empty"),
        ((*WOODED, "natural"), [{"values": ["a"], "unless": ["b"]}], "natural[0].unless[0]", "no condition"),
        (
            (*WOODED, "natural"),
            [{"values": ["a"], "unless": {"b": ["yes"]}}],
            "natural[0].unless",
            "this must be a list of conditions",
        ),
        (
            (*WOODED, "natural"),
            [{"values": ["a"], "unless": [{"b": "yes"}]}],
            "natural[0].unless[0].b",
            "object",
        ),
        ((*WOODED, "natural"), [{"values": ["a"], "unless": [{"b": {}}]}], "unless[0].b", "in one way"),
        (("unless", 0), {"b c": ["yes"]}, "$.unless[0].b c", "no key"),
        (
            ("unless", 0),
            {"b": {"below": 0, "except": ["no"]}},
            "$.unless[0].b",
            "Received: ['below', 'except']",
        ),
        (("unless", 0), {"b": {"below": "0"}}, "$.unless[0].b.below", "number"),
        (("unless", 0), {"b": {"above": 0}}, "$.unless[0].b.above", "Use only below, except, values"),
        (("unless", 0), {"b": []}, "$.unless[0].b.values", "list"),
        (("unless", 0), "gone", "$.unless[0]", "no condition"),
        (("settles_unless", 0), "gone", "$.settles_unless[0]", "no condition"),
        (("conditions", "hidden"), [], "$.conditions.hidden", "list"),
        (("conditions", "hidden"), ["buried"], "$.conditions.hidden[0]", "object"),
        (("conditions", "hidden"), [{"b": {"x": 1}}], "$.conditions.hidden[0].b.x", "unknown"),
        ((*WOODED, "natural"), [{"values": ["a"], "settles": "no"}], "natural[0].settles", "true or false"),
        (
            (*WOODED, "natural"),
            [{"values": ["a"], "geometry": ["area", "area"]}],
            "natural[0].geometry",
            "only once",
        ),
        (("none", "roofs"), [{"where": ["water"]}], "$.none.roofs", "unknown"),
        (("none", "buildings", 0, "where"), ["lava"], "$.none.buildings[0].where", "no label"),
        (("none", "buildings", 0, "where"), ["*", "water"], "$.none.buildings[0].where", "every one"),
        (
            ("none", "buildings", 0, "distance_m"),
            -1,
            "$.none.buildings[0].distance_m",
            "metres from 0 to 500",
        ),
        (("none", "buildings", 0, "distance_m"), 501, "$.none.buildings[0].distance_m", "metres"),
        (("none", "buildings", 0, "if_mapped"), ["building"], "$.none.buildings[0].if_mapped", "object"),
        (("none", "buildings", 0, "if_mapped"), {"lava": 0.5}, "$.none.buildings[0].if_mapped", "no label"),
        (("none", "buildings", 0, "if_mapped"), {"water": 0}, "if_mapped.water", "share above 0"),
        (("none", "buildings", 0, "if_mapped"), {"water": 5}, "if_mapped.water", "share above 0"),
        (
            ("none", "buildings", 0, "if_cell_has"),
            "building",
            "$.none.buildings[0]",
            "if_cell_has is of an older version of this format. Received: 'building'. Write \"if_mapped\": "
            '{"building": 0.05}',
        ),
    ],
)
def test_a_bad_file_is_refused_where_it_is_bad(
    place: tuple[str | int, ...], value: object, path: str, problem: str
) -> None:
    document = copy.deepcopy(json.loads(TEXT))
    part = document
    for step in place[:-1]:
        part = part[step]
    if value is DELETE:
        del part[place[-1]]
    else:
        part[place[-1]] = value
    with pytest.raises(InvalidInputError) as caught:
        Ontology.load(json.dumps(document))
    message = str(caught.value)
    assert f"{path}: " in message
    assert problem in message
    assert "Received: " in message


@pytest.mark.parametrize(
    ("place", "fields"),
    [
        ((), "channels, conditions, none, settles_unless, unless, version"),
        (("channels", 0), "labels, name"),
        (("none", "buildings", 0), "distance_m, if_mapped, where"),
        (("none",), "OSM_land_use, OSM_water_and_roads, buildings"),
        (
            (*WOODED, "natural", -1),
            "all_touched, dilation_m, except, geometry, settles, unless, values",
        ),
    ],
)
def test_where_a_field_is_unknown_those_that_are_known_are_named(
    place: tuple[str | int, ...], fields: str
) -> None:
    document = json.loads(TEXT)
    document["channels"][0]["labels"]["wooded"]["natural"].append({"values": ["x"]})
    part = document
    for step in place:
        part = part[step]
    part["colour"] = [{"where": ["water"]}]
    with pytest.raises(
        InvalidInputError, match=rf"\.colour: .* unknown\. Received: 'colour'\. Use only {fields}\.$"
    ):
        Ontology.load(json.dumps(document))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "line 1 column 1"),
        ('{"version": 1,\n oops}', "line 2"),
        ("[]", "must be an object"),
        ('{"version": NaN}', "NaN"),
        ('{"version": 1, "version": 2}', "twice"),
        ("[" * 100_000, "cannot be read"),
        ('{"version": ' + "1" * 5000 + "}", "cannot be read"),
    ],
)
def test_a_file_that_is_no_ontology_is_refused(text: str, problem: str) -> None:
    with pytest.raises(InvalidInputError, match=problem):
        Ontology.load(text)


def test_many_values_are_checked_in_time() -> None:
    document = json.loads(TEXT)
    values = [f"v{i}" for i in range(100_000)]
    document["channels"][0]["labels"]["wooded"]["natural"] = [{"values": values}]
    started = time.process_time()
    Ontology.load(json.dumps(document))
    assert time.process_time() - started < 20  # pair by pair it would take minutes
    values[99_999] = "v7"
    with pytest.raises(InvalidInputError, match=r"only once.*v7"):
        Ontology.load(json.dumps(document))


def test_the_none_table_may_be_absent() -> None:
    document = json.loads(TEXT)
    del document["none"]
    assert Ontology.load(json.dumps(document)).none_rules == ()


def words_of_condition(condition: dict[str, TagTestJson] | str) -> str:
    """A condition as the page writes it: by its name where it has one."""
    if isinstance(condition, str):
        return condition
    words = []
    for key, test in condition.items():
        if test.below is not None:
            words.append(f"`{key}` below {test.below:g}")
        elif test.excluded:
            words.append(f"`{key}` any but {', '.join(f'`{value}`' for value in test.excluded)}")
        else:
            words.append(" or ".join(f"`{key}={value}`" for value in test.values))
    return " with ".join(words)


def rows(document: OntologyJson) -> set[tuple[str, ...]]:
    """The effect of each tag of the ontology, as the page's table has it."""
    found = set()
    for name, label in [pair for channel in document.channels for pair in channel.labels.items()]:
        for key, rule in [(key, rule) for key, rules in label.rules.items() for rule in rules]:
            refused = [f"`{key}={value}`" for value in rule.excluded]
            refused += [words_of_condition(condition) for condition in rule.unless]
            how = [f"{rule.dilation_m:g} m"] if rule.dilation_m else []
            how += ["all touched"] if rule.all_touched else []
            how += [] if rule.settles else ["settles nothing"]
            kinds = ", ".join(kind for kind in KINDS if kind in rule.geometry)
            for value in rule.values:
                found.add((name, f"`{key}={value}`", kinds, ", ".join(how), ", ".join(refused)))
    return found


def table(*header: str) -> list[tuple[str, ...]]:
    """The rows of the page's table of this header."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    first = lines.index(f"| {' | '.join(header)} |") + 2
    body = itertools.takewhile(lambda line: line.startswith("|"), lines[first:])
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in body]


def test_the_page_says_what_the_file_says() -> None:
    cells = table("category", "tag", "takes", "drawn", "not if", "why")
    assert all(len(cell) == 6 and cell[5] for cell in cells), "every tag has its reason"
    assert len(cells) == len({cell[:5] for cell in cells})
    assert {cell[:5] for cell in cells} == rows(parse_ontology(TEXT))
    assert set(KINDS) == {"area", "line", "point"}


def test_the_page_says_the_conditions() -> None:
    document = parse_ontology(TEXT)
    expected = {
        **document.conditions,
        "(any tag) is not drawn": document.unless,
        "(any tag) settles nothing": document.settles_unless,
    }
    cells = table("name", "holds where one of these does")
    assert dict(cells) == {
        name: "; ".join(map(words_of_condition, conditions)) for name, conditions in expected.items()
    }


@pytest.mark.parametrize("name", ["published", "strict"])
def test_the_page_says_the_none_tables(name: str) -> None:
    expected = []
    for channel, rules in parse_ontology(shipped_ontology(name)).none.items():
        for rule in rules:
            labels = "anything drawn" if rule.where == ["*"] else ", ".join(rule.where)
            where = f"within {rule.distance_m:g} m of {labels}" if rule.distance_m else f"on {labels}"
            only = [f"{share:.0%} of these pixels are {label}" for label, share in rule.if_mapped.items()]
            expected.append((name, f"`{channel}`", where, ", ".join(only)))
    cells = table("table", "channel", "`none`", "only if at least")
    assert [cell for cell in cells if cell[0] == name] == expected


def test_the_page_says_the_values_and_precedences(ontology: Ontology) -> None:
    page = PAGE.read_text(encoding="utf-8")
    for label in ontology.labels:
        channel = ontology.channels[label.channel].name
        assert f"| {label.value} | {label.name} | `{channel}` | {label.precedence} |" in page
