"""A relabelled dataset is the one, to the byte, that a build with the other labels gives; no host is asked for it."""

import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beam_pipeline.build_dataset import main as build_dataset
from beam_pipeline.dataset.fingerprint import Fingerprint
from beam_pipeline.extract_features import main as extract_features
from beam_pipeline.relabel import main as relabel
from beam_pipeline.sample_world import SampleWorld
from beam_pipeline.verify import main as verify
from tests.dataset.test_old_folder import OLD, contents
from tests.labels.sea_file import write_sea
from tests.pipelines.conftest import Built, build
from tests.pipelines.test_resume import state

FINGERPRINT, RUN, GIVEN = "plan/fingerprint.json", "run.json", "plan/store.json"


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuses each connection of this process, and each look-up of a name."""

    def refuse(*given: Any) -> None:
        raise AssertionError(f"a host was asked for: {given}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="module")
def strict(built: Built, world: SampleWorld, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A build with the strict table, of the store that the other build made."""
    folder = tmp_path_factory.mktemp("direct") / "set"
    return build(world, folder, "--ontology=strict", "--osm", str(built.folder / "features"))


def relabelled(source: Path, output: Path, *more: str) -> Built:
    return Built(output, relabel([f"--dataset={source}", f"--output={output}", *more]))


def files(folder: Path) -> dict[str, bytes]:
    """All files but run.json, which holds times."""
    return {
        str(it.relative_to(folder)): it.read_bytes()
        for it in folder.rglob("*")
        if it.is_file() and it.name != RUN
    }


def images(built: Built) -> dict[tuple[int, int], Any]:
    return {(it.cell.cell_id, it.year): it.images for it in built.examples()}


def test_it_is_what_a_build_with_the_other_labels_gives(
    built: Built, strict: Built, tmp_path: Path, no_network: None
) -> None:
    before = files(built.folder)
    again = relabelled(built.folder, tmp_path / "set", "--ontology=strict")
    assert again.code == strict.code == 0
    assert files(again.folder) == files(strict.folder)
    assert files(built.folder) == before
    assert images(again) == images(built)
    ours, theirs = ({it.cell.cell_id: it.label for it in one.examples()} for one in (again, built))
    assert any(not np.array_equal(ours[cell_id], theirs[cell_id]) for cell_id in theirs)
    # What times and counters hold differs from run to run; there it says whose images they are.
    source = Fingerprint.from_json((built.folder / FINGERPRINT).read_bytes()).sha256
    assert again.run["relabelled_from"] == source
    assert "relabelled_from" not in strict.run
    assert again.run["stages"]["relabel"]["images"] == sum(len(it) for it in images(built).values())


