"""`--max_requests_per_second` and `--max_requests_in_flight`, as the hosts of a build see them."""

import contextlib
import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from beam_pipeline.sample_world import SampleWorld
from tests.imagery.range_server import RangeServer
from tests.imagery.stac_server import Fault, Item, StacServer
from tests.pipelines.chaos import retried
from tests.pipelines.conftest import Built, build
from tests.pipelines.hosts import Hosts, serving

RATE = 60.0
IN_FLIGHT = 2
WINDOW_S = 1.0


class Meter:
    """When requests came to all hosts, and how many were ever answered at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = 0
        self.most_at_once = 0
        self.times: list[float] = []

    @contextlib.contextmanager
    def request(self) -> Iterator[None]:
        with self._lock:
            self.times.append(time.monotonic())
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        try:
            yield
        finally:
            with self._lock:
                self._now -= 1

    def most_in_a_window(self, seconds: float) -> int:
        times = sorted(self.times)
        first = itertools.count()
        start, most = next(first), 0
        for stop, at in enumerate(times, 1):
            while times[start] <= at - seconds:
                start = next(first)
            most = max(most, stop - start)
        return most


class MeteredFiles(RangeServer):
    def __init__(self, root: Path, meter: Meter) -> None:
        super().__init__(root)
        self._meter = meter

    def fault_for(self, *args: Any) -> None:
        with self._meter.request():
            time.sleep(0.01)


class MeteredApi(StacServer):
    def __init__(self, items: list[Item], meter: Meter) -> None:
        super().__init__(items)
        self._meter = meter

    def _answer(self, *args: Any) -> None:
        with self._meter.request():
            super()._answer(*args)


@pytest.fixture(scope="module")
def few(world: SampleWorld, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Flags that leave a build of a few hundred requests."""
    cells = tmp_path_factory.mktemp("few") / "cells.csv"
    cells.write_text("".join(world.cells_csv.read_text().splitlines(keepends=True)[:4]))
    return ["--cells", str(cells), "--years", str(world.years[0])]


@pytest.fixture(scope="module")
def calm(few: list[str], world: SampleWorld, tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(world, tmp_path_factory.mktemp("calm") / "set", *few)


@contextlib.contextmanager
def metered(world: SampleWorld) -> Iterator[tuple[Hosts, Meter]]:
    meter = Meter()
    with serving(
        world, lambda root: MeteredFiles(root, meter), lambda items: MeteredApi(items, meter)
    ) as hosts:
        yield hosts, meter


def check(processes: int, world: SampleWorld, calm: Built, output: Path, *more: str) -> None:
    """Builds within limits, and looks at what the hosts saw: never too much, however slow the machine is.

    A machine that is so slow that no limit is ever reached passes too; any other exceeds limits that do not hold.
    """
    limits = (f"--max_requests_per_second={RATE}", f"--max_requests_in_flight={IN_FLIGHT * processes}")
    with metered(world) as (hosts, meter):
        # Not the three searches of the launch: what it asks again is no part of the job.
        hosts.api.faults += [Fault("/search", 503, passing=3)]
        limited = hosts.build(world, output, *more, *limits)
    assert limited.code == 0
    assert retried(limited.run["stages"]) == {"server_error": 1}, "counted in whichever process it was"
    assert any(calm.shards.values())
    assert limited.shards == calm.shards
    assert (limited.folder / "plan/fingerprint.json").read_text().count("max_requests") == 0
    assert meter.most_at_once <= IN_FLIGHT * processes
    # Each open asset may have had its turn, for two requests, just before the window.
    late = 2 * IN_FLIGHT * processes
    assert meter.most_in_a_window(WINDOW_S) <= RATE * WINDOW_S + 2 * processes + late
    assert meter.most_in_a_window(4 * WINDOW_S) <= RATE * 4 * WINDOW_S + 2 * processes + late


def test_limits_hold_in_one_process(few: list[str], calm: Built, world: SampleWorld, tmp_path: Path) -> None:
    check(1, world, calm, tmp_path / "set", *few)


@pytest.mark.slow
def test_limits_hold_over_processes(few: list[str], calm: Built, world: SampleWorld, tmp_path: Path) -> None:
    many = ["--direct_running_mode=multi_processing", "--direct_num_workers=2", "--cells_per_shard=1"]
    more = build(world, tmp_path / "calm", *few, "--cells_per_shard=1")
    check(2, world, more, tmp_path / "set", *few, *many)
