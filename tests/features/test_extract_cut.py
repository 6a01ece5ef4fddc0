"""Cutting an extract to the cells: what is kept, where it pays, and that nothing changes by it."""

import os
import shutil
from pathlib import Path

import osmium
import pytest
import shapely

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.features import extract_cut
from beam_pipeline.features.extract_cut import cut_extract, is_worth_a_cut, neighbourhood
from beam_pipeline.features.parting import part_extract
from beam_pipeline.labels.extract import check_extract
from beam_pipeline.runtime.child_process import ChildEnded
from beam_pipeline.runtime.faults import PermanentFault, TransientFault
from tests.features.made import CHIP, LAT, LON, TILE, request
from tests.labels.osm_file import OsmFile, square
from tests.shared_data import shared

FAR = 1.5  # degrees: beyond every neighbourhood


@pytest.fixture(params=["pyosmium", pytest.param("osmium-tool", marks=pytest.mark.engines)])
def cutter(request, monkeypatch):
    """Both ways of cutting."""
    if request.param == "pyosmium":
        monkeypatch.setattr(shutil, "which", lambda _: None)
    elif shutil.which("osmium") is None:
        pytest.skip("osmium-tool is not installed")
    return request.param


def far_and_near(path: Path) -> Path:
    """A file of which some lies around CHIP, some 100 km off, and some reaches from the one to the other."""
    file = OsmFile()
    for number in range(1, 30):
        file.way(number, square(LON + number / 5000, LAT, 0.00005), building="yes")
        file.way(100 + number, square(LON + FAR + number / 5000, LAT, 0.00005), building="yes")
    file.way(40, [(LON, LAT), (LON + FAR / 2, LAT), (LON + FAR, LAT)], highway="track")
    file.way(41, [(LON - FAR, LAT), (LON - 2 * FAR, LAT + 0.1)], highway="track")
    # The wood's eastern shore is far away, and its way has no node near the cell.
    file.way(50, [(LON + FAR, LAT - 0.2), (LON - 0.2, LAT - 0.2), (LON - 0.2, LAT + 0.2)])
    file.way(51, [(LON - 0.2, LAT + 0.2), (LON + 0.9, LAT + 0.8), (LON + FAR, LAT - 0.2)])
    file.way(52, square(LON, LAT, 0.001))
    file.relation(1, [(50, "outer"), (51, "outer"), (52, "inner")], type="multipolygon", natural="wood")
    file.way(60, square(LON + FAR, LAT + 1, 0.1))
    file.relation(2, [(60, "outer")], type="multipolygon", natural="wood")
    file.relation(3, [(40, ""), (41, "")], type="route", highway="track")
    file.node((LON + 0.001, LAT + 0.001), {"natural": "tree"})
    file.node((LON + FAR, LAT + 0.001), {"natural": "tree"})
    return file.write(path)


def ids(path) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {"n": set(), "w": set(), "r": set()}
    for entity in osmium.FileProcessor(osmium.io.File(str(path), "pbf")):
        found[entity.type_str()].add(entity.id)
    return found


def test_what_touches_the_neighbourhood_is_kept_whole(tmp_path, cutter):
    path = far_and_near(tmp_path / "a.osm.pbf")
    whole = ids(path)
    (tmp_path / "scratch").mkdir()
    with cut_extract(path, neighbourhood(request().cells), tmp_path / "scratch") as cut:
        kept = ids(cut)
        assert cut.name == "a.osm.pbf"
    assert kept["w"] == {*range(1, 30), 40, 50, 51, 52}
    assert 1 in kept["r"]
    assert 2 not in kept["r"]
    refs = {
        ref.ref
        for way in osmium.FileProcessor(str(path), osmium.osm.WAY)
        if way.id in kept["w"]
        for ref in way.nodes
    }
    assert refs <= kept["n"] < whole["n"]


