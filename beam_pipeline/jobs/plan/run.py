"""Plans of flags: those of `plan_cost`, and those of a build that is not to be launched."""

import contextlib
from collections.abc import Sequence
from typing import Any

from apache_beam.options.pipeline_options import DebugOptions, PipelineOptions, WorkerOptions

from beam_pipeline.dataset.settings import BuildSettings
from beam_pipeline.dataset.units import Unit, make_units
from beam_pipeline.jobs.build.options import parse_years
from beam_pipeline.jobs.given_cells import find_cells
from beam_pipeline.jobs.plan import options as defaults
from beam_pipeline.jobs.plan.drawn import PAPER_CELLS, PAPER_TILES, draw_units
from beam_pipeline.jobs.plan.estimate import Assumptions, estimate
from beam_pipeline.jobs.plan.figures import MEASURED
from beam_pipeline.jobs.plan.prices import Prices, given_prices
from beam_pipeline.jobs.plan.reads import PlannedUnit, Weather
from beam_pipeline.jobs.plan.report import Machine, Plan
from beam_pipeline.jobs.plan.schedule import Fleet
from beam_pipeline.jobs.runners import is_dataflow
from beam_pipeline.jobs.worker_processes import most_processes, most_threads_on_dataflow
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.progress import Progress


def plan_of_flags(given: Any) -> Plan:
    """Plans what the flags of `plan_cost` say.

    Args:
        given: From `parse_plan_flags`.

    Raises:
        InvalidInputError: The cells cannot be read, or there are none.
    """
    years = parse_years(given.years or "2017-2020")
    with Progress(None, "finding the cells"):
        if given.paper:
            units = draw_units(PAPER_CELLS, PAPER_TILES, given.cells_per_shard, given.seed)
        else:
            of_cells = make_units(find_cells(given, given.seed), given.cells_per_shard)
            units = [PlannedUnit.of_unit(unit) for unit in of_cells]
    largest = given.extract_gb if given.largest_extract_gb is None else given.largest_extract_gb
    assumed = Assumptions(
        weather=Weather(given.clear_fraction, given.alike, given.scenes_per_year),
        cells_per_shard=given.cells_per_shard,
        reads_in_flight=given.reads_in_flight,
        extract_gb=max(given.extract_gb, largest),
        largest_extract_gb=largest,
        seed=given.seed,
    )
    fleet = Fleet(
        workers=given.workers,
        vcpus=given.vcpus,
        threads=given.threads,
        files_per_second=given.max_requests_per_second,
        api_per_second=given.max_api_requests_per_second,
        reads_in_flight=given.reads_in_flight,
        latency_s=given.latency_ms / 1000,
    )
    memory_gb = given.memory_gb or given.vcpus * defaults.MEMORY_GB_OF_A_VCPU
    machine = Machine(memory_gb, given.disk_gb)
    return _planned(units, years, assumed, fleet, machine, given_prices(given), given.most_workers)


def plan_of_build(
    units: Sequence[Unit], settings: BuildSettings, options: PipelineOptions, extract_sizes: Sequence[int]
) -> Plan:
    """Plans a build, with the workers and limits that its flags say and the defaults of `plan_cost` else.

    Args:
        units: Those that are to be done.
        settings: Of the build.
        options: Beam's options.
        extract_sizes: Bytes of each extract.
    """
    sizes = [size / 1e9 for size in extract_sizes]
    assumed = Assumptions(
        weather=Weather(defaults.CLEAR_FRACTION, defaults.ALIKE, defaults.SCENES_A_YEAR),
        cells_per_shard=settings.cells_per_shard,
        reads_in_flight=settings.files.in_flight,
        extract_gb=sum(sizes),
        largest_extract_gb=max(sizes, default=0.0),
        seed=settings.seed,
    )
    fleet = _fleet_of(settings, options)
    disk_gb = options.view_as(WorkerOptions).disk_size_gb or defaults.DISK_GB
    machine = Machine(fleet.vcpus * defaults.MEMORY_GB_OF_A_VCPU, float(disk_gb))
    dataflow = is_dataflow(options)
    most = defaults.MOST_WORKERS if dataflow else fleet.workers
    planned = [PlannedUnit.of_unit(unit) for unit in units]
    return _planned(
        planned,
        settings.years,
        assumed,
        fleet,
        machine if dataflow else None,
        Prices(),
        max(most, fleet.workers),
    )


def _fleet_of(settings: BuildSettings, options: PipelineOptions) -> Fleet:
    """Returns the workers that a runner's flags say; on Dataflow each vCPU has a process of many threads."""
    workers, vcpus, threads = 1, 1, 1
    if is_dataflow(options):
        given: Any = options.view_as(WorkerOptions)
        workers = given.max_num_workers or given.num_workers or defaults.WORKERS
        threads = options.view_as(DebugOptions).number_of_worker_harness_threads or defaults.THREADS
        at_work = most_threads_on_dataflow(options)
        vcpus = defaults.VCPUS if at_work is None else max(1, at_work // (workers * threads))
    else:
        with contextlib.suppress(InvalidInputError):  # the flags leave it open
            workers = most_processes(options, "max_requests_per_second")
    return Fleet(
        workers=workers,
        vcpus=vcpus,
        threads=threads,
        files_per_second=settings.files.whole().per_second,
        api_per_second=settings.api.whole().per_second,
        reads_in_flight=settings.files.in_flight,
        latency_s=defaults.LATENCY_MS / 1000,
        in_lanes=is_dataflow(options),
    )


def _planned(
    units: Sequence[PlannedUnit],
    years: Sequence[int],
    assumed: Assumptions,
    fleet: Fleet,
    machine: Machine | None,
    prices: Prices,
    most_workers: int,
) -> Plan:
    with Progress(None, "walking through the scenes"):
        found = estimate(units, years, assumed, MEASURED)
    return Plan(found, assumed, fleet, machine, MEASURED, prices, most_workers)
