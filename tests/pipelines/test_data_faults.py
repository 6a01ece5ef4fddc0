"""Damaged images, items and maps, each through the whole pipeline: what they cost is known to the cell-year.

Where else each is shown; what a build could add nothing to is shown there alone:

| fault | here | elsewhere |
|---|---|---|
| corrupt block | images | test_cog.py::test_garbled_block_is_corrupt_for_its_chips_only |
| truncated file | images | test_cog.py, test_offset_check.py; of a map: here, test_bad_input.py |
| wrong size: cropped, of another pixel size | images | test_cog.py::test_unfit_rasters_are_refused |
| wrong place or zone | images (another tile's) | test_bad_input.py::test_unusable_scenes_give_way_to_the_next_date |
| all no data: every asset, or the bands alone | images | test_chips.py::test_no_data_is_a_zero_in_every_band |
| missing band: the asset | images | the file: test_bad_input.py, test_chaos.py |
| jp2 and s3:// hrefs | images | test_scenes.py::test_hrefs_that_cannot_be_read |
| SCL absent | images | test_bad_input.py |
| footprint that claims the world | | test_antimeridian.py, test_real_servers.py (builds), test_catalog.py |
| items of another tile | its rasters | its items: test_antimeridian.py, test_real_servers.py, test_catalog.py |
| two granules of one datatake | images | test_scenes.py, test_chips.py::test_two_scenes_of_one_date_are_never_a_pair |
| self-crossing polygon | map | test_extract.py::test_self_crossing_closed_ways_are_repaired |
| relation or way cut at the edge | map | test_extract.py::test_what_is_incomplete_or_broken_is_... |
| polygon that crosses itself thousands of times | map | test_repair.py |
| tag with a NUL | map | test_pbf_blocks.py |
| tags of 10 kB, keys that no ontology knows | map | test_extract.py::test_a_tag_of_10_kb_is_said_to_be_too_long |
| unknown keys in an ontology | ontology | test_ontology.py::test_a_bad_file_is_refused_where_it_is_bad |
| a cell with 50,000 features | map | tests/benchmarks/rasterize_labels.py: time by number |
"""

import collections
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import osmium
import pyproj
import pytest

from beam_pipeline.build_dataset import main
from beam_pipeline.cells.cell import Cell
from beam_pipeline.cells.table import parse_cells_csv
from beam_pipeline.dataset.commits import read_summary
from beam_pipeline.dataset.folder import DatasetFolder
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.labels.ontology import DEFAULT_ONTOLOGY
from beam_pipeline.records.example import decode
from beam_pipeline.records.schema import NONE, UNLABELED
from beam_pipeline.sample_world import SampleWorld
from beam_pipeline.verify import main as verify
from tests.labels.raw_pbf import write_raw_pbf
from tests.pipelines.conftest import Built, build, flags
from tests.pipelines.damage import Catalogue, MapAdditions, Usable, expected_dates, shows

CellYearKey = tuple[int, int]
RECREATION, BUILDING = 5, 14
MANY = 50_000


def rejected(built: Built) -> dict[CellYearKey, str]:
    summaries = [read_summary(DatasetFolder(BeamFiles(), str(built.folder)), name) for name in built.shards]
    return {key: reason for it in summaries for reason, keys in it.rejections.items() for key in keys}


def planned(world: SampleWorld) -> set[CellYearKey]:
    return {(cell_id, year) for cell_id in cells_of(world) for year in world.years}


def cells_of(world: SampleWorld) -> dict[int, Cell]:
    return {cell.cell_id: cell for cell in parse_cells_csv(world.cells_csv.read_text(), "cells.csv")}


def check_touched(after: Built, built: Built, world: SampleWorld, damaged: set[tuple[str, int]]) -> None:
    """Checks that the damage hit what it should, and that the rest is what it was to the byte."""
    cells = cells_of(world)
    now, before = after.records(), built.records()
    for year in world.years:
        for tile in {cell.tile for cell in cells.values()}:
            keys = {(cell.cell_id, year) for cell in cells.values() if cell.tile == tile}
            same = {key: now.get(key) for key in keys} == {key: before.get(key) for key in keys}
            assert same != ((tile, year) in damaged), (tile, year)


