"""Input of others costs what it weighs: see also `tests/benchmarks/hostile_inputs.py`, which measures it."""

import gc
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import shapely

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.imagery import whole_search
from beam_pipeline.imagery.catalog import check_catalog, find_scenes
from beam_pipeline.imagery.catalog_settings import CatalogSettings
from beam_pipeline.labels.area_relations import MOST_MEMBERS
from beam_pipeline.labels.extract import read_features
from beam_pipeline.labels.feature import Feature, Found
from beam_pipeline.labels.ontology import DEFAULT_ONTOLOGY, Ontology
from beam_pipeline.labels.overpass import features_of_chip
from beam_pipeline.labels.pbf_checks import check_blocks
from beam_pipeline.labels.way_columns import MOST_WAY_NODES
from beam_pipeline.runtime.faults import InvalidInputError, PermanentFault
from beam_pipeline.runtime.retries import RetryPolicy
from beam_pipeline.runtime.traffic import Traffic
from tests.benchmarks import hostile_inputs
from tests.imagery.stac_server import Fault, StacServer
from tests.labels.osm_file import LonLat, OsmFile, square
from tests.labels.overpass_server import OverpassServer
from tests.labels.raw_pbf import held, raw_blob, signed, write_raw_pbf

ONTOLOGY = Ontology.load(DEFAULT_ONTOLOGY.read_text())
CHIP = ChipWindow(32632, 539_460, 5_220_060)
LON, LAT = 9.5327, 47.1413  # the middle of CHIP
ONCE = RetryPolicy(attempts=1)


def read(path: Path) -> Found[Feature]:
    return Found.all_of(read_features(path, ONTOLOGY))


def to_and_fro(refs: int) -> list[LonLat]:
    return list(itertools.islice(itertools.cycle([(LON, LAT), (LON + 0.001, LAT)]), refs))


def hostile(name: str, folder: Path) -> Path:
    hostile_inputs.make(name, folder)
    return folder / "a.osm.pbf"


def zigzag(nodes: int) -> list[LonLat]:
    return [(round(LON + 1e-6 * i, 7), round(LAT + 1e-4 * (i % 2), 7)) for i in range(nodes)]


def test_ways_of_more_nodes_than_openstreetmap_has_are_dropped_and_counted(tmp_path: Path) -> None:
    file = OsmFile()
    file.way(1, zigzag(MOST_WAY_NODES), highway="trunk")
    file.way(2, zigzag(MOST_WAY_NODES + 1), highway="trunk")
    file.way(3, to_and_fro(MOST_WAY_NODES + 1), landuse="forest")
    file.relation(4, [(3, "outer")], type="multipolygon", landuse="forest")
    path = file.write(tmp_path / "a.osm.pbf")
    found = read(path)
    assert [feature.osm_id for feature in found.features] == [1]
    assert found.dropped.counts == {"long_way": 2, "incomplete_relation": 1}
    with OverpassServer(path) as server:
        answered = features_of_chip(CHIP, ONTOLOGY, server.url, tmp_path / "cache")
    assert [feature.osm_id for feature in answered.features] == [1]
    assert answered.dropped == found.dropped


