"""The sample world and the dataset built from it in process, with which engines are compared."""

from collections.abc import Iterator

import pytest
from apache_beam.runners.portability.job_server import StopOnExitJobServer

from tests.pipelines.conftest import Built, built, run_folder, whole_world, world

__all__ = ["built", "counters", "run_folder", "whole_world", "world"]


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