def check_walked(
    after: Built, clean: Catalogue, world: SampleWorld, unusable: dict[str, Usable], origin: dict[str, str]
) -> collections.Counter[str]:
    """Each cell-year has exactly the dates that the walk leads to, with the pixels that are there, or is rejected.

    Returns how often each item was used.
    """
    cells, now = cells_of(world), after.records()
    refusals, used = rejected(after), collections.Counter[str]()
    assert refusals.keys() | now.keys() == planned(world)
    assert not refusals.keys() & now.keys()
    for (cell_id, year), cell in ((key, cells[key[0]]) for key in sorted(refusals.keys() | now.keys())):
        expected = expected_dates(after.folder, clean, cell, year, unusable, origin)
        if len(expected) < 2:
            reason = ("no_clear_date", "one_clear_date")[len(expected)]
            assert refusals.get((cell_id, year)) == reason, (cell_id, year)
            continue
        example = decode(now[cell_id, year])
        assert [image.item_id for image in example.images] == expected
        for image in example.images:
            assert shows(image, clean, origin.get(image.item_id, image.item_id), cell.chip)
            used[image.item_id] += 1
    return used


def test_broken_images_cost_exactly_their_dates(
    built: Built, world: SampleWorld, world_copy: Callable[[], SampleWorld], tmp_path: Path
) -> None:
    broken_world = world_copy()
    clean, broken = Catalogue(world), Catalogue(broken_world)
    noted: dict[str, str] = {}
    unusable: dict[str, Usable] = {}
    origin: dict[str, str] = {}

    def never(chip: Any) -> bool:
        return True

    def refused(item_id: str, reason: str, usable: Usable = never) -> None:
        noted[item_id], unusable[item_id] = reason, usable

    # 23SQC, 2021: hrefs that lead to JPEG 2000 and to a bucket where the reader pays.
    item_id = broken.of("23SQC", "20211013")
    with broken.editing(item_id) as item:
        item["assets"]["red"]["href"] = "https://example.org/B04.jp2"
    refused(item_id, "unreadable_href")
    item_id = broken.of("23SQC", "20210116")
    with broken.editing(item_id) as item:
        item["assets"]["scl"]["href"] = "s3://sentinel-s2-l2a/tiles/23/S/QC/SCL.tif"
    refused(item_id, "unreadable_href")

    # 24STH, 2021: no SCL; of a date that was processed twice, the later one lacks a band, so the earlier stands in.
    item_id = broken.of("24STH", "20210421")
    with broken.editing(item_id) as item:
        del item["assets"]["scl"]
    refused(item_id, "no_scl")
    item_id = broken.of("24STH", "20210720", 1)
    with broken.editing(item_id) as item:
        del item["assets"]["nir08"]
    refused(item_id, "missing_asset")
    first_processing = broken.of("24STH", "20210720", 0)

    # 24STH, 2022: nothing but no data, in all assets and in the bands alone. That is no fault of the file.
    bands = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
    for date, blank in (("20220725", (*bands, "SCL")), ("20220210", bands)):
        unusable[broken.of("24STH", date)] = never
        broken.blank(broken.of("24STH", date), blank)

    # 23SQD, 2022: cut short is a band whose whole is looked at before a chip takes it: its item's flag may be wrong.
    item_id = broken.of("23SQD", "20220511")
    path = broken.raster(item_id, "B03")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 8])
    refused(item_id, "corrupt")

    # Everywhere: the flag says that the offset is there, and it is not. 23SQC, 2022: no flag says that it is not.
    gone = {broken.of(tile, "20221107") for tile in ("23SQC", "23SQD", "24STH", "24STJ")}
    for item_id in set(broken.ids("23SQC", 2022)) - {
        broken.of("23SQC", "20220210")
    }:  # snow shows nothing dark
        with broken.editing(item_id) as item:
            del item["properties"]["earthsearch:boa_offset_applied"]
        if item_id != broken.of("23SQC", "20220511"):
            gone.add(item_id)
    unusable |= dict.fromkeys(gone, never)

    # 24STJ, 2021: a block that cannot be unpacked, a file cut short, the rasters of another tile.
    item_id = broken.of("24STJ", "20210421")
    _, bottom, right, _ = broken.spoil_block(item_id, "B08")
    refused(item_id, "corrupt", lambda chip: chip.left < right and chip.top > bottom)
    item_id = broken.of("24STJ", "20210620")
    path = broken.raster(item_id, "B11")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    refused(item_id, "corrupt")
    item_id, other = broken.of("24STJ", "20210526"), broken.of("23SQD", "20210526")
    with broken.editing(item_id) as item:
        for asset in item["assets"].values():
            asset["href"] = f"../{other}/{Path(asset['href']).name}"
    refused(item_id, "wrong_crs")

    # 24STJ, 2022: a raster without its east, and one of pixels twice as large.
    item_id = broken.of("24STJ", "20220511")
    broken.repaint(item_id, "B08", lambda pixels, transform: (pixels[:, :400], transform))
    refused(item_id, "outside", lambda chip: chip.right > 238_680 + 4_000)
    item_id = broken.of("24STJ", "20220317")
    broken.repaint(
        item_id, "B03", lambda pixels, transform: (pixels[::2, ::2], transform @ transform.scale(2))
    )
    refused(item_id, "misaligned")

    # 23SQD, 2021: two granules of one datatake, cut between cells and through others; few other dates.
    kept = [broken.of("23SQD", date) for date in ("20210526", "20211013", "20210421", "20211202")]
    for item_id in set(broken.ids("23SQD", 2021)) - set(kept):
        broken.remove(item_id)
    west = kept[1]
    east, cut = west.replace("_0_L2A", "_1_L2A"), 757_800
    broken.twin(west, east)
    origin[east] = west
    with broken.editing(east) as item:
        strip = item["properties"]["s2:datastrip_id"]
        item["properties"]["s2:datastrip_id"] = strip.replace("_S20211013T134212", "_S20211013T134158")
        assert item["properties"]["s2:datastrip_id"] != strip
    broken.blank(west, (*bands, "SCL"), (cut, 1e7))
    broken.blank(east, (*bands, "SCL"), (0, cut))
    unusable |= {west: lambda chip: chip.right > cut, east: lambda chip: chip.left < cut}

    after = build(broken_world, tmp_path / "set")

    assert after.code == 0
    assert verify([str(after.folder)]) == 0
    assert after.dead_letters == []
    notes = {note["item_id"]: note["reason"] for note in after.dataset["unusable_scenes"]}
    # Whether a walk leads to a date whose offset is contradicted depends on the dates before.
    contradicted = {item_id: reason for item_id, reason in notes.items() if item_id in gone}
    assert set(contradicted.values()) == {"offset_contradicted"}
    assert len(contradicted) > 4
    assert notes == noted | contradicted
    assert str(tmp_path) not in (after.folder / "dataset.json").read_text()

    check_touched(
        after,
        built,
        world,
        {
            ("23SQC", 2021),
            ("23SQC", 2022),
            ("24STH", 2021),
            ("24STH", 2022),
            ("24STJ", 2021),
            ("24STJ", 2022),
            ("23SQD", 2021),
            ("23SQD", 2022),
        },
    )
    used = check_walked(after, clean, world, unusable, origin)
    # Nothing of this is true of nothing: each damage that holds for some chips only was met by others.
    for item_id in (
        west,
        east,
        first_processing,
        broken.of("24STJ", "20210421"),
        broken.of("24STJ", "20220511"),
    ):
        assert used[item_id], item_id