def test_a_relabelling_that_was_stopped_goes_on(
    built: Built, strict: Built, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(strict.folder, tmp_path / "set")
    lost, cut, *_ = sorted(strict.shards)
    (folder / lost).unlink()
    (folder / cut).write_bytes(strict.shards[cut][:-1])
    for name in ("dataset.json", "scenes"):
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    before = state(folder)
    assert relabelled(built.folder, folder, "--ontology=strict").code == 0
    assert files(folder) == files(strict.folder)
    after = state(folder)
    assert {name for name in after if after[name] != before.get(name)} == {lost, cut}
    capsys.readouterr()
    assert relabelled(built.folder, folder, "--no_none_labels").code == 2
    said = capsys.readouterr().err
    assert "none_labels: True there, False now" in said
    assert "ontology_sha256: " in said
    assert files(folder) == files(strict.folder)


@pytest.mark.slow
def test_the_build_goes_on_with_it(built: Built, strict: Built, world: SampleWorld, tmp_path: Path) -> None:
    again = relabelled(built.folder, tmp_path / "set", "--ontology=strict")
    for name in sorted(again.shards)[:2]:
        (again.folder / name).unlink()
    assert build(world, again.folder, "--ontology=strict", "--osm", str(built.folder / "features")).code == 0
    assert files(again.folder) == files(strict.folder)


@pytest.mark.slow
def test_damage_of_the_source_costs_its_units_only_until_it_is_mended(
    built: Built, strict: Built, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = shutil.copytree(built.folder, tmp_path / "source")
    flipped, missing, failed, *_ = sorted(name for name, content in built.shards.items() if content)
    content = bytearray(built.shards[flipped])
    content[1000] ^= 1
    (source / flipped).write_bytes(content)
    (source / missing).unlink()
    summary = source / "summaries" / f"{failed}.summary.json"
    (source / failed).unlink()
    letter = {"unit": failed, "cell_id": None, "year": None, "stage": "write", "reason": "storage"}
    kept = {"name": failed, "split": "testing", "fingerprint": json.loads(summary.read_text())["fingerprint"]}
    summary.write_text(
        json.dumps(
            {
                **{**kept, "tile": "", "status": "failed", "cells": 0, "cell_years": 0, "contents": []},
                "dead_letters": [{**letter, "detail": "full"}],
            }
        )
    )
    (source / "dataset.json").unlink()
    folder = tmp_path / "set"
    some = relabelled(source, folder, "--ontology=strict")
    assert some.code == 1
    assert {it["unit"]: (it["stage"], it["reason"]) for it in some.dead_letters} == {
        flipped: ("relabel", "damaged_source"),
        missing: ("relabel", "missing_in_source"),
        failed: ("write", "storage"),
    }
    assert some.shards == {
        name: content for name, content in strict.shards.items() if name not in (flipped, missing, failed)
    }
    said = capsys.readouterr().out
    assert "those of images are the relabelled dataset's: give the command again that built it" in said
    assert "verified: no difference" in said
    # As advised, whoever mends it: the same command.
    shutil.rmtree(source)
    shutil.copytree(built.folder, source)
    assert relabelled(source, folder, "--ontology=strict").code == 0
    assert files(folder) == files(strict.folder)


@pytest.mark.slow
def test_dead_letters_of_the_source_are_retried_as_advised(
    strict: Built, world: SampleWorld, built: Built, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = shutil.copytree(built.folder / "features", tmp_path / "features")
    tile = sorted(store.glob("*.parquet"))[0]
    whole = tile.read_bytes()
    tile.write_bytes(whole[:-100])
    more = ["--osm", str(store)]
    source = build(world, tmp_path / "source", *more)
    assert source.code == 1
    tile.write_bytes(whole)
    again = relabelled(source.folder, tmp_path / "set", *more, "--ontology=strict")
    assert again.code == 1
    assert {it["reason"] for it in again.dead_letters} == {"no_images_in_source"}
    assert "with this flag too, does their shards again" in capsys.readouterr().out
    assert build(world, source.folder, *more, "--retry_dead_letters").code == 0
    assert (
        relabelled(source.folder, again.folder, *more, "--ontology=strict", "--retry_dead_letters").code == 0
    )
    assert files(again.folder) == files(strict.folder)


@pytest.mark.slow
def test_a_tile_that_the_store_lacks_is_a_dead_letter_of_its_cells(
    built: Built, strict: Built, tmp_path: Path
) -> None:
    store = shutil.copytree(built.folder / "features", tmp_path / "features")
    tile = sorted(store.glob("*.parquet"))[0]
    tile.write_bytes(tile.read_bytes()[:-100])
    some = relabelled(built.folder, tmp_path / "set", "--ontology=strict", f"--osm={store}")
    assert some.code == 1
    assert {(it["stage"], it["reason"]) for it in some.dead_letters} == {("labels", "damaged_store")}
    lost = {it["cell_id"] for it in some.dead_letters}
    expected = {key: it for key, it in strict.records().items() if key[0] not in lost}
    assert 0 < len(expected) < len(strict.records())
    assert some.records() == expected
    assert verify([str(some.folder)]) == 0  # the sums of the bands among the rest
    # The store is whole again: the shards with dead letters are done once more where that is asked for.
    shutil.copy(built.folder / "features" / tile.name, tile)
    more = (f"--osm={store}", "--ontology=strict", "--retry_dead_letters")
    assert relabelled(built.folder, tmp_path / "set", *more).code == 0
    assert files(some.folder) == files(strict.folder)


Refusal = Callable[[Path, Path], tuple[list[str], str]]
"""(a copy of the dataset to be changed, another folder) -> flags, and what is said of them."""


def _output_is_the_source(source: Path, other: Path) -> tuple[list[str], str]:
    other.symlink_to(source)
    return [f"--output={other}"], "--output is the folder of --dataset"


def _output_is_the_store(source: Path, other: Path) -> tuple[list[str], str]:
    return [f"--output={source}/features"], "--output is the folder of a store of features"


def _output_in_the_source(source: Path, other: Path) -> tuple[list[str], str]:
    return [f"--output={source}/strict"], "--output lies in the folder of --dataset"


def _output_around_the_source(source: Path, other: Path) -> tuple[list[str], str]:
    return [f"--output={source.parent}/"], "--output holds the store of features"


def _no_dataset(source: Path, other: Path) -> tuple[list[str], str]:
    return [f"--dataset={other}"], "--dataset is no dataset: there is no"


def _a_later_version(source: Path, other: Path) -> tuple[list[str], str]:
    path = source / FINGERPRINT
    path.write_text(path.read_text().replace('"schema_version": "1.1.0"', '"schema_version": "1.2.0"'))
    return [], "--dataset is of version 1.2.0 of the data format"


def _another_major_version(source: Path, other: Path) -> tuple[list[str], str]:
    path = source / FINGERPRINT
    path.write_text(path.read_text().replace('"schema_version": "1.1.0"', '"schema_version": "2.0.0"'))
    return [], "schema_version must be 1.x.x"


def _another_grid(source: Path, other: Path) -> tuple[list[str], str]:
    path = source / FINGERPRINT
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "grid": "hexagons"}))
    return [], "--dataset has cells of the grid 'hexagons'"


