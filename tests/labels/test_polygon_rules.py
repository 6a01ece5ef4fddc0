from pathlib import Path

import numpy as np
import osmnx
import pytest
import shapely

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.labels.extract import features_of_cells
from beam_pipeline.labels.feature import Found, deduplicate
from beam_pipeline.labels.ontology import DEFAULT_ONTOLOGY, Ontology
from beam_pipeline.labels.polygon_rules import makes_area, tags_of_closed_way
from beam_pipeline.labels.rasterize import rasterize
from tests.labels.osm_file import OsmFile, square

ONTOLOGY = Ontology.load(DEFAULT_ONTOLOGY.read_text())
CHIP = ChipWindow(32632, 539_460, 5_220_060)
LON, LAT = 9.5327, 47.1413  # the middle of CHIP
DRAWN = {"building", "highway", "landuse", "leisure", "natural", "water", "waterway"}

OTHER_THAN_OSMNX = {("highway", "pedestrian"): True, ("leisure", "track"): False}


def test_the_rules_are_those_of_osmnx_but_for_those_that_are_said() -> None:
    rules = osmnx.features._POLYGON_FEATURES
    values = {"yes", "anything", "pedestrian", "track"}.union(
        *(rule.get("values", set()) for rule in rules.values())
    )
    differing = set()
    for key in {*rules, "barrier", "bridge", "name", "surface", "water"}:
        assert not makes_area(key, "no")
        for value in values - {"no"}:
            rule = rules.get(key, {})
            listed = value in rule.get("values", set())
            theirs = {"all": True, "passlist": listed, "blocklist": not listed}.get(
                rule.get("polygon"), False
            )
            if makes_area(key, value) != theirs:
                differing.add((key, value))
                assert makes_area(key, value) == OTHER_THAN_OSMNX[key, value]
    assert differing == set(OTHER_THAN_OSMNX)


@pytest.mark.parametrize(
    ("tags", "area", "line"),
    [
        ({"building": "yes"}, {"building"}, set()),
        ({"highway": "service", "building": "no"}, set(), {"highway", "building"}),
        ({"highway": "service", "landuse": "no"}, set(), {"highway", "landuse"}),
        ({"highway": "service", "historic": "yes"}, set(), {"highway"}),
        ({"highway": "footway", "leisure": "park"}, {"leisure"}, {"highway"}),
        ({"highway": "track", "natural": "wood"}, {"natural"}, {"highway"}),
        ({"highway": "service", "area": "yes"}, {"highway"}, set()),
        ({"highway": "pedestrian"}, {"highway"}, set()),
        ({"highway": "pedestrian", "area": "no"}, set(), {"highway"}),
        ({"waterway": "ditch", "historic": "moat"}, set(), {"waterway"}),
        ({"waterway": "ditch", "historic": "moat", "area": "yes"}, {"waterway"}, set()),
        ({"waterway": "ditch", "historic": "moat", "water": "moat"}, set(), {"waterway", "water"}),
        ({"natural": "water", "water": "moat"}, {"natural", "water"}, set()),
        ({"natural": "water", "water": "pond", "building": "no"}, {"natural", "water"}, {"building"}),
        ({"landuse": "basin", "water": "basin"}, {"landuse", "water"}, set()),
        ({"boundary": "protected_area", "water": "lake"}, {"water"}, set()),
        ({"historic": "no", "water": "lake"}, set(), {"water"}),
        ({"leisure": "track"}, set(), {"leisure"}),
        ({"leisure": "track", "area": "yes"}, {"leisure"}, set()),
        ({"leisure": "pitch", "area": "no"}, set(), {"leisure"}),
        ({"natural": "coastline", "landuse": "forest", "place": "island"}, {"landuse"}, {"natural"}),
        ({"natural": "coastline", "area": "yes"}, {"natural"}, {"natural"}),
        ({"natural": "coastline", "area": "no"}, set(), {"natural"}),
        ({"water": "pond"}, set(), {"water"}),
    ],
)
def test_a_key_that_is_drawn_makes_its_own_kind(tags: dict[str, str], area: set[str], line: set[str]) -> None:
    of_area, of_line = tags_of_closed_way({**tags, "name": "x"}, DRAWN)
    assert (of_area.keys() & DRAWN, of_line.keys() & DRAWN) == (area, line)
    assert of_area.items() | of_line.items() <= {**tags, "name": "x"}.items()
    # What is not drawn may forbid drawing, so it goes with both.
    for kind in (of_area, of_line):
        assert not kind.keys() & DRAWN or kind["name"] == "x"


def test_a_coastline_is_a_line_whatever_is_said_of_its_area(tmp_path: Path) -> None:
    file = OsmFile()
    file.way(7, square(LON, LAT, 0.0018), natural="coastline", area="yes", landuse="forest")
    found = Found.all_of(features_of_cells(file.write(tmp_path / "a.osm.pbf"), {1: CHIP}, ONTOLOGY))
    image = rasterize([it for _, it in found.features], CHIP, ONTOLOGY, none_labels=True, sea_known=False)
    assert image.coastal
    # The sea begins around the wood, and nobody knows where it ends.
    assert set(image.pixels[image.pixels[..., 0] == 0, 1]) == {254}
    assert set(image.pixels[image.pixels[..., 0] != 0, 1]) == {255}


def test_of_several_values_each_makes_its_own_kind() -> None:
    area, line = tags_of_closed_way({"highway": "pedestrian; service", "natural": "wood;cliff"}, DRAWN)
    assert area == {"highway": "pedestrian", "natural": "wood"}
    assert line == {"highway": " service", "natural": "cliff"}


def labels_of(path: Path, **tags: str) -> np.ndarray:
    """The label image of one closed way, a square of 40 x 40 pixels."""
    file = OsmFile()
    file.way(7, square(LON, LAT, 0.0018), **tags)
    found = Found.all_of(features_of_cells(file.write(path / "a.osm.pbf"), {1: CHIP}, ONTOLOGY))
    features = deduplicate(feature for _, feature in found.features)
    assert {(feature.osm_type, feature.osm_id) for feature in features} == {("way", 7)}
    return rasterize(features, CHIP, ONTOLOGY, none_labels=False, sea_known=False).pixels


@pytest.mark.parametrize(
    ("tags", "inside", "ring"),
    [
        ({"highway": "service", "building": "no"}, (255, 255, 255), (255, 13, 255)),
        ({"highway": "service", "leisure": "park"}, (5, 255, 255), (5, 13, 255)),
        ({"highway": "pedestrian"}, (255, 13, 255), (255, 13, 255)),
        ({"waterway": "ditch", "historic": "moat"}, (255, 255, 255), (255, 12, 255)),
        ({"waterway": "ditch", "building": "yes"}, (255, 255, 14), (255, 12, 14)),
    ],
)
def test_a_closed_way_is_drawn_by_the_key_that_is_drawn(
    tmp_path: Path, tags: dict[str, str], inside: tuple[int, ...], ring: tuple[int, ...]
) -> None:
    pixels = labels_of(tmp_path, **tags)
    assert tuple(pixels[96, 96]) == inside
    middle = shapely.Point(CHIP.left + 960, CHIP.bottom + 960)
    assert middle.distance(shapely.box(*CHIP.bounds)) == 0
    row = pixels[96]
    (east,) = {
        int(np.flatnonzero(row[:, channel] != 255)[-1]) for channel in range(3) if ring[channel] != 255
    }
    assert tuple(row[east]) == ring
    assert 105 < east < 120  # 0.0018 degrees are 13 to 14 pixels
