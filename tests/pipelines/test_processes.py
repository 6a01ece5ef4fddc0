"""A build in several processes: the same bytes and counts, and an end, however it ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from beam_pipeline.jobs.local_workers import LocalWorker
from beam_pipeline.sample_world import SampleWorld
from tests.pipelines.conftest import Built, build, flags
from tests.pipelines.patches_of_sample import make_patches

ROOT = Path(__file__).resolve().parents[2]
STOPPED_AFTER = 2
"""Shards."""


def counts(of: Built) -> dict[tuple[str, str], object]:
    """Counts and the numbers of times of each stage, without the times themselves."""
    return {
        (stage, name): count["count"] if isinstance(count, dict) else count
        for stage, of_stage in of.run["stages"].items()
        for name, count in of_stage.items()
    }


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[LocalWorker]:
    """The worker processes that this process starts."""
    workers: list[LocalWorker] = []
    start = LocalWorker.start_worker

    def noted(worker: LocalWorker) -> None:
        workers.append(worker)
        start(worker)

    monkeypatch.setattr(LocalWorker, "start_worker", noted)
    return workers


def test_two_processes_give_the_same_bytes_and_counts_and_a_rerun_starts_none(
    built: Built,
    world: SampleWorld,
    tmp_path: Path,
    started: list[LocalWorker],
    capfd: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "elsewhere" / "set"
    other = build(world, folder, "--reads_in_flight=1", "--processes=2")
    said = capfd.readouterr()
    assert other.code == 0
    assert len(started) == 2
    assert other.shards == built.shards
    assert (folder / "dataset.json").read_bytes() == (built.folder / "dataset.json").read_bytes()
    assert counts(other) == counts(built)
    assert said.err.count("2 processes (--processes 2)") == 1
    assert "Traceback" not in said.err + said.out

    again = build(world, folder, "--processes=2")
    assert again.code == 0
    assert len(started) == 2
    assert "processes (" not in capfd.readouterr().err


@pytest.mark.slow
def test_two_processes_make_the_same_patches(
    made_patches: Built, world: SampleWorld, place_table: Path, tmp_path: Path, started: list[LocalWorker]
) -> None:
    other = make_patches(world, tmp_path / "set", "--places", str(place_table), "--processes=2")
    assert other.code == 0
    assert len(started) == 2
    assert other.shards == made_patches.shards
    for name in ("dataset.json", "plan/fingerprint.json", "plan/units.jsonl"):
        assert (other.folder / name).read_bytes() == (made_patches.folder / name).read_bytes()
    assert counts(other) == counts(made_patches)


@pytest.mark.slow  # how many processes there are of few cells is also in tests/jobs/build/test_processes.py
def test_small_builds_stay_in_one_process(
    built: Built, world: SampleWorld, tmp_path: Path, started: list[LocalWorker]
) -> None:
    del built
    lines = world.cells_csv.read_text().splitlines(keepends=True)
    few = tmp_path / "few.csv"
    few.write_text("".join(lines[:2]))
    assert build(world, tmp_path / "set", f"--cells={few}").code == 0
    assert started == []


def children(parent: int) -> list[int]:
    """Returns the worker processes of a launcher."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            is_child = int(path.read_text().rpartition(")")[2].split()[1]) == parent
            if is_child and b"local_worker" in path.with_name("cmdline").read_bytes():
                found.append(int(path.parent.name))
        except OSError:  # ended meanwhile
            continue
    return found


def runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def shards(folder: Path) -> int:
    return sum(1 for _ in folder.glob("*.tfrecord-*"))


@pytest.fixture
def launched(
    world: SampleWorld, tmp_path: Path
) -> Iterator[tuple[subprocess.Popen[str], list[int], list[str]]]:
    """A build by two processes that has committed some shards; its workers; its command."""
    command = [sys.executable, "-m", "beam_pipeline.build_dataset", *flags(world, tmp_path / "set")]
    command += ["--cells_per_shard=1", "--processes=2"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 120
    while shards(tmp_path / "set") < STOPPED_AFTER:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)
    workers = children(process.pid)
    assert len(workers) == 2
    yield process, workers, command
    if process.poll() is None:
        process.kill()
        process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["worker", "interrupt", "terminate", "kill"])
def test_a_build_that_is_stopped_ends_with_its_workers_and_goes_on(
    how: str,
    built: Built,
    launched: tuple[subprocess.Popen[str], list[int], list[str]],
    tmp_path: Path,
) -> None:
    process, workers, command = launched
    match how:
        case "worker":
            os.kill(workers[1], signal.SIGKILL)
        case "interrupt":
            process.send_signal(signal.SIGINT)
        case "terminate":
            process.terminate()
        case "kill":
            process.kill()
    _, said = process.communicate(timeout=60)
    codes = {"worker": 1, "interrupt": 130, "terminate": -signal.SIGTERM, "kill": -signal.SIGKILL}
    assert process.returncode == codes[how]
    assert "Traceback" not in said
    if how == "worker":
        assert "a worker process ended by signal 9" in said
        assert "given again, the same command goes on" in said
    end = time.monotonic() + 20
    while any(map(runs, workers)):
        assert time.monotonic() < end, "a worker outlives its launcher"
        time.sleep(0.1)
    done = shards(tmp_path / "set")
    time.sleep(1)
    assert shards(tmp_path / "set") == done  # nobody works on

    assert subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 0
    assert Built(tmp_path / "set", 0).records() == built.records()


@pytest.mark.slow
def test_dead_letters_of_worker_processes_are_told(
    world: SampleWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    extract = tmp_path / "cut.osm.pbf"
    content = bytearray(world.osm_extract.read_bytes())
    content[-200:-100] = bytes(100)  # within the last block, behind the header that the launch reads
    extract.write_bytes(content)
    alone, together = (
        build(world, tmp_path / name, f"--osm={extract}", f"--processes={count}")
        for name, count in (("one", 1), ("two", 2))
    )
    assert (alone.code, together.code) == (1, 1)
    letters = [(one.folder / "dead_letters.jsonl").read_text() for one in (alone, together)]
    assert letters[0]
    assert letters[0] == letters[1]
    assert counts(alone) == counts(together)
    assert "dead letter" in capsys.readouterr().out
