"""Objects of an extract that are left out: they are counted, and the first of them are named."""

from pathlib import Path

import osmium
import pytest
import shapely

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.labels.extract import features_of_cells, read_features
from beam_pipeline.labels.feature import MOST_NAMED, Dropped, DroppedTally, Feature, Found, deduplicate
from beam_pipeline.labels.ontology import DEFAULT_ONTOLOGY, Ontology
from beam_pipeline.labels.overpass import features_of_chip
from tests.labels.osm_file import OsmFile, square
from tests.labels.overpass_server import OverpassServer

ONTOLOGY = Ontology.load(DEFAULT_ONTOLOGY.read_text())
CHIP = ChipWindow(32632, 539_460, 5_220_060)
LON, LAT = 9.5327, 47.1413  # the middle of CHIP


def read(path: Path) -> Found[Feature]:
    return Found.all_of(read_features(path, ONTOLOGY))


def road(row: int) -> list[tuple[float, float]]:
    return [(round(LON + 0.001 * i, 7), round(LAT + 0.001 * row, 7)) for i in range(5)]


@pytest.mark.parametrize("located", [False, True])
def test_a_way_is_left_out_whichever_of_its_nodes_is_missing(tmp_path: Path, located: bool) -> None:
    file = OsmFile()
    missing = [(), (0,), (2,), (4,), (0, 1), (0, 4), (0, 1, 2, 3), (0, 1, 2, 3, 4)]
    for number in range(1, len(missing) + 1):
        file.way(number, road(number), highway="residential")
    ring = square(LON, LAT, 0.0001)
    file.way(20, ring, building="yes")
    for lonlat in (*(road(number)[i] for number, gone in enumerate(missing, 1) for i in gone), ring[0]):
        del file.nodes[lonlat]
    path = file.write(tmp_path / "a.osm.pbf")
    if located:
        plain, path = path, tmp_path / "located.osm.pbf"
        with osmium.SimpleWriter(osmium.io.File(str(path), "pbf,locations_on_ways=true")) as writer:
            locations = osmium.NodeLocationsForWays(osmium.index.create_map("flex_mem"))
            locations.ignore_errors()
            for entity in osmium.FileProcessor(str(plain)).with_filter(locations):
                writer.add(entity)
    found = read(path)
    assert [one.osm_id for one in found.features] == [1]
    names = (*(f"way/{number}" for number in range(2, len(missing) + 1)), "way/20")
    assert found.dropped == Dropped({"incomplete_way": len(missing)}, {"incomplete_way": names})


def test_what_has_no_line_is_counted(tmp_path: Path) -> None:
    file = OsmFile()
    file.way(1, [(LON, LAT), (LON, LAT)], highway="trunk")
    file.way(2, [(LON, LAT)], highway="trunk")
    file.way(3, [], highway="trunk")
    file.way(4, [(LON, LAT)], name="nothing that is drawn")
    found = read(file.write(tmp_path / "a.osm.pbf"))
    assert found == Found([], Dropped({"degenerate_way": 3}, {"degenerate_way": ("way/1", "way/2", "way/3")}))


def test_the_first_of_each_reason_are_named_and_all_are_counted(tmp_path: Path) -> None:
    file = OsmFile()
    for number in range(1, 31):
        file.way(number, road(number)[:3], highway="trunk")
    file.way(90, square(LON, LAT, 0.004)[:3])
    for number in range(1, 26):
        file.relation(number, [(90 + number % 2, "outer")], type="multipolygon", landuse="forest")
    for number in range(1, 31):
        del file.nodes[road(number)[0]]
    path = file.write(tmp_path / "a.osm.pbf")
    ways = tuple(f"way/{number}" for number in range(1, MOST_NAMED + 1))
    expected = Dropped(
        {"incomplete_way": 30, "incomplete_relation": 13, "broken_relation": 12},
        {
            "incomplete_way": ways,
            "incomplete_relation": tuple(f"relation/{number}" for number in range(1, 26, 2)),
            "broken_relation": tuple(f"relation/{number}" for number in range(2, 25, 2)),
        },
    )
    assert read(path).dropped == expected
    for chips in ({}, {4: CHIP}):
        assert Found.all_of(features_of_cells(path, chips, ONTOLOGY)).dropped == expected


def test_an_answer_of_overpass_is_left_out_of_alike(tmp_path: Path) -> None:
    file = OsmFile()
    file.way(1, road(0)[:3], highway="trunk")
    file.way(2, road(1), highway="trunk")
    file.way(3, [(LON, LAT), (LON, LAT)], highway="trunk")
    path = file.write(tmp_path / "a.osm.pbf")
    with OverpassServer(path) as server:
        found = features_of_chip(CHIP, ONTOLOGY, server.url, tmp_path / "cache")
    assert [one.osm_id for one in found.features] == [1, 2]
    assert found.dropped == Dropped({"degenerate_way": 1}, {"degenerate_way": ("way/3",)})


def test_a_tally_keeps_the_first() -> None:
    tally = DroppedTally()
    for number in range(MOST_NAMED - 1):
        tally.add("tangled", "way", number)
    tally.update(Dropped({"tangled": 40, "broken_relation": 1}, {"tangled": ("way/98", "way/99")}))
    dropped = tally.dropped()
    assert dropped.counts == {"broken_relation": 1, "tangled": MOST_NAMED + 39}
    assert dropped.named["tangled"][-2:] == (f"way/{MOST_NAMED - 2}", "way/98")
    assert len(dropped.named["tangled"]) == MOST_NAMED


def test_of_a_closed_way_the_area_and_the_line_are_both_kept() -> None:
    ring = square(LON, LAT, 0.001)
    line, area, split = (
        Feature("way", 7, (("highway", "service"),), shapely.to_wkb(geometry))
        for geometry in (
            shapely.LineString(ring),
            shapely.Polygon(ring),
            shapely.MultiPolygon([shapely.box(0, 0, 1e-5, 1e-5)]),
        )
    )
    point = Feature("way", 7, (), shapely.to_wkb(shapely.MultiPoint([(0, 0), (1, 1)])))
    for copies in ([area, line, split, point, area, line], [point, split, line, area]):
        assert deduplicate(copies) == [point, line, area]