def inner_bounds(cell: Cell) -> tuple[float, float, float, float]:
    """Bounds in degrees around the middle of a cell, which meet no other."""
    lon, lat = (cell.min_lon + cell.max_lon) / 2, (cell.min_lat + cell.max_lat) / 2
    return lon - 1e-3, lat - 1e-3, lon + 1e-3, lat + 1e-3


class Place:
    """A cell's chip: from pixels to degrees, and what lies inside in pixels."""

    def __init__(self, cell: Cell) -> None:
        self.chip = cell.chip
        self._to_degrees = pyproj.Transformer.from_crs(cell.chip.epsg, 4326, always_xy=True)

    def degrees(self, columns_rows: Any) -> np.ndarray:
        """(N, 2) columns and rows in pixels of 10 m from the upper left -> longitude and latitude."""
        columns, rows = np.asarray(columns_rows, float).T
        x, y = self.chip.left + 10 * columns, self.chip.top - 10 * rows
        return np.stack(self._to_degrees.transform(x, y), axis=-1)

    def ring(self, west: float, north: float, east: float, south: float) -> np.ndarray:
        corners = [(west, north), (east, north), (east, south), (west, south), (west, north)]
        return self.degrees(corners)


def categories(label: np.ndarray) -> np.ndarray:
    """A label image without what the `none` table says of it."""
    return np.where(label == NONE, UNLABELED, label)


