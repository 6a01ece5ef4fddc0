"""A run that was stopped goes on; the same input gives the same bytes, whoever does the work."""

import json
import logging
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from apache_beam.runners.portability.prism_runner import PrismJobServer

from beam_pipeline.sample_world import SampleWorld
from tests.pipelines.conftest import Built, build, flags

ROOT = Path(__file__).resolve().parents[2]


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


def test_a_build_that_is_killed_goes_on(built: Built, world: SampleWorld, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    command = [sys.executable, "-m", "beam_pipeline.build_dataset", *flags(world, folder)]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 300
            while len(state(folder)) < 2 and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.005)
        finally:
            process.kill()
            process.wait()
    assert process.returncode == -signal.SIGKILL, (tmp_path / "log").read_text()
    before = state(folder)
    assert 2 <= len(before) < len(built.shards)
    assert not (folder / "dataset.json").exists()

    again = build(world, folder)

    assert again.code == 0
    assert again.shards == built.shards
    assert (folder / "dataset.json").read_bytes() == (built.folder / "dataset.json").read_bytes()
    after = state(folder)
    assert {name: after[name] for name in before} == before
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


def test_a_damaged_scene_list_is_searched_for_again(built: Built, world: SampleWorld, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    shutil.copytree(built.folder, folder)
    name = next(name for name, content in built.shards.items() if content)
    (folder / name).unlink()
    lists = sorted((folder / "scenes").iterdir())
    sound = [path.read_bytes() for path in lists]
    for index, path in enumerate(lists):
        path.write_bytes((b"", b"[]", sound[index][:-20])[index % 3])
    again = build(world, folder)
    assert again.code == 0
    assert again.shards == built.shards
    searched = [path.read_bytes() == content for path, content in zip(lists, sound, strict=True)]
    assert any(searched)  # those of the shard's tile


def test_other_settings_are_refused(
    built: Built, world: SampleWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    before = state(built.folder)
    assert build(world, built.folder, "--seed", "7", "--max_bad_fraction", "0.1").code == 2
    message = capsys.readouterr().err
    assert "seed: 0 there, 7 now" in message
    assert "max_bad_fraction" in message
    assert state(built.folder) == before


def test_the_runner_that_beam_chooses_gives_the_same_bytes(
    built: Built,
    world: SampleWorld,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Without a network: Beam cannot download its Prism runner and falls back."""
    caplog.set_level(logging.INFO, "apache_beam.runners.direct.direct_runner")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setattr(PrismJobServer, "BIN_CACHE", str(tmp_path / "prism"))
    other = build(world, tmp_path / "set", "--runner=DirectRunner")
    assert "Falling back to DirectRunner" in caplog.text
    assert other.code == 0
    assert other.shards == built.shards
    assert (other.folder / "dataset.json").read_bytes() == (built.folder / "dataset.json").read_bytes()


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