def test_a_way_that_fills_a_block_is_long_too(tmp_path: Path) -> None:
    refs = 4_000_000  # with the locations of its nodes it would be too large for a block
    way = held(3, b"\x08\x07" + held(2, b"\1") + held(3, b"\2") + held(8, signed(1) + b"\1\2" * (refs // 2)))
    texts = held(1, b"".join(held(1, text) for text in (b"", b"highway", b"trunk")))
    path = tmp_path / "a.osm.pbf"
    write_raw_pbf(path, square(LON, LAT, 0.001), {"landuse": "forest"}, (9.0, 47.0, 10.0, 48.0))
    content = texts + held(2, way)
    path.write_bytes(path.read_bytes() + raw_blob(b"OSMData", content))
    found = read(path)
    assert ([feature.osm_id for feature in found.features], found.dropped.counts) == ([1], {"long_way": 1})


def test_a_relation_of_more_members_than_openstreetmap_has_is_dropped_and_counted(tmp_path: Path) -> None:
    for members, dropped in ((MOST_MEMBERS, {}), (MOST_MEMBERS + 1, {"long_relation": 1})):
        file = OsmFile()
        file.way(1, square(LON, LAT, 0.002))
        file.relation(2, [(1, "outer")] * members, type="multipolygon", landuse="forest")
        found = read(file.write(tmp_path / f"{members}.osm.pbf"))
        assert (len(found.features), found.dropped.counts) == (not dropped, dropped)


@pytest.mark.parametrize(
    ("name", "dropped"),
    [
        ("way of 200,000 refs", {"long_way": 1}),
        ("ways across ways", {"tangled_relation": 1}),
        ("ways round 20 nodes", {"tangled_relation": 1}),
    ],
)
def test_what_would_take_long_to_assemble_is_dropped_and_counted(
    tmp_path: Path, name: str, dropped: dict[str, int]
) -> None:
    found = read(hostile(name, tmp_path))
    assert (found.features, found.dropped.counts) == ([], dropped)


def test_a_tangled_relation_costs_no_other(tmp_path: Path) -> None:
    file = OsmFile()
    corners = [(LON + 0.001 * i, LAT + 0.0001 * i * (12 - i)) for i in range(12)]
    number = itertools.count(1)
    for here, there in itertools.pairwise([*corners, corners[0]]):
        for k in range(4):
            over = (round((here[0] + there[0]) / 2, 7), round(LAT + 0.01 + 0.001 * k + here[0] - LON, 7))
            file.way(next(number), [here, over, there])
    tangled = [(way.id, "outer") for way in file.ways]
    file.way(99, square(LON, LAT, 0.001))
    for osm_id in range(1, 9):
        file.relation(
            osm_id, tangled if osm_id < 8 else [(99, "outer")], type="multipolygon", landuse="forest"
        )
    found = read(file.write(tmp_path / "a.osm.pbf"))
    assert [feature.osm_id for feature in found.features] == [8]
    assert found.dropped.counts == {"tangled_relation": 7}


def test_rings_that_touch_are_assembled_as_ever(tmp_path: Path) -> None:
    # Holes that touch each other and the outer ring in nodes: the assembler has to search its way through them.
    file = OsmFile()
    corners = [(round(LON + 0.001 * i, 7), LAT) for i in range(7)]
    outer = [corners[0], (LON, LAT + 0.01), (LON + 0.006, LAT + 0.01), corners[-1], (LON + 0.003, LAT - 0.01)]
    file.way(1, [*outer, outer[0]])
    for number, (west, east) in enumerate(itertools.pairwise(corners), 2):
        middle = (west[0] + east[0]) / 2
        hole = [west, (round(middle, 7), LAT + 0.001), east, (round(middle, 7), LAT - 0.001)]
        file.way(number, [*hole, hole[0]])
    members = [(1, "outer"), *((number, "inner") for number in range(2, 8))]
    file.relation(9, members, type="multipolygon", landuse="forest")
    found = read(file.write(tmp_path / "a.osm.pbf"))
    assert not found.dropped.counts
    (forest,) = found.features
    expected = shapely.Polygon(outer).area - 6 * 0.001 * 0.002 / 2
    assert shapely.from_wkb(forest.geometry).area == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("name", "problem"),
    [("dense nodes", "10 times its size|more than 1000000 objects"), ("long tags", "256 MiB of memory")],
)
def test_a_file_that_is_made_to_fill_memory_is_refused(tmp_path: Path, name: str, problem: str) -> None:
    path = hostile(name, tmp_path)
    for look in (check_blocks, read):
        with pytest.raises(PermanentFault, match=problem) as caught:
            look(path)
        assert caught.value.reason == "corrupt_extract"


def heavy_items(count: int, ballast: int) -> str:
    return json.dumps(
        {"type": "FeatureCollection", "features": [{"properties": {"x": [{}] * ballast}}] * count}
    )


def test_an_answer_that_takes_much_memory_is_refused_unparsed(tmp_path: Path) -> None:
    text = heavy_items(1, 900_000)
    with StacServer([]) as server:
        server.faults.append(Fault("/search", 200, text))
        with pytest.raises(PermanentFault, match=r"heavy_answer.* 256 MiB"):
            find_scenes(CatalogSettings(server.url, "c"), "33TWN", 2020, 0, retry=ONCE)
        server.faults.append(Fault("/v1", 200, text))
        with pytest.raises(InvalidInputError, match="256 MiB"):
            check_catalog(CatalogSettings(server.url, "c"), ONCE)
    with OverpassServer(OsmFile().write(tmp_path / "a.osm.pbf")) as overpass:
        overpass.refusals.append((200, {}, heavy_items(1, 1_800_000)))
        with pytest.raises(PermanentFault, match=r"heavy_answer.* 512 MiB"):
            features_of_chip(CHIP, ONTOLOGY, overpass.url, tmp_path / "cache", retry=ONCE)
    path = tmp_path / "items.json"
    path.write_text(text)
    with pytest.raises(InvalidInputError, match="many small values") as caught:
        check_catalog(CatalogSettings(str(path), "c"))
    assert "no JSON" not in str(caught.value)


def pages(url: str, count: int, ballast: int = 0) -> list[Fault]:
    """Answers of ten items each, one of which leads to the next."""

    def page(number: int) -> Iterator[dict[str, Any]]:
        for i in range(10):
            properties = {
                "grid:code": "MGRS-33TWN",
                "datetime": "2020-02-02T10:00:00Z",
                "ballast": [0] * ballast,
            }
            yield {"type": "Feature", "id": f"{number}-{i}", "properties": properties, "assets": {}}

    following = {"rel": "next", "href": f"{url}/search", "method": "POST", "body": {}}
    return [
        Fault(
            "/search",
            200,
            json.dumps(
                {
                    "features": list(page(n)),
                    "links": [following] * (n + 1 < count),
                    "numberMatched": 10 * count,
                }
            ),
        )
        for n in range(count)
    ]


def test_a_search_of_more_items_or_bytes_than_a_tile_has_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    for bound, most in (("MOST_SEARCH_ITEMS", 99), ("MOST_SEARCH_BYTES", 15_000)):
        with StacServer([]) as server, monkeypatch.context() as patch:
            server.faults += pages(server.url, 10)
            patch.setattr(whole_search, bound, most)
            with pytest.raises(PermanentFault, match="endless_search"):
                find_scenes(CatalogSettings(server.url, "c"), "33TWN", 2020, 0, retry=ONCE)
    with StacServer([]) as server:
        server.faults += pages(server.url, 10)
        found = find_scenes(CatalogSettings(server.url, "c"), "33TWN", 2020, 0, retry=ONCE)
    assert found.found == 100


class _Watched(Traffic):
    """Counts the items that are in memory whenever something is asked for."""

    most = 0

    def turn(self, requests: int = 1) -> None:
        held = sum(type(one) is dict and "ballast" in one for one in gc.get_objects())
        self.most = max(self.most, held)
        super().turn(requests)


def test_a_search_holds_no_more_than_two_pages_of_items() -> None:
    traffic = _Watched()
    with StacServer([]) as server:
        server.faults += pages(server.url, 12, ballast=1)
        find_scenes(CatalogSettings(server.url, "c"), "33TWN", 2020, 0, retry=ONCE, traffic=traffic)
    assert 10 <= traffic.most <= 40  # of 120; a page is held as it came, and as it was checked
