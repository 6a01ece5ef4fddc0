"""The number of processes of this machine that a local build takes."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions

from beam_pipeline.dataset.commits import read_summaries
from beam_pipeline.dataset.folder import DatasetFolder
from beam_pipeline.dataset.settings import LabelSettings
from beam_pipeline.dataset.units import Unit
from beam_pipeline.jobs.runners import names_processes, runner_name
from beam_pipeline.runtime.cores import Machine, Processes, choose_processes
from beam_pipeline.runtime.faults import InvalidInputError

MOST_PROCESSES = 256

PROCESS_CELL_YEARS = 250
"""Cell-years that pay for a process: about 14 s of one core, where starting one takes about 5 s of it.

Source: tests/benchmarks/scaling.py.
"""

_PROCESS_MEMORY = 600_000_000
_CELL_YEAR_MEMORY = 2_500_000
"""Bytes that a worker holds: by itself, and for each cell-year of the unit that it reads and encodes.

Source: tests/benchmarks/scaling.py.
"""


def add_processes_flag(group: argparse._ActionsContainer) -> None:
    """Adds the flag.

    Args:
        group: A parser or a group of its flags.
    """
    group.add_argument(
        "--processes",
        type=int,
        metavar="N",
        help="worker processes on this machine (as many as there are cores, memory and work for)",
    )


def check_processes(given: Any, options: PipelineOptions) -> None:
    """Refuses the flag where another rules.

    Raises:
        InvalidInputError: It is out of range, or goes with Beam's flags of processes or another runner.
    """
    if given.processes is None:
        return
    if not 1 <= given.processes <= MOST_PROCESSES:
        raise InvalidInputError(f"--processes must lie in 1 to {MOST_PROCESSES}. Received: {given.processes}")
    if names_processes(options):
        raise InvalidInputError(
            "--processes says the same as Beam's --direct_num_workers and --direct_running_mode: give one of them. "
            f"Received: --processes={given.processes} and {' '.join(names_processes(options))}"
        )
    if runner_name(options) != "FnApiRunner":
        raise InvalidInputError(
            "--processes is for a run without --runner, on this machine: other runners have flags of their own. "
            f"Received: --processes={given.processes} --runner={runner_name(options)}"
        )


def processes_of_build(
    asked: int | None,
    settings: LabelSettings,
    pending: Sequence[Unit],
    machine: Machine,
    worth: int = PROCESS_CELL_YEARS,
) -> Processes:
    """Chooses the number of processes.

    Args:
        asked: What a person asks for; None for as many as are of use.
        settings: The build's.
        pending: Units that are to be done.
        machine: What this process may use.
        worth: Cell-years that pay for a process.

    Returns:
        The number, and what bounds it. Without `asked` no process has less to do than its start takes.
    """
    cell_years = sum(len(unit.cells) for unit in pending) * len(settings.years)
    most_cells = max((len(unit.cells) for unit in pending), default=0)
    memory = _PROCESS_MEMORY + _CELL_YEAR_MEMORY * most_cells * len(settings.years)
    chosen = choose_processes(asked, machine, pieces=len(pending), piece="shard", piece_memory=memory)
    most = max(1, cell_years // worth)
    if asked is None and most < chosen.count:
        return Processes(most, f"{cell_years} cell-years to do")
    return chosen


def use_processes(
    given: Any,
    options: PipelineOptions,
    settings: LabelSettings,
    planned: Sequence[Unit],
    folder: DatasetFolder,
    machine: Machine,
    worth: int = PROCESS_CELL_YEARS,
) -> None:
    """Chooses the number of processes of a local build, says it, and writes it into Beam's options.

    Where Beam's own flags say it, or the runner is another, nothing is done.

    Args:
        given: Our flags, from `parse_build_flags`.
        options: Beam's options.
        settings: The build's.
        planned: The plan.
        folder: Of the dataset.
        machine: What this process may use.
        worth: Cell-years that pay for a process.
    """
    if runner_name(options) != "FnApiRunner" or names_processes(options):
        return
    pending = _pending(settings, planned, folder)
    take_processes(options, processes_of_build(given.processes, settings, pending, machine, worth))


def take_processes(options: PipelineOptions, chosen: Processes) -> None:
    """Says how many processes a local job takes, and writes it into Beam's options.

    Where Beam's own flags say it, or the runner is another, nothing is done.

    Args:
        options: Beam's options.
        chosen: The number; of 1 there is nothing to say.
    """
    if runner_name(options) != "FnApiRunner" or names_processes(options) or chosen.count == 1:
        return
    print(f"{chosen.count} processes ({chosen.bound}); --processes N sets another number", file=sys.stderr)
    direct: Any = options.view_as(DirectOptions)
    direct.direct_running_mode = "multi_processing"
    direct.direct_num_workers = chosen.count


def _pending(settings: LabelSettings, planned: Sequence[Unit], folder: DatasetFolder) -> list[Unit]:
    """Returns the units to do, by one listing: a damaged shard, which is done again too, is not seen here."""
    done = set(folder.shards())
    if settings.retry_dead_letters:
        done -= {summary.name for summary in read_summaries(folder, planned) if summary.dead_letters}
    return [unit for unit in planned if unit.name not in done]
