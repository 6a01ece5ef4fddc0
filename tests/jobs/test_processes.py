"""The number of processes of a local build: as many as are of use, unless somebody says it."""

from collections.abc import Sequence
from typing import Any

import pytest

from beam_pipeline.cells.cell import Cell, ChipWindow
from beam_pipeline.dataset.settings import BuildSettings
from beam_pipeline.dataset.units import Unit, make_units
from beam_pipeline.jobs import processes
from beam_pipeline.jobs.build.options import build_settings, parse_build_flags
from beam_pipeline.jobs.processes import processes_of_build, use_processes
from beam_pipeline.jobs.worker_processes import most_processes
from beam_pipeline.runtime.cores import Machine
from beam_pipeline.runtime.faults import InvalidInputError

NEEDED = ["--output", "out", "--osm", "a.osm.pbf", "--years", "2018-2021"]
GB = 10**9
TWO = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]


def units(cells: int, of_shard: int = 16) -> list[Unit]:
    made = (
        Cell(number, "31UFR", "training", ChipWindow(32631, 60 * number, 0), 6, 6, 49, 49)
        for number in range(cells)
    )
    return make_units(made, of_shard)


def settings(*flags: str) -> BuildSettings:
    return build_settings(*parse_build_flags([*NEEDED, *flags]))


@pytest.mark.parametrize(
    ("asked", "cells", "of_shard", "machine", "count", "bound"),
    [
        # 4 years each: 250 cell-years are 62.5 cells.
        (None, 10_000, 16, Machine(8, free_memory=64 * GB), 8, "8 cores"),
        (None, 10_000, 16, Machine(8, True, 64 * GB), 8, "8 cores of the control group"),
        (None, 10_000, 16, Machine(8), 8, "8 cores"),
        (None, 10_000, 16, Machine(1), 1, "1 core"),
        (None, 200, 16, Machine(8), 3, "800 cell-years to do"),
        (None, 124, 16, Machine(8), 1, "496 cell-years to do"),
        (None, 125, 16, Machine(8), 2, "500 cell-years to do"),
        (None, 0, 16, Machine(8), 1, "0 shards to do"),
        (None, 500, 250, Machine(8), 2, "2 shards to do"),
        # 600 MB and 2.5 MB a cell-year: 0.76 GB for 16 cells, 3.16 GB for 256.
        (None, 10_000, 16, Machine(8, free_memory=3 * GB), 3, "3.0 GB of free memory, 0.8 each"),
        (None, 10_000, 256, Machine(8, free_memory=3 * GB), 1, "3.0 GB of free memory, 3.2 each"),
        # Who asks for it gets it, but for processes without work.
        (2, 32, 16, Machine(1, free_memory=0), 2, "2 shards to do"),
        (3, 64, 16, Machine(1, free_memory=0), 3, "--processes 3"),
        (1, 10_000, 16, Machine(8), 1, "--processes 1"),
        (4, 0, 16, Machine(8), 1, "0 shards to do"),
    ],
)
def test_the_narrowest_bound_holds(
    asked: int | None, cells: int, of_shard: int, machine: Machine, count: int, bound: str
) -> None:
    chosen = processes_of_build(asked, settings(), units(cells, of_shard), machine)
    assert (chosen.count, chosen.bound) == (count, bound)


class _Folder:
    """A dataset of which some shards are there."""

    def __init__(self, done: Sequence[Unit] = ()) -> None:
        self._done = [unit.name for unit in done]

    def shards(self) -> list[str]:
        return self._done


def _used(flags: Sequence[str], planned: Sequence[Unit], done: Sequence[Unit] = (), cores: int = 4) -> int:
    given, options = parse_build_flags([*NEEDED, *flags])
    folder: Any = _Folder(done)
    use_processes(given, options, build_settings(given, options), planned, folder, Machine(cores))
    return most_processes(options, "max_requests_per_second")


def test_a_build_takes_all_cores_and_says_so_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert _used([], units(1000)) == 4
    said = capsys.readouterr()
    assert said.err == "4 processes (4 cores); --processes N sets another number\n"
    assert said.out == ""
    assert _used(["--processes=3"], units(1000)) == 3
    assert "3 processes (--processes 3)" in capsys.readouterr().err


def test_only_what_is_left_to_do_counts(capsys: pytest.CaptureFixture[str]) -> None:
    planned = units(1000)
    assert _used([], planned, done=planned) == 1
    assert _used(["--processes=3"], planned, done=planned) == 1
    assert _used([], planned, done=planned[8:]) == 2
    assert (
        capsys.readouterr().err == "2 processes (512 cell-years to do); --processes N sets another number\n"
    )


@pytest.mark.parametrize(
    ("flags", "count"),
    [
        (TWO, 2),
        (["--direct_num_workers=1"], 1),  # its default, but said
        (["--direct_running_mode=in_memory"], 1),
        (["--runner=DirectRunner"], 1),
        (["--runner=PrismRunner"], 1),
        (["--runner=FlinkRunner"], 1),
    ],
)
def test_what_beams_flags_say_holds(flags: list[str], count: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert _used(flags, units(1000)) == count
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--processes=0"], "1 to 256"),
        (["--processes=257"], "1 to 256"),
        (["--processes=2", *TWO], "--direct_num_workers --direct_running_mode"),
        (["--processes=2", "--direct_num_workers=2"], "give one of them"),
        (["--processes=2", "--runner=DirectRunner"], "--runner=DirectRunner"),
        (["--processes=2", "--runner=PrismRunner"], "--runner=PrismRunner"),
        (["--processes=2", "--runner=FlinkRunner"], "--runner=FlinkRunner"),
        (["--processes=two"], "--processes"),
    ],
)
def test_two_who_say_it_are_refused(flags: list[str], named: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        settings(*flags)
    assert named in str(caught.value)


def test_a_retry_counts_what_has_dead_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    class Summary:
        def __init__(self, unit: Unit, dead_letters: int) -> None:
            self.name, self.dead_letters = unit.name, ["x"] * dead_letters

    planned = units(1000)
    summaries = [Summary(unit, index % 2) for index, unit in enumerate(planned)]
    monkeypatch.setattr(processes, "read_summaries", lambda folder, units: summaries)
    assert _used(["--retry_dead_letters"], planned, done=planned, cores=64) == 7  # half of 4,000 cell-years
