"""A worker process's part of the job's limits, by how many processes the runner's own flags allow."""

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
    is_dataflow,
    is_in_process,
    runner_name,
)
from beam_pipeline.runtime.faults import InvalidInputError

MAX_REQUESTS_PER_SECOND = 1_000_000
"""More is no limit: a whole job on hundreds of workers stays below."""

# Source: https://cloud.google.com/compute/docs/general-purpose-machines; a name such as n2-standard-8 says it itself.
_VCPUS_OF_SHARED_CORES = {"f1-micro": 1, "g1-small": 1, "e2-micro": 2, "e2-small": 2, "e2-medium": 2}
_VCPUS = re.compile(r"(?:[a-z0-9]+-)?(?:standard|highmem|highcpu|megamem|ultramem|custom)-(\d+)(?:-|\Z)")
_ONE_CONTAINER = "no_use_multiple_sdk_containers"


def share_per_second(options: PipelineOptions, most: float | None) -> float | None:
    """Returns how many requests a second are the part of one worker process.

    Args:
        options: Beam's options.
        most: Those of the whole job; None for no limit.

    Returns:
        Requests a second; None for no limit.

    Raises:
        InvalidInputError: It is out of range, or the flags do not say how many processes there may be.
    """
    if most is None:
        return None
    if not 0 < most <= MAX_REQUESTS_PER_SECOND:
        raise InvalidInputError(
            f"--max_requests_per_second must lie above 0 and up to {MAX_REQUESTS_PER_SECOND}. Received: {most}"
        )
    return most / most_processes(options, "max_requests_per_second")


def share_in_flight(options: PipelineOptions, most: int | None, reads_in_flight: int) -> int:
    """Returns how many requests at once are the part of one worker process.

    Args:
        options: Beam's options.
        most: Those of the whole job; None for no limit.
        reads_in_flight: The most that a process can make use of.

    Returns:
        At least 1.

    Raises:
        InvalidInputError: There is less than one for each process, or the flags do not say how many there may be.
    """
    if most is None:
        return reads_in_flight
    processes = most_processes(options, "max_requests_in_flight")
    if most < processes:
        raise InvalidInputError(
            f"--max_requests_in_flight must leave one for each of the {processes} worker processes that the job "
            f"may have: raise it, or allow fewer. Received: {most}"
        )
    return min(reads_in_flight, most // processes)


def most_processes(options: PipelineOptions, flag: str) -> int:
    """Returns the most worker processes that a job can have at once.

    Args:
        options: Beam's options.
        flag: The flag that needs to know it, for messages.

    Returns:
        At least 1. A process may run many threads.

    Raises:
        InvalidInputError: The flags leave it open; the message names the one to add.
    """
    runner = runner_name(options)
    if is_dataflow(options):
        return _dataflow_workers(options, flag) * _processes_of_a_worker(options, flag)
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


def _dataflow_workers(options: PipelineOptions, flag: str) -> int:
    given: Any = options.view_as(WorkerOptions)
    most = given.max_num_workers or (given.num_workers if given.autoscaling_algorithm == "NONE" else None)
    if not most:
        raise InvalidInputError(
            f"--{flag} is divided among the workers, and Dataflow chooses how many. Add --max_num_workers=N. "
            "Received: neither that nor --autoscaling_algorithm=NONE with --num_workers"
        )
    return int(most)


def _processes_of_a_worker(options: PipelineOptions, flag: str) -> int:
    """Dataflow starts a Python process for each vCPU unless told not to.

    Source: https://cloud.google.com/dataflow/docs/guides/troubleshoot-oom.
    """
    if _ONE_CONTAINER in (options.view_as(DebugOptions).experiments or []):
        return 1
    machine = str(options.view_as(WorkerOptions).machine_type or "").rpartition("/")[2]
    if machine in _VCPUS_OF_SHARED_CORES:
        return _VCPUS_OF_SHARED_CORES[machine]
    match = _VCPUS.match(machine)
    if match is None:
        raise InvalidInputError(
            f"--{flag} is divided among the processes of a worker, one for each vCPU. Add --machine_type with a "
            f"name that says how many, e.g. n1-standard-4, or --experiments={_ONE_CONTAINER}. "
            f"Received: {machine or 'no --machine_type'}"
        )
    return max(1, int(match[1]))


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
