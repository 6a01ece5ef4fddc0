"""A run that was stopped goes on; the same input gives the same bytes, whoever does the work."""

import json
import shutil
from pathlib import Path

import pytest

from beam_pipeline.sample_world import SampleWorld
from tests.pipelines.conftest import Built, build


def state(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("opensentinelmap-*")}


def test_only_what_is_missing_is_done_again(built: Built, world: SampleWorld, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    shutil.copytree(built.folder, folder)
    names = sorted(built.shards)
    lost = names[:: max(1, len(names) // 3)]
    for name in lost:
        (folder / name).unlink()
    (folder / "dataset.json").unlink()
    # A summary without its shard is that of an attempt that was killed in between; a leftover has no name.
    (folder / "summaries" / f"{lost[0]}.summary.json").write_text("{")
    (folder / "tmp").mkdir()
    (folder / "tmp" / "half").write_bytes(b"half a shard")
    before = state(folder)

    again = build(world, folder)

    assert again.code == 0
    assert again.shards == built.shards
    assert (folder / "dataset.json").read_bytes() == (built.folder / "dataset.json").read_bytes()
    after = state(folder)
    assert {name for name in after if after[name] != before.get(name)} == set(lost)
    assert not (folder / "tmp").exists()


def test_a_rerun_walks_the_scene_list_that_is_there(built: Built, world: SampleWorld, tmp_path: Path) -> None:
    """Even when the catalogue has changed its mind in the meantime."""
    folder = tmp_path / "set"
    shutil.copytree(built.folder, folder)
    name = next(name for name, content in built.shards.items() if content)
    unit = next(
        json.loads(line)
        for line in (folder / "plan/units.jsonl").read_text().splitlines()
        if json.loads(line)["name"] == name
    )
    (folder / name).unlink()
    for year in world.years:
        path = folder / "scenes" / f"{unit['tile']}_{year}.json"
        content = json.loads(path.read_text())
        content["scenes"] = []
        path.write_text(json.dumps(content))
    again = build(world, folder)
    assert again.code == 0
    assert again.shards[name] == b""


def test_other_settings_are_refused(
    built: Built, world: SampleWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    before = state(built.folder)
    assert build(world, built.folder, "--seed", "7", "--max_bad_fraction", "0.1").code == 2
    message = capsys.readouterr().err
    assert "seed: 0 there, 7 now" in message
    assert "max_bad_fraction" in message
    assert state(built.folder) == before


def test_another_machine_order_and_runner_give_the_same_bytes(
    built: Built, world: SampleWorld, tmp_path: Path
) -> None:
    other = build(
        world,
        tmp_path / "elsewhere" / "set",
        *("--reads_in_flight", "1"),
        *("--direct_running_mode", "multi_processing", "--direct_num_workers", "2"),
    )
    assert other.code == 0
    assert other.shards == built.shards
    assert (other.folder / "dataset.json").read_bytes() == (built.folder / "dataset.json").read_bytes()
