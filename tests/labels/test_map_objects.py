"""Map objects are what pyosmium says of a file one by one, and what is drawn of them does not depend on their form."""

import dataclasses
import datetime
import gzip
from pathlib import Path

import osmium
import pytest
import shapely
from osmium.osm.mutable import Node, Way

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.labels.area_relations import AREA_RELATIONS
from beam_pipeline.labels.clipping import clip_margin
from beam_pipeline.labels.drawn_features import DrawnFeatures
from beam_pipeline.labels.extract import read_columns, read_objects
from beam_pipeline.labels.feature import Found
from beam_pipeline.labels.map_object import MapObject
from beam_pipeline.labels.object_columns import ObjectColumns
from beam_pipeline.labels.ontology import SHIPPED, Ontology, shipped_ontology
from beam_pipeline.labels.ontology_json import MAX_DISTANCE_M
from beam_pipeline.labels.overpass import objects_of_chip
from beam_pipeline.labels.polygon_rules import RULED_KEYS, may_be_area
from beam_pipeline.labels.store_keys import PADDING_M, STORE_KEYS, keys_for
from beam_pipeline.runtime.faults import TransientFault
from tests.labels.osm_file import OsmFile, square
from tests.labels.overpass_server import USER, OverpassServer
from tests.shared_data import shared

ONTOLOGY = Ontology.load(shipped_ontology("published"))
CHIP = ChipWindow(32632, 539_460, 5_220_060)
LON, LAT = 9.5327, 47.1413  # the middle of CHIP


def read(path: Path, keys: tuple[str, ...] = STORE_KEYS) -> list[MapObject]:
    return list(Found.all_of(read_objects(path, keys)).features)


