"""The ontology: what the file says, what is refused, how tags are matched, and that the page agrees with it."""

import copy
import json
import pickle
import re
import time
from pathlib import Path

import pytest

from beam_pipeline.labels.extract import drawn_keys
from beam_pipeline.labels.label_image import NONE, UNLABELED
from beam_pipeline.labels.ontology import COASTLINE, DEFAULT_ONTOLOGY, SEA_KEY, Ontology
from beam_pipeline.labels.ontology_json import KINDS
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
    """What a feature is drawn as: label -> dilation."""
    label_of = {label.value: label.name for label in ontology.labels}
    return {label_of[x.value]: x.dilation_m for x in ontology.layers_of(kind, tuple(sorted(tags.items())))}


def test_values_precedences_and_channels_are_those_of_the_paper(ontology: Ontology) -> None:
    assert [(label.name, label.value, label.precedence, label.channel) for label in ontology.labels] == TABLE
    assert [c.name for c in ontology.channels] == ["OSM_land_use", "OSM_water_and_roads", "buildings"]
    assert (NONE, UNLABELED) == (254, 255)


def test_keys_and_widest_dilation(ontology: Ontology) -> None:
    assert ontology.reach_m == 30
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
    ],
)
def test_tags(ontology: Ontology, kind: str, tags: dict[str, str], expected: dict[str, float]) -> None:
    assert names(ontology, kind, **tags) == expected


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
    assert ontology.sha256 == "27da649a2d47d1be957697184dd0b4ee7061e9a7a9a402aeb66c5e90a8b163cd"


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
        ((*WOODED, "natural"), [{"values": ["*", "a"]}], "natural[0].values", "every value"),
        ((*WOODED, "natural"), [{"values": ["a"], "unless": ["b"]}], "natural[0].unless", "object"),
        ((*WOODED, "natural"), [{"values": ["a"], "unless": {"b": "yes"}}], "natural[0].unless.b", "list"),
        (("none", "roofs"), [{"where": ["water"]}], "$.none.roofs", "unknown"),
        (("none", "buildings", 0, "where"), ["lava"], "$.none.buildings[0].where", "no label"),
        (("none", "buildings", 0, "where"), ["building"], "$.none.buildings[0].where", "itself"),
        (
            ("none", "buildings", 0, "if_cell_has"),
            7,
            "$.none.buildings[0].if_cell_has",
            "there is no label of this name. Received: 7. Write the name of a label.",
        ),
        (("none", "buildings", 0, "if_cell_has"), "lava", "$.none.buildings[0].if_cell_has", "no label"),
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
        ((), "channels, none, version"),
        (("channels", 0), "labels, name"),
        (("none", "buildings", 0), "if_cell_has, where"),
        (("none",), "OSM_land_use, OSM_water_and_roads, buildings"),
        (
            (*WOODED, "natural", -1),
            "all_touched, dilation_m, except, geometry, unless, values",
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


def rows(ontology: Ontology) -> set[tuple[str, ...]]:
    """What each tag of the ontology does, as the page's table has it."""
    found = set()
    for label in ontology.labels:
        for rule in label.rules:
            refused = [f"{rule.key}={value}" for value in rule.excluded]
            refused += [f"{key}={value}" for key, values in rule.unless for value in values]
            how = [f"{rule.layer.dilation_m:g} m"] if rule.layer.dilation_m else []
            how += ["all touched"] if rule.layer.all_touched else []
            for value in rule.values:
                tag = f"`{rule.key}={value}`"
                found.add((label.name, tag, ", ".join(rule.kinds), ", ".join(how), ", ".join(refused)))
    return found


def test_the_page_says_what_the_file_says(ontology: Ontology) -> None:
    lines = [
        line for line in PAGE.read_text(encoding="utf-8").splitlines() if re.match(r"\| [a-z_]+ \| `", line)
    ]
    cells = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]
    assert all(len(cell) == 6 and cell[5] for cell in cells), "every tag has its reason"
    assert len(cells) == len({cell[:5] for cell in cells})
    assert {(*cell[:4], cell[4].replace("`", "")) for cell in cells} == rows(ontology)
    assert set(KINDS) == {"area", "line", "point"}


def test_the_page_says_the_values_and_precedences(ontology: Ontology) -> None:
    page = PAGE.read_text(encoding="utf-8")
    for label in ontology.labels:
        channel = ontology.channels[label.channel].name
        assert f"| {label.value} | {label.name} | `{channel}` | {label.precedence} |" in page