def drawn(before: np.ndarray, inside: np.ndarray, value: int, channel: int) -> np.ndarray:
    """The categories of a label image with one on top."""
    after = before.copy()
    after[..., channel][inside] = value
    return after


def test_a_broken_map_costs_exactly_its_shapes(built: Built, world: SampleWorld, tmp_path: Path) -> None:
    # Eight cells make a quick build; the records are those that they are among all cells.
    few = [*range(112_387_737, 112_387_741), 112_404_023, 112_436_582, 112_452_850, 112_452_854]
    broken_world = dataclasses.replace(
        world, cells_csv=tmp_path / "cells.csv", osm_extract=tmp_path / "map.osm.pbf"
    )
    lines = world.cells_csv.read_text().splitlines(keepends=True)
    kept = [lines[0], *(line for line in lines[1:] if int(line.partition(",")[0]) in few)]
    broken_world.cells_csv.write_text("".join(kept))
    cells = cells_of(broken_world)
    assert sorted(cells) == few
    added = MapAdditions()
    before = {key: decode(payload) for key, payload in built.records().items()}
    label = {cell_id: categories(example.label) for (cell_id, _), example in before.items()}
    expected = dict(label)
    rows, columns = np.mgrid[:192, :192] + 0.5

    # A park that crosses itself: two triangles that meet in a point at (100, 80).
    crossing = 112_387_737
    place = Place(cells[crossing])
    corners = [(40, 30.2), (160, 129.8), (160, 30.2), (40, 129.8), (40, 30.2)]
    added.way(place.degrees(corners), {"leisure": "park"})
    across, down = np.abs(columns - 100), np.abs(rows - 80)
    inside = (across < 60) & (down * 60 < across * 49.8)
    expected[crossing] = drawn(label[crossing], inside, RECREATION, 0)

    # Parks of which a member, a node or the end of the ring lies beyond the extract: dropped whole.
    cut = 112_387_738
    place = Place(cells[cut])
    half = added.way(place.ring(20, 20, 90, 90)[:3], {})
    park = {"type": "multipolygon", "leisure": "park"}
    added.relation([("w", half, "outer"), ("w", 99_999_999, "outer")], park)
    added.relation([("w", half, "outer")], park)
    added.way(place.ring(100, 100, 150, 150), {"leisure": "park"}, extra_refs=(99_999_999,))

    # Tags as long as they may be, 255 signs of 4 bytes: any value makes a building; a name and a key change nothing.
    long = 112_387_739
    place = Place(cells[long])
    assert (label[long][..., 2] == BUILDING).any()
    text = "\N{EARTH GLOBE EUROPE-AFRICA}" * 255
    added.way(place.ring(10, 10, 50, 50), {"leisure": "park", "name": text, text: text})
    added.way(place.ring(60.3, 60.3, 79.7, 79.7), {"building": text})
    inside = (abs(columns - 30) < 20) & (abs(rows - 30) < 20)
    expected[long] = drawn(label[long], inside, RECREATION, 0)
    inside = (abs(columns - 70) < 10) & (abs(rows - 70) < 10)
    expected[long] = drawn(expected[long], inside, BUILDING, 2)

    # Keys that the ontology does not know, however like its own they look.
    place = Place(cells[112_387_740])
    for tags in ({"LANDUSE": "forest"}, {"landuse ": "forest"}, {"was:landuse": "forest"}, {"": "forest"}):
        added.way(place.ring(20, 20, 170, 170), tags)

    # A park that crosses itself thousands of times, which would take minutes to repair: dropped.
    scribble = np.random.default_rng(0).uniform(10, 180, (500, 2))
    tangle = added.way(place.degrees(np.vstack([scribble, scribble[:1]])), {"leisure": "park"})

    # Fifty thousand buildings of 2 x 4 m in the west of one cell.
    dense = 112_452_854
    place = Place(cells[dense])
    column, row = np.meshgrid(np.arange(MANY // 200) * 0.384 + 0.05, np.arange(200) * 0.96 + 0.05)
    corner = np.stack([column, row], axis=-1).reshape(-1, 1, 2)  # (MANY, 1, 2)
    houses = corner + np.array([[0, 0], [0.2, 0], [0.2, 0.4], [0, 0.4], [0, 0]])
    for house in place.degrees(houses.reshape(-1, 2)).reshape(houses.shape):
        added.way(house, {"building": "yes"})
    expected[dense] = drawn(label[dense], columns < 96, BUILDING, 2)
    added.write(world.osm_extract, broken_world.osm_extract)

    # Three more extracts, each of one cell: one ends in zeros, one holds a tag of 10 kB, which no reader takes, and
    # one a tag with a NUL, which would kill the reader.
    lost = dict.fromkeys((112_452_850, 112_436_582, 112_404_023), "corrupt_extract")
    ending, overlong, nul = ((cell_id, tmp_path / f"of_{cell_id}.osm.pbf") for cell_id in lost)
    header = osmium.io.Header()
    west, south, east, north = inner_bounds(cells[ending[0]])
    header.add_box(osmium.osm.Box(west, south, east, north))
    with osmium.SimpleWriter(str(ending[1]), header=header) as writer:
        for element in added.nodes[:20_000]:
            writer.add_node(element)
    content = ending[1].read_bytes()
    ending[1].write_bytes(content[: len(content) * 2 // 3].ljust(len(content), b"\0"))
    ring = [tuple(lonlat) for lonlat in Place(cells[overlong[0]]).ring(10, 10, 50, 50).tolist()]
    write_raw_pbf(overlong[1], ring, {"building": "y" * 10_240}, inner_bounds(cells[overlong[0]]))

    ring = [tuple(lonlat) for lonlat in Place(cells[nul[0]]).ring(10, 10, 50, 50).tolist()]
    write_raw_pbf(nul[1], ring, {"building": "yes", "name": "a\0"}, inner_bounds(cells[nul[0]]))

    osm = ["--osm", ",".join(map(str, (broken_world.osm_extract, ending[1], overlong[1], nul[1])))]
    after = build(broken_world, tmp_path / "set", *osm)

    assert after.code == 1
    assert verify([str(after.folder)]) == 0
    letters = {(it["cell_id"], it["year"], it["stage"], it["reason"]) for it in after.dead_letters}
    assert letters == {(*key, "labels", lost[key[0]]) for key in planned(broken_world) if key[0] in lost}
    assert len(after.dead_letters) == len(letters)
    assert after.dataset["dropped_from_extracts"] == {
        "map.osm.pbf": {"incomplete_way": 1, "incomplete_relation": 1, "broken_relation": 1, "tangled": 1}
    }
    named = after.dataset["dropped_elements"]["map.osm.pbf"]
    assert {reason: (len(it["first"]), it["beyond"]) for reason, it in named.items()} == dict.fromkeys(
        after.dataset["dropped_from_extracts"]["map.osm.pbf"], (1, 0)
    )
    assert named["tangled"]["first"] == [f"way/{tangle}"]
    assert after.dataset["dropped_geometries"] == {}
    sound = {cell_id for cell_id in few if cell_id not in lost}
    assert rejected(after) == {key: reason for key, reason in rejected(built).items() if key[0] in sound}
    now, old = after.records(), built.records()
    assert now.keys() == {key for key in old if key[0] in sound}
    changed = {crossing, long, dense}
    for (cell_id, year), payload in now.items():
        if cell_id not in changed:
            assert payload == old[cell_id, year], cell_id
        example = decode(payload)
        assert example.images == before[cell_id, year].images
        np.testing.assert_array_equal(categories(example.label), expected[cell_id])
    assert changed <= {cell_id for cell_id, _ in now}
    for cell_id in changed:
        assert (expected[cell_id] != label[cell_id]).sum() > 300


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda document: document | {"colours": {}}, "colours"),
        (lambda document: document["channels"][0]["labels"]["wooded"].update(natrual=[]), "natrual"),
    ],
)
def test_an_ontology_with_unknown_keys_is_refused_before_launch(
    world: SampleWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Any, message: str
) -> None:
    document = json.loads(DEFAULT_ONTOLOGY.read_text())
    document = change(document) or document
    path = tmp_path / "ontology.json"
    path.write_text(json.dumps(document))
    assert main([*flags(world, tmp_path / "set"), "--ontology", str(path)]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "set").exists()
