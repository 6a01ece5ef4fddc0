"""The map is read once: stores of features, made alone or by a build, and what is built of them."""

import dataclasses
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import osmium
import pytest
from osmium.osm.mutable import Node

from beam_pipeline.build_dataset import main as build_main
from beam_pipeline.dataset.folder import DatasetFolder
from beam_pipeline.extract_features import main
from beam_pipeline.features.identity import ExtractIdentity
from beam_pipeline.features.plan import TILES_FILE, TileCells, parse_tiles, tiles_text
from beam_pipeline.features.read_process import read_extract
from beam_pipeline.jobs.build.inputs import check_reach
from beam_pipeline.jobs.build.options import build_settings, parse_build_flags
from beam_pipeline.jobs.extract import pieces
from beam_pipeline.jobs.extract.closing import close_store
from beam_pipeline.jobs.extract.settings import GivenExtract
from beam_pipeline.jobs.extract.tiles import TileState
from beam_pipeline.labels.ontology import DEFAULT_ONTOLOGY
from beam_pipeline.runtime.disk import Disk
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.sample_world import SampleWorld
from beam_pipeline.verify import main as verify
from tests.features.made import CHIP
from tests.labels.overpass_server import OverpassServer
from tests.pipelines.conftest import Built, build
from tests.pipelines.damage import MapAdditions


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The names of the extracts that jobs open to read."""
    names: list[str] = []

    def counted(path: str, *args: Any) -> Any:
        names.append(Path(path).name)
        return read_extract(path, *args)

    monkeypatch.setattr(pieces, "read_extract", counted)
    return names


def extract(cells: Path, osm: object, store: Path, *more: str) -> int:
    return main(["--cells", str(cells), "--osm", str(osm), "--output", str(store), *more])


def contents(store: Path) -> dict[str, bytes]:
    """The files by which a store is told from others, without what is kept for the next reading."""
    return {path.name: path.read_bytes() for path in store.iterdir() if path.is_file()}


@pytest.fixture(scope="module")
def store(world: SampleWorld, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of the world's cells. Tests that change files take a copy."""
    folder = tmp_path_factory.mktemp("made") / "features"
    assert extract(world.cells_csv, world.osm_extract, folder) == 0
    return folder


def test_a_build_keeps_the_store_that_extract_features_makes(built: Built, store: Path) -> None:
    assert contents(built.folder / "features") == contents(store)
    described = json.loads((store / "store.json").read_text())
    assert described["source"] == "extracts"
    assert [it["outcome"] for it in described["extracts"]] == ["read"]
    assert set(described["tiles"]) == {path.stem for path in store.glob("*.parquet")}
    assert "ODbL" in (store / "LICENSES.md").read_text()


def test_a_build_from_a_store_is_that_from_its_extracts(
    built: Built, world: SampleWorld, store: Path, tmp_path: Path, opened: list[str]
) -> None:
    again = build(world, tmp_path / "set", "--osm", str(store))
    assert again.code == 0
    assert again.shards == built.shards
    assert again.dataset == built.dataset
    assert opened == []
    assert not (tmp_path / "set" / "features").exists()
    assert verify([str(tmp_path / "set")]) == 0
    # One folder may be gone on with from either.
    (tmp_path / "set" / sorted(again.shards)[0]).unlink()
    assert build(world, tmp_path / "set").shards == built.shards


def test_a_rerun_reads_no_extract_not_even_one_that_is_gone(
    built: Built, world: SampleWorld, tmp_path: Path, opened: list[str]
) -> None:
    folder = tmp_path / "set"
    shutil.copytree(built.folder, folder)
    gone = dataclasses.replace(world, osm_extract=tmp_path / world.osm_extract.name)
    lost, tile = next(
        (unit["name"], unit["tile"])
        for unit in map(json.loads, (folder / "plan/units.jsonl").read_text().splitlines())
        if built.shards[unit["name"]]
    )
    for damaged in ((), ("features/store.json",), ("features/store.json", f"features/{tile}.parquet")):
        for name in (lost, *damaged):
            (folder / name).unlink()
        again = build(gone, folder)
        assert again.code == 0
        assert again.shards == built.shards
        assert contents(folder / "features") == contents(built.folder / "features")
    assert opened == []