def _a_damaged_fingerprint(source: Path, other: Path) -> tuple[list[str], str]:
    (source / FINGERPRINT).write_text("{")
    return [], "--dataset has a damaged plan"


def _another_plan(source: Path, other: Path) -> tuple[list[str], str]:
    path = source / "plan/units.jsonl"
    path.write_text(path.read_text().partition("\n")[2])
    return [], "it is not the plan whose hash is in the fingerprint"


def _a_link_in_the_source(source: Path, other: Path) -> tuple[list[str], str]:
    shard = sorted(source.glob("opensentinelmap-*"))[0]
    shard.rename(other)
    shard.symlink_to(other)
    return [], "is a link"


def _no_store(source: Path, other: Path) -> tuple[list[str], str]:
    (source / "features/store.json").unlink()
    return [], "the dataset brings no whole store of features. Give one by --osm"


def _an_extract(source: Path, other: Path) -> tuple[list[str], str]:
    return ["--osm=map.osm.pbf"], "--osm takes the folder of a store of features"


def _the_word_overpass(source: Path, other: Path) -> tuple[list[str], str]:
    return ["--osm=overpass"], "--osm takes the folder of a store of features"


def _another_schema_of_the_store(source: Path, other: Path) -> tuple[list[str], str]:
    path = source / "features/store.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 99}))
    return [], "its schema is 99, and this version reads"


def _a_store_of_fewer_tiles(source: Path, other: Path) -> tuple[list[str], str]:
    path = source / "features/store.json"
    content = json.loads(path.read_text())
    gone = content["tiles"].popitem()[0]
    path.write_text(json.dumps(content))
    return [], f"it lacks tile {gone}"


def _a_store_of_fewer_keys(source: Path, other: Path) -> tuple[list[str], str]:
    path = source / "features/store.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "keys": [it for it in content["keys"] if it != "building"]}))
    return [], "it lacks key building"


def _a_damaged_store(source: Path, other: Path) -> tuple[list[str], str]:
    (source / "features/store.json").write_text("[")
    return [], "--osm is no store that can be read"


def _an_ontology_that_is_none(source: Path, other: Path) -> tuple[list[str], str]:
    other.write_text("{}")
    return [f"--ontology={other}"], f"--ontology {other}"


def _no_sea(source: Path, other: Path) -> tuple[list[str], str]:
    return [f"--water_polygons={other}.gpkg"], "--water_polygons"


def _flags_of_images(source: Path, other: Path) -> tuple[list[str], str]:
    return ["--years=2021"], "--years"


