"""Counts the worker processes that a job may have, by the runner's own flags."""

import os
import re
from typing import Any

from apache_beam.options.pipeline_options import (
    DebugOptions,
    DirectOptions,
    FlinkRunnerOptions,
    PipelineOptions,
    PortableOptions,
    WorkerOptions,
)

from beam_pipeline.jobs.runners import (
    LAUNCHERS_OWN,
    environment_type,
    is_in_process,
    runner_name,
)
from beam_pipeline.runtime.faults import InvalidInputError

# Source: https://cloud.google.com/compute/docs/general-purpose-machines; a name such as n2-standard-8 says it itself.
_VCPUS_OF_SHARED_CORES = {"f1-micro": 1, "g1-small": 1, "e2-micro": 2, "e2-small": 2, "e2-medium": 2}
_VCPUS = re.compile(r"(?:[a-z0-9]+-)?(?:standard|highmem|highcpu|megamem|ultramem|custom)-(\d+)(?:-|\Z)")
_ONE_CONTAINER = "no_use_multiple_sdk_containers"


def most_processes(options: PipelineOptions, flag: str) -> int:
    """Returns the most worker processes that a job can have at once; of Dataflow see `most_threads_on_dataflow`.

    Args:
        options: Beam's options.
        flag: The flag that needs to know it, for messages.

    Returns:
        At least 1, of one thread each.

    Raises:
        InvalidInputError: The flags leave it open; the message names the one to add.
    """
    runner = runner_name(options)
    if is_in_process(options):
        direct: Any = options.view_as(DirectOptions)
        if direct.direct_running_mode != "multi_processing":
            return 1
        return int(direct.direct_num_workers) or os.cpu_count() or 1  # 0 is Beam's word for all cores
    if environment_type(options) == LAUNCHERS_OWN:
        return 1
    if runner in ("FlinkRunner", "PortableRunner"):
        return _parallelism(options, flag) * _processes_of_a_node(options, flag)
    raise InvalidInputError(
        f"--{flag} cannot hold over a job of this runner: no flag says how many worker processes it starts. "
        f"Leave it out, or take another runner. Received: --runner={runner}"
    )


def most_threads_on_dataflow(options: PipelineOptions) -> int | None:
    """Returns the most threads of all workers that a job on Dataflow can have at once; each may do work of its own.

    Args:
        options: Beam's options.

    Returns:
        At least 1; None where the flags leave it open.
    """
    given: Any = options.view_as(WorkerOptions)
    workers = given.max_num_workers or (given.num_workers if given.autoscaling_algorithm == "NONE" else None)
    processes = _processes_of_a_dataflow_worker(options)
    threads = options.view_as(DebugOptions).number_of_worker_harness_threads
    return workers * processes * threads if workers and processes and threads else None


def _processes_of_a_dataflow_worker(options: PipelineOptions) -> int | None:
    """Dataflow starts a Python process for each vCPU unless told not to.

    Source: https://cloud.google.com/dataflow/docs/guides/troubleshoot-oom.
    """
    if _ONE_CONTAINER in (options.view_as(DebugOptions).experiments or []):
        return 1
    machine = str(options.view_as(WorkerOptions).machine_type or "").rpartition("/")[2]
    if machine in _VCPUS_OF_SHARED_CORES:
        return _VCPUS_OF_SHARED_CORES[machine]
    match = _VCPUS.match(machine)
    return None if match is None else max(1, int(match[1]))


def _parallelism(options: PipelineOptions, flag: str) -> int:
    parallelism = int(options.view_as(FlinkRunnerOptions).parallelism)
    if parallelism < 1:
        raise InvalidInputError(
            f"--{flag} is divided among the worker processes. Add --parallelism=N, which bounds how many nodes "
            f"work at once. Received: {'none' if parallelism == -1 else parallelism}"
        )
    return parallelism


def _processes_of_a_node(options: PipelineOptions, flag: str) -> int:
    given = str(options.view_as(PortableOptions).sdk_worker_parallelism)
    if not given.isdigit() or int(given) < 1:
        raise InvalidInputError(
            f"--{flag} is divided among the processes of a node. Add --sdk_worker_parallelism=N, 1 or more: "
            f"0 leaves it to the runner. Received: {given}"
        )
    return int(given)