def test_an_extract_that_is_gone_and_was_not_read_is_refused(
    world: SampleWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "missing.osm.pbf"
    assert extract(world.cells_csv, missing, tmp_path / "features") == 2
    assert "--osm matches no file" in capsys.readouterr().err


@pytest.fixture
def more_map(world: SampleWorld, tmp_path: Path) -> Path:
    """An extract that overlaps the world's: all of it, and a park that is in no other."""
    added = MapAdditions()
    west, south, east, north = bounds_of_a_cell(world)
    middle = ((west + east) / 2, (south + north) / 2)
    side = (east - west) / 8
    added.way(
        np.array([middle, (middle[0] + side, middle[1]), (middle[0] + side, middle[1] + side), middle]),
        {"leisure": "park"},
    )
    path = tmp_path / "more.osm.pbf"
    added.write(world.osm_extract, path)
    return path


def bounds_of_a_cell(world: SampleWorld) -> tuple[float, float, float, float]:
    header, row, *_ = (line.split(",") for line in world.cells_csv.read_text().splitlines())
    west, south, east, north = (
        float(row[header.index(name)]) for name in ("min_lon", "min_lat", "max_lon", "max_lat")
    )
    return west, south, east, north


@pytest.mark.slow
def test_of_a_longer_list_the_new_extract_alone_is_read(
    world: SampleWorld, store: Path, more_map: Path, tmp_path: Path, opened: list[str]
) -> None:
    grown = tmp_path / "features"
    shutil.copytree(store, grown)
    both = f"{world.osm_extract},{more_map}"
    assert extract(world.cells_csv, both, grown) == 0
    assert opened == [more_map.name]
    other = tmp_path / "other"
    assert extract(world.cells_csv, f"{more_map},{world.osm_extract}", other) == 0
    assert contents(grown) == contents(other)
    assert contents(grown) != contents(store)
    # What lies in both is kept once.
    described = json.loads((grown / "store.json").read_text())
    rows = [
        sum(it["rows"] for it in json.loads((folder / "store.json").read_text())["tiles"].values())
        for folder in (grown, store)
    ]
    assert rows[0] == rows[1] + 1
    assert [it["extract"]["name"] for it in described["extracts"]] == ["map.osm.pbf", "more.osm.pbf"]
    opened.clear()
    assert extract(world.cells_csv, both, grown) == 0
    assert opened == []


@pytest.mark.slow
def test_overlapping_extracts_give_the_labels_of_one(
    world: SampleWorld, more_map: Path, tmp_path: Path
) -> None:
    one = build(world, tmp_path / "one", "--osm", str(more_map))
    both = build(world, tmp_path / "both", "--osm", f"{world.osm_extract},{more_map}")
    assert (one.code, both.code) == (0, 0)
    assert one.shards == both.shards


@pytest.mark.slow
def test_a_broken_extract_costs_its_cells_and_is_read_again_by_the_next_run(
    world: SampleWorld, tmp_path: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(shutil.copy(world.osm_extract, tmp_path / "map.osm.pbf"))
    folder = tmp_path / "features"
    content = path.read_bytes()

    def cut(*args: Any) -> Any:
        path.write_bytes(content[:-100] + bytes(100))
        return read_extract(*args)

    monkeypatch.setattr(pieces, "read_extract", cut)
    assert extract(world.cells_csv, path, folder) == 1
    described = json.loads((folder / "store.json").read_text())
    (failure,) = described["failures"]
    assert failure["extract"] == "map.osm.pbf"
    assert failure["reason"] in ("corrupt_extract", "truncated_extract")
    assert len(failure["cell_ids"]) == described["cells"]
    of_store = build(world, tmp_path / "set", "--osm", str(folder))
    assert of_store.code == 1
    assert {letter["reason"] for letter in of_store.dead_letters} == {failure["reason"]}
    assert verify([str(tmp_path / "set")]) == 0

    path.write_bytes(content)
    monkeypatch.undo()
    assert extract(world.cells_csv, path, folder) == 0
    mended = build(world, tmp_path / "set", "--osm", str(folder), "--retry_dead_letters")
    assert mended.code == 0
    assert mended.shards == build(world, tmp_path / "other").shards


KILLED = """
import itertools, os, signal, sys
from beam_pipeline.extract_features import main
from beam_pipeline.jobs.extract import transforms

made, calls = transforms.make_tile, itertools.count(1)

def killed(*args):
    if next(calls) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return made(*args)

transforms.make_tile = killed
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_killed_run_goes_on_and_makes_the_same_store(
    world: SampleWorld, store: Path, tmp_path: Path, opened: list[str]
) -> None:
    folder = tmp_path / "features"
    flags = ["--cells", str(world.cells_csv), "--osm", str(world.osm_extract), "--output", str(folder)]
    ended = subprocess.run([sys.executable, "-c", KILLED, *flags], capture_output=True, timeout=300)
    assert ended.returncode == -signal.SIGKILL
    assert len(list(folder.glob("*.parquet"))) == 2
    assert not (folder / "store.json").exists()
    assert extract(world.cells_csv, world.osm_extract, folder) == 0
    assert opened == []
    assert contents(folder) == contents(store)


@pytest.mark.parametrize("gone", [("pieces", "store.json"), ("pieces",)])
def test_an_extract_is_read_again_where_nothing_says_what_was_left_out_of_it(
    world: SampleWorld, store: Path, tmp_path: Path, opened: list[str], gone: tuple[str, ...]
) -> None:
    folder = tmp_path / "features"
    shutil.copytree(store, folder)
    shutil.rmtree(folder / "pieces")
    if "store.json" in gone:
        (folder / "store.json").unlink()
    assert extract(world.cells_csv, world.osm_extract, folder) == 0
    assert opened == ([world.osm_extract.name] if "store.json" in gone else [])
    assert contents(folder) == contents(store)
    records = [
        {path.parent.name: path.read_bytes() for path in it.glob("pieces/*/piece.json")}
        for it in (folder, store)
    ]
    assert records[0] == (records[1] if "store.json" in gone else {})


@pytest.mark.slow
def test_a_damaged_tile_costs_its_cells_alone(
    built: Built, world: SampleWorld, store: Path, tmp_path: Path
) -> None:
    damaged = tmp_path / "features"
    shutil.copytree(store, damaged)
    path = damaged / "23SQD.parquet"
    path.write_bytes(path.read_bytes()[:-1000])
    hit = build(world, tmp_path / "set", "--osm", str(damaged))
    assert hit.code == 1
    assert {letter["reason"] for letter in hit.dead_letters} == {"damaged_store"}
    planned = [json.loads(line) for line in (tmp_path / "set/plan/units.jsonl").read_text().splitlines()]
    cells = {cell[0] for unit in planned if unit["tile"] == "23SQD" for cell in unit["cells"]}
    assert {letter["cell_id"] for letter in hit.dead_letters} == cells
    expected = {key: one for key, one in built.records().items() if key[0] not in cells}
    assert hit.records() == expected
    shutil.copy(store / path.name, path)
    assert (
        build(world, tmp_path / "set", "--osm", str(damaged), "--retry_dead_letters").shards == built.shards
    )


@pytest.mark.slow
def test_a_damaged_piece_costs_its_tile_and_is_read_anew(
    built: Built, world: SampleWorld, tmp_path: Path, opened: list[str]
) -> None:
    folder = tmp_path / "set"
    shutil.copytree(built.folder, folder)
    (piece,) = (folder / "features/pieces").glob("*/24STJ.parquet")
    content = bytearray(piece.read_bytes())
    content[100:200] = bytes(100)  # of the same length
    piece.write_bytes(content)
    units = [json.loads(line) for line in (folder / "plan/units.jsonl").read_text().splitlines()]
    for name in [unit["name"] for unit in units if unit["tile"] == "24STJ"]:
        (folder / name).unlink()
    for name in ("store.json", "24STJ.parquet"):
        (folder / "features" / name).unlink()
    hit = build(world, folder)
    assert hit.code == 1
    assert {letter["reason"] for letter in hit.dead_letters} == {"damaged_store"}
    assert opened == []
    mended = build(world, folder, "--retry_dead_letters")
    assert (mended.code, mended.shards) == (0, built.shards)
    assert opened == [world.osm_extract.name]


def edited(store: Path, target: Path, **fields: object) -> Path:
    """A copy of a store that says something else of itself."""
    shutil.copytree(store, target)
    path = target / "store.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
    return target


def test_stores_that_will_not_do_are_refused_by_what_they_lack(
    world: SampleWorld,
    whole_world: SampleWorld,
    store: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "set"

    def refused(*more: str) -> str:
        assert build(world, output, *more).code == 2
        assert not output.exists()
        return capsys.readouterr().err

    assert "it lacks 12 of 24 cells" in refused("--cells", str(whole_world.cells_csv), "--osm", str(store))
    other_schema = edited(store, tmp_path / "schema", schema_version=99)
    assert "its schema is 99, and this version reads" in refused("--osm", str(other_schema))
    fewer_keys = edited(store, tmp_path / "keys", keys=["building"])
    assert "it lacks" in (said := refused("--osm", str(fewer_keys)))
    assert "highway" in said
    damaged = edited(store, tmp_path / "damaged")
    (damaged / "store.json").write_text("{")
    assert "--osm is no store that can be read" in refused("--osm", str(damaged))
    assert "one store and nothing beside it" in refused("--osm", f"{store},{world.osm_extract}")
    ontology = tmp_path / "own.json"
    ontology.write_text(DEFAULT_ONTOLOGY.read_text().replace('"aeroway"', '"spaceway"'))
    assert "it lacks key spaceway" in refused("--osm", str(store), "--ontology", str(ontology))


@pytest.mark.slow
def test_a_dataset_is_not_gone_on_with_a_store_of_other_extracts(
    built: Built,
    world: SampleWorld,
    more_map: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = tmp_path / "features"
    assert extract(world.cells_csv, more_map, other) == 0
    assert build(world, built.folder, "--osm", str(other)).code == 2
    assert "more.osm.pbf" in capsys.readouterr().err


@pytest.mark.slow
def test_a_store_folder_keeps_its_cells(
    world: SampleWorld,
    whole_world: SampleWorld,
    store: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = contents(store)
    assert extract(whole_world.cells_csv, world.osm_extract, store) == 2
    said = capsys.readouterr().err
    assert "holds another store of features" in said
    assert "cells_sha256" in said
    assert contents(store) == before
    copy = tmp_path / "copy"
    shutil.copytree(store, copy)
    shutil.rmtree(copy)  # as the message says
    assert extract(whole_world.cells_csv, world.osm_extract, copy) == 0


@pytest.mark.slow
def test_an_extract_far_from_all_cells_is_not_read(
    world: SampleWorld, store: Path, tmp_path: Path, opened: list[str]
) -> None:
    far = tmp_path / "alps.osm.pbf"
    header = osmium.io.Header()
    header.add_box(osmium.osm.Box(9.9, 46.9, 10.2, 47.1))
    with osmium.SimpleWriter(str(far), header=header) as writer:
        writer.add_node(Node(id=1, location=(10.0, 47.0), tags={"amenity": "bench"}))
    folder = tmp_path / "features"
    assert extract(world.cells_csv, f"{world.osm_extract},{far}", folder) == 0
    assert opened == [world.osm_extract.name]
    described = json.loads((folder / "store.json").read_text())
    assert {it["extract"]["name"]: it["outcome"] for it in described["extracts"]} == {
        "alps.osm.pbf": "beyond",
        "map.osm.pbf": "read",
    }
    for name in (path.name for path in store.glob("*.parquet")):
        assert (folder / name).read_bytes() == (store / name).read_bytes()


@pytest.mark.slow
def test_overpass_fills_a_store_too(built: Built, world: SampleWorld, tmp_path: Path) -> None:
    cells = tmp_path / "cells.csv"
    cells.write_text("".join(world.cells_csv.read_text().splitlines(keepends=True)[:4]))
    folder = tmp_path / "features"
    with OverpassServer(world.osm_extract) as server:
        more = ["--overpass_url", server.url, "--overpass_cache", str(tmp_path / "cache")]
        assert extract(cells, "overpass", folder, *more) == 0
        asked = len(server.queries)
    described = json.loads((folder / "store.json").read_text())
    assert (described["source"], described["url"]) == ("overpass", server.url)
    of_store = build(world, tmp_path / "set", "--cells", str(cells), "--osm", str(folder))
    assert of_store.code == 0
    assert asked == 3
    ids = {cell_id for cell_id, _ in of_store.records()}
    assert of_store.records() == {key: one for key, one in built.records().items() if key[0] in ids}
    assert of_store.dataset["fingerprint"]["osm"] == server.url


def test_the_cells_are_read_once_for_many_extracts(
    store: Path, world: SampleWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed = []
    monkeypatch.setattr(pieces, "parse_tiles", lambda text: parsed.append(text) or parse_tiles(text))
    folder = DatasetFolder(Disk(), str(store))
    tile = sorted(json.loads((store / "store.json").read_text())["tiles"])[0]
    bounds = bounds_of_a_cell(world)
    for number in range(3):
        near = GivenExtract("a", ExtractIdentity("a", number, "once"), bounds)
        far = GivenExtract("b", ExtractIdentity("b", number, "once"), (100.0, 60.0, 101.0, 61.0))
        assert pieces.is_needed(folder, near, [tile])
        assert not pieces.is_needed(folder, far, [tile])
        assert not pieces.is_needed(folder, near, [])
    assert len(parsed) <= 1


def test_it_is_said_why_tiles_have_no_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = DatasetFolder(Disk(), str(tmp_path))
    tiles = [TileCells(name, ((number, CHIP),)) for number, name in enumerate(("32TNT", "32TNS", "32TMT"))]
    store.write_text(TILES_FILE, tiles_text(tiles))
    full = ("storage", "No space left on device")
    states = [TileState(tile.tile, None, failure=full) for tile in tiles[:2]]
    states.append(TileState("32TMT", None, failure=("damaged_store", "it was cut off")))
    close_store(store, states, [], None)  # type: ignore[arg-type]  # who has no tiles needs no settings
    assert caplog.messages == [
        f"{tmp_path} is not whole: 3 of 3 tiles have no file",
        "2 of them: storage: No space left on device",
        "1 of them: damaged_store: it was cut off",
    ]
    assert not (tmp_path / "store.json").exists()


def test_stores_on_this_machine_are_refused_on_dataflow(store: Path) -> None:
    argv = ["--osm", str(store), "--area=1,2,3,4", "--output", "gs://bucket/set", "--runner=DataflowRunner"]
    given, options = parse_build_flags([*argv, "--project=p", "--region=europe-west1"])
    with pytest.raises(InvalidInputError, match=r"--osm lies on this machine.*the gs:// folder of a store"):
        check_reach(build_settings(given, options), options)


def test_a_dry_run_writes_nothing(
    world: SampleWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert extract(world.cells_csv, world.osm_extract, tmp_path / "features", "--dry_run") == 0
    assert world.osm_extract.name in capsys.readouterr().out
    assert not (tmp_path / "features").exists()


def test_a_folder_that_is_no_store_is_named(
    world: SampleWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder").mkdir()
    argv = [
        "--cells",
        str(world.cells_csv),
        "--osm",
        str(tmp_path / "folder"),
        "--output",
        str(tmp_path / "set"),
    ]
    assert build_main([*argv, "--stac_url", str(world.stac_catalog)]) == 2
    assert "--osm takes files. Received a folder" in capsys.readouterr().err


def test_a_store_is_not_written_around_what_is_read(
    world: SampleWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It would be a stray in a folder that holds the store's files alone."""
    store, osm = tmp_path / "store", tmp_path / "store/osm/map.osm.pbf"
    osm.parent.mkdir(parents=True)
    shutil.copy(world.osm_extract, osm)
    shutil.copy(world.cells_csv, store / "cells.csv")
    before = sorted(tmp_path.rglob("*"))
    assert extract(world.cells_csv, osm, store) == 2
    assert "--output holds --osm" in capsys.readouterr().err
    assert extract(store / "cells.csv", world.osm_extract, store) == 2
    assert "--output holds --cells" in capsys.readouterr().err
    assert build(world, tmp_path / "set", "--osm", str(tmp_path / "set/features/map.osm.pbf")).code == 2
    assert "The store in --output holds --osm" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.slow
def test_a_dataset_is_not_built_in_a_store_and_may_hold_it(
    built: Built, world: SampleWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = shutil.copytree(built.folder / "features", tmp_path / "set/features")
    for output, said in (
        (store, "is the folder of a store of features, as store.json in it shows"),
        (store / "set", "lies in the folder of --osm"),
    ):
        assert build(world, output, "--osm", str(store)).code == 2
        assert f"--output {said}" in capsys.readouterr().err
    again = build(world, tmp_path / "set", "--osm", str(store), "--processes=1")
    assert again.code == 0
    assert again.shards == built.shards
    assert verify([str(tmp_path / "set")]) == 0