def test_pieces_of_a_cut_are_those_of_the_whole_file(tmp_path, cutter):
    path = far_and_near(tmp_path / "a.osm.pbf")
    scratch, first, second = (tmp_path / name for name in ("scratch", "first", "second"))
    for folder in (scratch, first, second):
        folder.mkdir()
    whole = part_extract(path, request(), first)
    with cut_extract(path, neighbourhood(request().cells), scratch) as cut:
        of_cut = part_extract(cut, request(), second, original=check_extract(path))
    assert of_cut == whole
    assert whole.tiles[TILE].rows == 32  # houses, the track, the wood and the tree
    assert (first / f"{TILE}.parquet").read_bytes() == (second / f"{TILE}.parquet").read_bytes()


@pytest.mark.slow
def test_pieces_of_a_real_extract_are_the_same_cut(tmp_path, cutter):
    path = shared("osm", "liechtenstein-2022.osm.pbf")
    near = request(
        {TILE: {1: ChipWindow(32632, 539_460, 5_220_060), 2: ChipWindow(32632, 541_380, 5_220_060)}}
    )
    area = shapely.box(9.5, 47.1, 9.6, 47.18)  # smaller than the neighbourhood, which holds all of it
    scratch, first, second = (tmp_path / name for name in ("scratch", "first", "second"))
    for folder in (scratch, first, second):
        folder.mkdir()
    whole = part_extract(path, near, first)
    with cut_extract(path, area, scratch) as cut:
        assert cut.stat().st_size < 0.6 * path.stat().st_size
        of_cut = part_extract(cut, near, second, original=check_extract(path))
    assert of_cut.tiles == whole.tiles


@pytest.mark.engines
def test_a_record_does_not_say_what_cut_the_extract(tmp_path, monkeypatch):
    if shutil.which("osmium") is None:
        pytest.skip("osmium-tool is not installed")
    path = shared("osm", "monaco-2023.osm.pbf")
    records = []
    for number in range(2):
        folders = [tmp_path / f"{kind}{number}" for kind in ("scratch", "pieces")]
        for folder in folders:
            folder.mkdir()
        with cut_extract(path, shapely.box(7.41, 43.72, 7.425, 43.74), folders[0]) as cut:
            assert cut.stat().st_size < path.stat().st_size
            asked = request({"32TLP": {1: ChipWindow(32632, 372_000, 4_843_020)}})
            records.append(part_extract(cut, asked, folders[1], original=check_extract(path)))
        monkeypatch.setattr(shutil, "which", lambda _: None)
    assert records[0] == records[1]
    assert records[0].left_out.counts["incomplete_relation"]
    assert records[0].tiles["32TLP"].rows > 100


def test_nothing_is_left_of_a_cut(tmp_path, cutter):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    path = far_and_near(tmp_path / "a.osm.pbf")
    with cut_extract(path, neighbourhood(request().cells), scratch):
        named = [it for it in scratch.iterdir() if not it.is_symlink()]
        assert sum(it.stat().st_size for it in named) < 1000
        assert any(
            "(deleted)" in os.readlink(it) for it in Path("/proc/self/fd").iterdir() if it.is_symlink()
        )


@pytest.mark.parametrize(
    "name", ["with, comma.osm.pbf", "-dash.osm.pbf", "ü x'.osm.pbf", "a.osm", "http:b.osm.pbf"]
)
def test_odd_names_are_only_names(tmp_path, cutter, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    far_and_near(tmp_path / "a.osm.pbf").rename(tmp_path / name)
    os.mkdir("scratch")
    with cut_extract(tmp_path / name, neighbourhood(request().cells), Path("scratch")) as cut:
        assert len(ids(cut)["w"]) == 33


@pytest.mark.parametrize(
    ("script", "error", "text"),
    [
        ("kill -SEGV $$", ChildEnded, "by SIGSEGV"),
        ("kill -KILL $$", ChildEnded, "by SIGKILL"),
        ("exit 2", ChildEnded, "with exit code 2"),
        ("echo Out of memory. >&2; exit 1", MemoryError, "Out of memory"),
        (
            "echo PBF error: garbled >&2; exit 1",
            PermanentFault,
            "corrupt_extract: a.osm.pbf: PBF error: garbled",
        ),
        ("echo No space left on device >&2; exit 1", TransientFault, "no_disk: a.osm.pbf: .*--osm_index_dir"),
    ],
)
def test_a_tool_that_fails_says_why(tmp_path, monkeypatch, script, error, text):
    tool = tmp_path / "bin" / "osmium"
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}{os.pathsep}{os.environ['PATH']}")
    path = far_and_near(tmp_path / "a.osm.pbf")
    with pytest.raises(error, match=text), cut_extract(path, neighbourhood(request().cells), tool.parent):
        pass


