"""A build that is killed, -9, again and again and at any step, ends as one that never was."""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from beam_pipeline.sample_world import SampleWorld
from tests.pipelines.conftest import Built, flags
from tests.pipelines.patches_of_sample import patches_flags

MANY_SEEDS = 8
MOST_ATTEMPTS = 300


def killed_build(world: SampleWorld, output: Path | str, temporary: Path, *more: str) -> list[dict[str, Any]]:
    """The attempts of a build, as `killed`."""
    own = [argument for argument in flags(world, Path("x")) if argument not in ("--output", "x")]
    return killed([*own, "--output", str(output), *more], temporary)


def killed(argv: Sequence[str], temporary: Path) -> list[dict[str, Any]]:
    """The attempts of `tests.pipelines.killed_build`, the last of which was left alone or outlived its steps.

    What a killed process leaves of its temporary files lies in `temporary`.
    """
    command = [sys.executable, "-m", "tests.pipelines.killed_build", *argv]
    environment = {**os.environ, "TMPDIR": str(temporary)}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return [json.loads(line) for line in ended.stdout.splitlines() if line.startswith('{"died"')]


def check(attempts: Sequence[dict[str, Any]], folder: Path, built: Built) -> None:
    """Compares what lies in the folder with the uninterrupted build, and the work with what was left to do."""
    again = Built(folder, 0)
    assert again.shards == built.shards
    same = ("dataset.json", "dead_letters.jsonl", "dataset_info.json", "spatial_cell_info.csv")
    for name in (*same, "plan/units.jsonl", "plan/fingerprint.json"):
        assert (folder / name).read_bytes() == (built.folder / name).read_bytes(), name
    for before, after in itertools.pairwise(attempts):
        assert set(before["done_before"]) <= set(after["done_before"])
    stages = json.loads((folder / "run.json").read_text())["stages"]
    done = len(attempts[-1]["done_before"])
    # Finished units are not read again.
    assert stages["plan"].get("units_committed_before", 0) == done
    assert stages.get("read_chips", {}).get("milliseconds", {"count": 0})["count"] == len(built.shards) - done
    left = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    assert left == {str(path.relative_to(built.folder)) for path in built.folder.rglob("*")}


def test_a_killed_build_goes_on_where_it_was(built: Built, world: SampleWorld, tmp_path: Path) -> None:
    attempts = killed_build(
        world, tmp_path / "set", tmp_path, "--kill_seed=3", "--most_steps=90", "--most_kills=4"
    )
    assert len(attempts) > 2
    check(attempts, tmp_path / "set", built)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(MANY_SEEDS))
def test_many_kill_points(
    built: Built, world: SampleWorld, tmp_path: Path, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    attempts = killed_build(world, tmp_path / "set", tmp_path, f"--kill_seed={seed}", "--most_steps=90")
    check(attempts, tmp_path / "set", built)
    assert len(attempts) < MOST_ATTEMPTS  # it ended by itself, and not stuck at one step
    with capsys.disabled():
        print(f"\nseed {seed}: killed {len(attempts) - 1} times, then byte-identical; lost 0")


@pytest.mark.slow
def test_killed_patches_go_on_where_they_were(
    made_patches: Built, world: SampleWorld, place_table: Path, tmp_path: Path
) -> None:
    argv = patches_flags(world, tmp_path / "set", "--places", str(place_table))
    argv += ["--program=beam_pipeline.resample_patches", "--kill_seed=3", "--most_steps=60", "--most_kills=8"]
    attempts = killed(argv, tmp_path)
    assert len(attempts) > 2
    check(attempts, tmp_path / "set", made_patches)