@pytest.mark.parametrize(
    "refusal",
    [
        *(_output_in_the_source, _output_around_the_source, _output_is_the_source, _output_is_the_store),
        *(_no_dataset, _a_later_version, _another_major_version),
        *(
            _another_grid,
            _a_damaged_fingerprint,
            _another_plan,
            _a_link_in_the_source,
            _no_store,
            _an_extract,
        ),
        *(_the_word_overpass, _another_schema_of_the_store, _a_store_of_fewer_tiles, _a_store_of_fewer_keys),
        *(_a_damaged_store, _an_ontology_that_is_none, _no_sea, _flags_of_images),
    ],
)
def test_what_cannot_be_used_is_refused_before_launch(
    refusal: Refusal, built: Built, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = shutil.copytree(built.folder, tmp_path / "source", copy_function=_copied_or_linked)
    more, said = refusal(source, tmp_path / "other")
    before = files(source)
    assert relabel([f"--dataset={source}", f"--output={tmp_path / 'set'}", *more]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "set").exists()
    assert files(source) == before


def _copied_or_linked(source: str, target: str) -> None:
    """Copies what a test may write over; shards are large and only moved."""
    (os.link if "tfrecord" in Path(source).name and not source.endswith(".json") else shutil.copy)(
        source, target
    )


def test_a_dry_run_writes_nothing(built: Built, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert relabel([f"--dataset={built.folder}", f"--output={tmp_path / 'set'}", "--dry_run"]) == 0
    said = capsys.readouterr().out
    assert [line.split()[-1] for line in said.splitlines() if line.startswith(("in the", "that"))] == [
        *[str(len(built.shards))] * 2,
        "0",
    ]
    assert not (tmp_path / "set").exists()


@pytest.mark.slow
def test_without_none_labels_with_the_sea_and_in_two_processes(
    built: Built, world: SampleWorld, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("pyogrio")
    import shapely

    west, south, east, north = (
        float(fun(it[key] for it in json_cells(built)))
        for fun, key in ((min, "min_lon"), (min, "min_lat"), (max, "max_lon"), (max, "max_lat"))
    )
    write_sea(tmp_path / "sea.gpkg", [shapely.box(west, south, (west + east) / 2, north)])
    labels = [f"--water_polygons={tmp_path / 'sea.gpkg'}", "--no_none_labels"]
    direct = build(world, tmp_path / "direct", *labels, "--osm", str(built.folder / "features"))
    processes = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]
    again = relabelled(built.folder, tmp_path / "set", *labels, *processes)
    assert (again.code, direct.code) == (0, 0)
    assert files(again.folder) == files(direct.folder)
    # And back: the source knows its sea, and what is relabelled without one does not.
    back = relabelled(again.folder, tmp_path / "back", "--osm", str(built.folder / "features"))
    assert "the sea is known to --dataset, of sea.gpkg" in caplog.text
    assert back.shards == built.shards
    assert (back.folder / "dataset.json").read_bytes() == (built.folder / "dataset.json").read_bytes()


def json_cells(built: Built) -> list[dict[str, str]]:
    header, *rows = (built.folder / "spatial_cell_info.csv").read_text().splitlines()
    return [dict(zip(header.split(","), row.split(","), strict=True)) for row in rows]


@pytest.mark.slow
def test_the_map_of_another_date(built: Built, world: SampleWorld, tmp_path: Path) -> None:
    """Its store says of which extracts it is, and so does the new dataset."""
    later = tmp_path / "later.osm.pbf"
    shutil.copy(world.osm_extract, later)
    store = tmp_path / "features"
    assert extract_features([f"--cells={world.cells_csv}", f"--osm={later}", f"--output={store}"]) == 0
    again = relabelled(built.folder, tmp_path / "set", f"--osm={store}")
    direct = build(world, tmp_path / "direct", "--osm", str(later))
    assert (again.code, direct.code) == (0, 0)
    assert [it["name"] for it in again.dataset["fingerprint"]["osm"]] == ["later.osm.pbf"]
    # A build from extracts keeps its store; one of a store keeps what that says of itself.
    ours, theirs = files(again.folder), files(direct.folder)
    assert ours.pop(GIVEN)
    assert ours == {name: content for name, content in theirs.items() if not name.startswith("features/")}


@pytest.mark.slow
def test_a_folder_of_version_1_0_becomes_one_of_now(tmp_path: Path) -> None:
    inputs, store = OLD / "inputs", tmp_path / "features"
    osm = f"--osm={inputs / 'map.osm.pbf'}"
    assert extract_features([f"--cells={inputs / 'cells.csv'}", osm, f"--output={store}"]) == 0
    old, before = Built(OLD / "set", 0), contents(OLD / "set")
    again = relabelled(old.folder, tmp_path / "set", f"--osm={store}")
    assert again.code == 1  # it has dead letters, which stay
    assert verify([str(again.folder)]) == 0
    assert images(again) == images(old)
    assert contents(OLD / "set") == before
    ours, theirs = again.dataset, old.dataset
    assert (theirs["schema_version"], ours["schema_version"]) == ("1.0.0", "1.1.0")
    for key in ("bands", "rejections", "scene_rejections", "unusable_scenes", "years"):
        assert ours[key] == theirs[key], key
    # The extract that failed then is not asked for now; but no image was read for its cells.
    lost = [(it["cell_id"], it["year"], f"({it['reason']}: {it['detail']})") for it in old.dead_letters]
    assert len(lost) == 4
    assert [
        (it["cell_id"], it["year"], it["detail"].partition(" built ")[2]) for it in again.dead_letters
    ] == lost
    assert {(it["stage"], it["reason"]) for it in again.dead_letters} == {("relabel", "no_images_in_source")}
    months = sum(sum(of_split.values()) for of_split in ours["images_by_month"].values())
    assert months == sum(len(it) for it in images(old).values())
    # Its images were chosen by the filters of then, which the new fingerprint still names.
    assert ours["fingerprint"]["filters"] == theirs["fingerprint"]["filters"]
    args = [f"--cells={inputs / 'cells.csv'}", f"--stac_url={inputs / 'items.json'}", "--years=2019-2022"]
    args += ["--cells_per_shard=2", "--max_scene_cloud=20", f"--osm={store}", f"--output={again.folder}"]
    assert build_dataset(args) == 2
