"""`--max_requests_per_second` and its kin, as the hosts of a build see them."""

import contextlib
import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from beam_pipeline.jobs import request_shares
from beam_pipeline.jobs.build.options import build_settings, parse_build_flags
from beam_pipeline.sample_world import SampleWorld
from tests.imagery.range_server import RangeServer
from tests.imagery.stac_server import Fault, Item, StacServer
from tests.pipelines.chaos import retried
from tests.pipelines.conftest import Built, build, flags
from tests.pipelines.hosts import Hosts, serving

RATE = 60.0
API_RATE = 20.0
IN_FLIGHT = 2
WINDOW_S = 1.0


class Meter:
    """When requests came to hosts, and how many of all were ever answered at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = 0
        self.most_at_once = 0
        self._times: dict[str, list[float]] = {"api": [], "files": []}

    @contextlib.contextmanager
    def request(self, host: str) -> Iterator[None]:
        with self._lock:
            self._times[host].append(time.monotonic())
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        try:
            yield
        finally:
            with self._lock:
                self._now -= 1

    def most_in_a_window(self, host: str, seconds: float) -> int:
        times = sorted(self._times[host])
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
        with self._meter.request("files"):
            time.sleep(0.01)


class MeteredApi(StacServer):
    def __init__(self, items: list[Item], meter: Meter) -> None:
        super().__init__(items)
        self._meter = meter

    def _answer(self, *args: Any) -> None:
        with self._meter.request("api"):
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
    limits = (
        f"--max_requests_per_second={RATE}",
        f"--max_api_requests_per_second={API_RATE}",
        f"--max_requests_in_flight={IN_FLIGHT * processes}",
    )
    with metered(world) as (hosts, meter):
        # Not the three searches of the launch: what it asks again is no part of the job.
        hosts.api.faults += [Fault("/search", 503, passing=3)]
        limited = hosts.build(world, output, *more, *limits)
    assert limited.code == 0
    assert retried(limited.run["stages"]) == {"throttled": 1}, "counted in whichever process it was"
    assert any(calm.shards.values())
    assert limited.shards == calm.shards
    assert (limited.folder / "plan/fingerprint.json").read_text().count("requests") == 0
    assert meter.most_at_once <= IN_FLIGHT * processes
    # Each open asset may have had its turn, for two requests, just before the window.
    late = 2 * IN_FLIGHT * processes
    for seconds in (WINDOW_S, 4 * WINDOW_S):
        assert meter.most_in_a_window("files", seconds) <= RATE * seconds + 2 * processes + late
        assert meter.most_in_a_window("api", seconds) <= API_RATE * seconds + processes


def test_limits_hold_in_one_process(few: list[str], calm: Built, world: SampleWorld, tmp_path: Path) -> None:
    check(1, world, calm, tmp_path / "set", *few)


def in_units_of_a_cell(few: list[str], world: SampleWorld, output: Path) -> Built:
    return build(world, output, *few, "--cells_per_shard=1")


TWO = ("--direct_running_mode=multi_processing", "--direct_num_workers=2", "--cells_per_shard=1")


@pytest.mark.slow
def test_limits_hold_over_processes(few: list[str], world: SampleWorld, tmp_path: Path) -> None:
    more = in_units_of_a_cell(few, world, tmp_path / "calm")
    check(2, world, more, tmp_path / "set", *few, *TWO)


@pytest.mark.slow
def test_limits_hold_over_lanes(
    few: list[str], world: SampleWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes do the work of a job that might have 800: no more than two of its lanes at once."""
    monkeypatch.setattr(request_shares, "most_processes", lambda options, flag: 800)
    more = in_units_of_a_cell(few, world, tmp_path / "calm")
    check(2, world, more, tmp_path / "set", *few, *TWO)


def test_a_build_in_lanes_is_the_same(
    built: Built, world: SampleWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_shares, "most_processes", lambda options, flag: 800)
    limits = ("--max_requests_per_second=100", "--max_api_requests_per_second=3")
    settings = build_settings(*parse_build_flags([*flags(world, tmp_path), *limits]))
    assert (settings.files.parts, settings.files.by_lane) == (5, True)
    assert (settings.api.parts, settings.api.by_lane) == (3, True)
    in_lanes = build(world, tmp_path / "set", *limits)
    assert in_lanes.code == 0
    assert in_lanes.shards == built.shards
