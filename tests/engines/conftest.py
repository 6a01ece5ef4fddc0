"""The sample world and the dataset built from it in process, with which engines are compared."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from apache_beam.runners.portability.job_server import StopOnExitJobServer

from beam_pipeline.verify import main as verify
from tests.pipelines.conftest import Built, built, made_patches, place_table, run_folder, whole_world, world

__all__ = ["built", "counters", "made_patches", "place_table", "run_folder", "whole_world", "world"]


def counters(of: Built) -> dict[tuple[str, str], int]:
    """Counts of each stage of a build, without its times."""
    stages = of.run["stages"].items()
    return {
        (stage, name): count
        for stage, of_stage in stages
        for name, count in of_stage.items()
        if isinstance(count, int)
    }


@pytest.fixture
def damaged(built: Built, tmp_path: Path) -> Path:
    """A copy of the dataset with a flipped bit in one of its shards."""
    folder = Path(shutil.copytree(built.folder, tmp_path / "damaged"))
    shard = min(folder.glob("*.tfrecord-*"), key=lambda path: path.name)
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    return folder


def check_verifying(folder: Path, engine: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Verifies a damaged dataset here and as a job on an engine: both find the same."""
    capsys.readouterr()
    assert verify([str(folder), "--processes=1"]) == 1
    here = capsys.readouterr().out
    assert "sha256" in here
    assert verify([str(folder), *engine]) == 1
    assert capsys.readouterr().out == here


@pytest.fixture
def job_servers_stop(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[StopOnExitJobServer]]:
    """The job servers that Beam starts; they are ended as the test ends.

    As pytest ends, their temporary folders are gone already, and they would stay.
    """
    started: list[StopOnExitJobServer] = []
    start = StopOnExitJobServer.start

    def noted(server: StopOnExitJobServer) -> object:
        started.append(server)
        return start(server)

    monkeypatch.setattr(StopOnExitJobServer, "start", noted)
    yield started
    for server in started:
        server.stop()