def test_a_damaged_file_is_told_of_alike(tmp_path, cutter):
    path = far_and_near(tmp_path / "a.osm.pbf")
    path.write_bytes(path.read_bytes().replace(b"OSMData", b"OSMdata"))
    with pytest.raises(PermanentFault, match=r"a\.osm\.pbf") as caught:
        cut_extract(path, neighbourhood(request().cells), tmp_path).__enter__()
    assert caught.value.reason == "corrupt_extract"


def test_the_neighbourhood_is_a_box_around_each_tile_s_cells():
    area = neighbourhood({TILE: {7: CHIP}, "32TNS": {8: ChipWindow(32632, 539_460, 5_160_060)}, "none": {}})
    assert area.geom_type == "Polygon"  # the two boxes meet
    west, south, east, north = area.bounds
    assert north == pytest.approx(LAT + 0.3 + 0.009, abs=0.001)
    assert south == pytest.approx(LAT - 0.54 - 0.3 - 0.009, abs=0.01)
    # As many kilometres to the west and to the east as to the north, at least.
    assert (east - west) / 2 * 0.68 == pytest.approx(0.3 + 0.009, abs=0.01)


def test_at_the_antimeridian_it_lies_on_both_sides():
    at_180 = {1: ChipWindow(32701, 441_000, 7_999_980), 2: ChipWindow(32760, 559_020, 7_999_980)}
    east_and_west = {1: ChipWindow(32660, 833_700, 999_960)}  # 180 degrees is 834 km there
    area = neighbourhood({"60PZR": east_and_west})
    assert area.bounds[0] == -180
    assert area.bounds[2] == 180
    assert area.area < 1
    assert neighbourhood({"T": at_180}).bounds[0] >= -180


def test_near_the_pole_it_stays_a_box_of_the_world():
    area = neighbourhood({"33XWN": {1: ChipWindow(32633, 500_000, 9_300_000)}})
    assert -180 <= area.bounds[0] < area.bounds[2] <= 180
    assert area.bounds[3] < 90


def test_without_cells_there_is_no_neighbourhood():
    assert neighbourhood({}).is_empty


@pytest.mark.parametrize(
    ("size", "bounds", "worth"),
    [
        (1000, None, False),
        (1 << 30, None, True),
        (1 << 30, (5.0, 43.0, 15.0, 50.0), True),
        (1 << 30, (9.5, 47.1, 9.6, 47.2), False),  # the neighbourhood holds all of it
    ],
)
def test_a_cut_pays_for_a_big_file_of_which_little_is_needed(tmp_path, size, bounds, worth):
    path = far_and_near(tmp_path / "a.osm.pbf")
    os.truncate(path, size)  # only its header is looked at
    assert is_worth_a_cut(path, bounds, neighbourhood(request().cells)) is worth


def test_a_file_whose_ways_bear_locations_is_not_cut(tmp_path, monkeypatch):
    """Such a file has no nodes without tags, by which its ways could be found."""
    monkeypatch.setattr(extract_cut, "CUT_FROM_BYTES", 0)
    path = far_and_near(tmp_path / "a.osm.pbf")
    assert is_worth_a_cut(path, None, neighbourhood(request().cells))
    bearing = tmp_path / "b.osm.pbf"
    with osmium.SimpleWriter(osmium.io.File(str(bearing), "pbf,locations_on_ways=true")) as writer:
        for entity in osmium.FileProcessor(str(path)).with_locations():
            writer.add(entity)
    assert not is_worth_a_cut(bearing, None, neighbourhood(request().cells))