def one_by_one(path: Path) -> list[MapObject]:
    """Reads nodes and ways with pyosmium's Python objects."""
    wkb = osmium.geom.WKBFactory()
    found = []
    for entity in osmium.FileProcessor(str(path)).with_locations():
        tags = dict(entity.tags)
        if entity.is_relation() or not set(STORE_KEYS) & set(tags):
            continue
        geometry = bytes.fromhex(
            wkb.create_point(entity) if entity.is_node() else wkb.create_linestring(entity)
        )
        if entity.is_way() and entity.nodes.is_closed() and may_be_area(tags):
            points = geometry[9:] + geometry[-16:] * (len(geometry) < 9 + 4 * 16)
            geometry = b"\1\3\0\0\0\1\0\0\0" + (len(points) // 16).to_bytes(4, "little") + points
        kind = "node" if entity.is_node() else "way"
        seconds = int(entity.timestamp.timestamp())
        found.append(
            MapObject(kind, entity.id, entity.version, seconds, tuple(sorted(tags.items())), geometry)
        )
    return found


@pytest.mark.parametrize(
    "name", ["monaco-2023.osm.pbf", pytest.param("liechtenstein-2022.osm.pbf", marks=pytest.mark.slow)]
)
def test_objects_are_those_of_pyosmium(name: str) -> None:
    path = shared("osm", name)
    objects = read(path)
    plain = [one for one in objects if one.osm_type != "relation"]
    assert plain == one_by_one(path)
    assert len({one.geometry[1] for one in plain}) == 3
    relations = {one.osm_id: one for one in objects if one.osm_type == "relation"}
    for entity in osmium.FileProcessor(str(path), osmium.osm.RELATION):
        if one := relations.pop(entity.id, None):
            assert dict(one.tags) == dict(entity.tags)
            assert (one.version, one.timestamp) == (entity.version, int(entity.timestamp.timestamp()))
            assert entity.tags["type"] in AREA_RELATIONS
    assert not relations


def test_columns_are_their_objects() -> None:
    path = shared("osm", "monaco-2023.osm.pbf")
    for found in read_columns(path, STORE_KEYS):
        for columns in found.features:
            objects = list(columns.objects())
            assert len(objects) == len(columns) <= 8192
            assert list(ObjectColumns.of(columns.osm_type, objects).objects()) == objects


def test_odd_numbers_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.osm.pbf"
    moment = datetime.datetime(2036, 2, 7, tzinfo=datetime.UTC)
    with osmium.SimpleWriter(str(path)) as writer:
        writer.add_node(Node(id=-9, location=(-180.0, -90.0), tags={"power": "tower", "ä": ""}))
        writer.add_node(Node(id=2, location=(0.0000001, 90.0), tags={"name": "no key"}))
        writer.add_node(Node(id=1 << 40, location=(180.0, 0.0), version=70_000, timestamp=moment))
        writer.add_way(Way(id=-5, nodes=[2, 1 << 40], tags={"highway": "x"}, version=3, timestamp=moment))
    tower, road = read(path)
    assert tower.tags == (("power", "tower"), ("ä", ""))
    assert (tower.osm_type, tower.osm_id, tower.version, tower.timestamp) == ("node", -9, 0, 0)
    assert (road.osm_type, road.osm_id, road.version) == ("way", -5, 3)
    assert road.timestamp == moment.timestamp()


def test_keys_decide_what_is_read(tmp_path: Path) -> None:
    file = OsmFile()
    file.way(1, square(LON, LAT, 0.001), landuse="forest", source="survey")
    file.way(2, square(LON, LAT, 0.002), source="survey")
    file.way(3, square(LON, LAT, 0.003)[:3], natural="tree_row")
    file.way(4, square(LON, LAT, 0.004))
    file.relation(5, [(4, "outer")], type="multipolygon", boundary="administrative")
    path = file.write(tmp_path / "a.osm.pbf")
    assert [(one.osm_type, one.osm_id) for one in read(path)] == [("way", 1), ("way", 3), ("relation", 5)]
    assert [one.osm_id for one in read(path, ("natural",))] == [3]
    assert read(path, ("nothing",)) == []


@pytest.mark.parametrize(
    ("tags", "is_polygon", "drawn"),
    [
        ({"landuse": "forest"}, True, [3]),
        ({"landuse": "forest", "highway": "residential"}, True, [3, 2]),
        ({"highway": "pedestrian;residential"}, True, [3, 2]),
        ({"highway": "pedestrian", "area": "no"}, False, [2]),
        ({"water": "pond"}, False, []),
        ({"water": "pond", "natural": "water"}, True, [3]),
        ({"natural": "coastline", "area": "yes"}, True, [2]),
        ({"historic": "moat", "waterway": "ditch"}, True, [2]),
        ({"shop": "yes"}, True, []),
    ],
)
def test_a_closed_way_is_drawn_by_its_tags_in_whichever_form_it_is(
    tmp_path: Path, tags: dict[str, str], is_polygon: bool, drawn: list[int]
) -> None:
    file = OsmFile()
    file.way(1, square(LON, LAT, 0.001), **tags)
    file.way(2, [*square(LON, LAT, 0.002)[:4], (LON, LAT)], **tags)
    ring, line = read(file.write(tmp_path / "a.osm.pbf"))
    features = DrawnFeatures(ONTOLOGY).of(ring)
    assert (ring.geometry[1] == 3, [one.geometry[1] for one in features]) == (is_polygon, drawn)
    # Ring and line have the same points, in OpenStreetMap's order.
    points = [shapely.get_coordinates(shapely.from_wkb(one.geometry)).tolist() for one in features]
    assert points == [[list(lonlat) for lonlat in square(LON, LAT, 0.001)]] * len(drawn)
    assert line.geometry[1] == 2
    assert [one.geometry[1] for one in DrawnFeatures(ONTOLOGY).of(line)] in ([], [2])


def test_closed_is_what_ends_with_the_node_that_it_begins_with(tmp_path: Path) -> None:
    path = tmp_path / "a.osm.pbf"
    places = [
        *square(LON, LAT, 0.001)[:3],
        (LON - 0.001, LAT - 0.001),
    ]  # the first and the last lie in one place
    places = [(round(lon, 7), round(lat, 7)) for lon, lat in places]
    ways = {1: [1, 2, 3, 1], 2: [1, 2, 3, 4], 3: [1, 2, 1], 4: [1, 2, 4]}
    with osmium.SimpleWriter(str(path)) as writer:
        for osm_id, place in enumerate(places, 1):
            writer.add_node(Node(id=osm_id, location=place))
        for osm_id, nodes in ways.items():
            writer.add_way(Way(id=osm_id, nodes=nodes, tags={"landuse": "forest", "highway": "track"}))
    objects = read(path)
    assert [one.geometry[1] for one in objects] == [3, 2, 3, 2]
    lines = [[place for node in nodes for place in [places[node - 1]]] for nodes in ways.values()]
    drawn = [DrawnFeatures(ONTOLOGY).of(one) for one in objects]
    # The ring of two points has no area in any map: it is left out where features are clipped.
    assert [[one.geometry[1] for one in features] for features in drawn] == [[3, 2], [2], [3, 2], [2]]
    for features, points in zip(drawn, lines, strict=True):
        assert shapely.get_coordinates(shapely.from_wkb(features[-1].geometry)).tolist() == list(
            map(list, points)
        )
    there_and_back = shapely.from_wkb(objects[2].geometry)  # as any program can read it
    assert (there_and_back.area, len(there_and_back.exterior.coords)) == (0, 4)


def test_a_store_has_the_keys_of_all_ontologies() -> None:
    assert list(STORE_KEYS) == sorted(set(STORE_KEYS))
    assert set(STORE_KEYS) >= RULED_KEYS
    for name in SHIPPED:
        assert keys_for(Ontology.load(shipped_ontology(name))) == STORE_KEYS
    assert not {"source", "created_by", "note", "name"} & set(STORE_KEYS)
    text = shipped_ontology("published").replace('"man_made"', '"lifeguard"')
    assert set(keys_for(Ontology.load(text))) == {*STORE_KEYS, "lifeguard"}


def test_padding_holds_what_any_ontology_reaches() -> None:
    assert clip_margin(MAX_DISTANCE_M) <= PADDING_M


def test_answers_of_overpass_have_versions_but_no_users(tmp_path: Path) -> None:
    file = OsmFile()
    file.way(1, square(LON, LAT, 0.003), landuse="forest")
    moment = datetime.datetime(2019, 7, 1, 12, tzinfo=datetime.UTC)
    file.ways[0] = Way(file.ways[0], version=7, timestamp=moment)
    path = file.write(tmp_path / "a.osm.pbf")
    cache = tmp_path / "cache"
    with OverpassServer(path) as server:
        found = objects_of_chip(CHIP, STORE_KEYS, server.url, cache)
        (columns,) = found.features
        (one,) = columns.objects()
        assert [one] == read(path)
        assert (one.version, one.timestamp) == (7, moment.timestamp())
        (kept,) = cache.glob("*.json.gz")
        text = gzip.decompress(kept.read_bytes()).decode()
        assert not any(word in text for word in (USER, "user", "uid", "changeset", "9000001", "9000002"))
        again = objects_of_chip(CHIP, STORE_KEYS, server.url, cache)
        assert [list(part.objects()) for part in again.features] == [[one]]
        assert len(server.queries) == 1
        # Of other keys, another answer.
        assert objects_of_chip(CHIP, ("shop",), server.url, cache).features == []
        assert len(server.queries) == 2


def test_a_full_disk_is_no_corrupt_extract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = OsmFile()
    file.way(1, square(LON, LAT, 0.001), landuse="forest")
    path = file.write(tmp_path / "a.osm.pbf")
    monkeypatch.setattr("beam_pipeline.labels.extract.free_memory", lambda: 0)
    monkeypatch.setattr("beam_pipeline.labels.node_index.free_disk", lambda folder: 1 << 20)
    with pytest.raises(TransientFault, match="--osm_index_dir") as caught:
        read(path)
    assert caught.value.reason == "no_disk"


def test_features_of_a_node_keep_its_tags_alone_that_are_looked_at() -> None:
    tower = MapObject(
        "node", 4, 1, 0, (("man_made", "water_tower"), ("name", "x")), b"\1\1\0\0\0" + bytes(16)
    )
    (feature,) = DrawnFeatures(ONTOLOGY).of(tower)
    assert (feature.tags, feature.geometry) == ((("man_made", "water_tower"),), tower.geometry)
    assert DrawnFeatures(ONTOLOGY).of(dataclasses.replace(tower, tags=(("power", "tower"),))) == []
