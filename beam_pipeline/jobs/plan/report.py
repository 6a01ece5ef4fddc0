"""The plan as a person reads it."""

import dataclasses
from collections.abc import Mapping, Sequence

from beam_pipeline.jobs.plan.drawn import PAPER_CELLS
from beam_pipeline.jobs.plan.estimate import Assumptions, Estimate, process_mb
from beam_pipeline.jobs.plan.figures import Figure, Figures
from beam_pipeline.jobs.plan.prices import PRICES_AS_OF, Prices
from beam_pipeline.jobs.plan.schedule import Fleet, Times, most_useful

PAPER_BYTES = 445e9
"""Of the published dataset, compressed npz. Source: the paper, section 3."""

PAPER_IMAGES = 1_035_544
"""Of the published dataset. Source: the paper, section 3."""

SYSTEM_DISK_GB = 10.0
"""Of a worker's disk, for system, container and temporary files: a guess; the default of Dataflow is 25 in all."""
_EXTRACT_DISK = 9
"""Bytes of a worker's disk for each byte of an extract: a copy of it where it lies in a bucket, and temporary files."""


@dataclasses.dataclass(frozen=True)
class Machine:
    """A worker.

    Attributes:
        memory_gb: That it has.
        disk_gb: That it has.
    """

    memory_gb: float
    disk_gb: float


@dataclasses.dataclass(frozen=True)
class Plan:
    """All that a report is made of."""

    estimate: Estimate
    assumed: Assumptions
    fleet: Fleet
    machine: Machine | None
    """None where nobody sends a bill for workers, and what they have is not known."""

    figures: Figures
    prices: Prices
    most_workers: int


def report(plan: Plan) -> str:
    """Returns the text of a plan: its work, what a worker needs, its time and its bill."""
    by_number, useful = most_useful(plan.estimate, plan.fleet, plan.most_workers)
    blocks = [
        _work(plan.estimate),
        _beside_the_paper(plan.estimate),
        _worker(plan),
        _times(plan, by_number, useful),
    ]
    if plan.machine is not None:
        blocks.append(_bill(plan, plan.machine, by_number[plan.fleet.workers]))
    blocks.append(_assumed(plan.assumed))
    return "\n\n".join("\n".join(lines) for lines in blocks)


def _work(found: Estimate) -> list[str]:
    rows = [
        ("cells", f"{found.cells:,}", ""),
        ("tiles", f"{found.tiles:,}", ""),
        ("units (shards)", f"{found.units:,}", ""),
        ("tile-years (searches)", f"{found.tile_years:,}", ""),
        ("requests to the STAC API", f"{found.api_requests:,}", ""),
        ("scene assets opened", f"{found.work.opened:,}", ""),
        ("images", f"{found.work.images:,}", ""),
        ("requests for files", *_spread(found.requests, 1)),
        ("read, GB", *_spread(found.bytes_in, 1e9)),
        ("written, GB", *_spread(found.bytes_out, 1e9)),
        ("vCPU-hours", *_spread(found.cpu_hours, 1)),
    ]
    return table(("the work", "expected", "from - to"), rows)


def _spread(figure: Figure, unit: float) -> tuple[str, str]:
    value, low, high = (_number(one / unit) for one in (figure.value, figure.low, figure.high))
    return value, f"{low} - {high}"


def _number(value: float) -> str:
    """Writes a number with three digits, or with all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _beside_the_paper(found: Estimate) -> list[str]:
    an_image = found.bytes_out.value / found.work.images if found.work.images else 0
    return [
        f"An image takes {an_image / 1e3:,.0f} kB; of the published dataset {PAPER_BYTES / PAPER_IMAGES / 1e3:,.0f} kB "
        f"({PAPER_CELLS:,} cells, {PAPER_IMAGES:,} images, {PAPER_BYTES / 1e9:,.0f} GB), whose images would take "
        f"{an_image * PAPER_IMAGES / 1e9:,.0f} GB here."
    ]


def _worker(plan: Plan) -> list[str]:
    process_gb = process_mb(plan.fleet.threads, plan.estimate.years, plan.assumed, plan.figures) / 1e3
    memory = process_gb * plan.fleet.vcpus
    disk = SYSTEM_DISK_GB + _EXTRACT_DISK * plan.assumed.largest_extract_gb
    has = plan.machine
    rows = [
        ("memory, GB", _number(memory), f"{has.memory_gb:g}" if has else "?"),
        ("disk, GB", _number(disk), f"{has.disk_gb:g}" if has else "?"),
    ]
    lines = table(("a worker", "needs", "has"), rows)
    if has and memory > has.memory_gb:
        lines.append(
            "MEMORY MAY NOT SUFFICE: fewer threads a process, fewer cells a shard, or another machine"
        )
    if has and disk > has.disk_gb:
        lines.append("THE DISK MAY NOT SUFFICE for the largest extract")
    return lines


def _times(plan: Plan, by_number: Mapping[int, Times], useful: int) -> list[str]:
    an_hour = 0.0 if plan.machine is None else _an_hour(plan, plan.machine)
    rows = [
        (
            str(number),
            f"{found.readers:,}",
            *(_number(hours) for hours in (found.searches, found.labels, found.units, found.all)),
            f"{found.all * number * an_hour:,.2f}",
        )
        for number, found in by_number.items()
    ]
    head = ("workers", "units at once", "searches, h", "labels, h", "units, h", "all, h", "workers, USD")
    shown = len(head) if plan.machine else -1
    lines = table(head[:shown], [row[:shown] for row in rows])
    rates = f"{_rate(plan.fleet.files_per_second)} for files, {_rate(plan.fleet.api_per_second)} to the API"
    if useful < max(by_number):
        lines.append(f"More than {useful} workers buy nothing at {rates}.")
    elif len(by_number) > 1:
        lines.append(f"Up to {useful} workers each doubling buys time at {rates}.")
    return lines


def _rate(per_second: float | None) -> str:
    return "no limit" if per_second is None else f"{per_second:g} requests a second"


def _bill(plan: Plan, machine: Machine, taken: Times) -> list[str]:
    workers = taken.all * plan.fleet.workers * _an_hour(plan, machine)
    out_gb = plan.estimate.bytes_out.value / 1e9
    in_gb = plan.estimate.bytes_in.value / 1e9
    rows = [
        (f"{plan.fleet.workers} workers for {_number(taken.all)} h", f"{workers:,.2f}"),
        (f"keeping {_number(out_gb)} GB, a month", f"{out_gb * plan.prices.price_storage_gb_month:,.2f}"),
        (f"Cloud NAT, if used, for {_number(in_gb)} GB", f"{in_gb * plan.prices.price_nat_gb:,.2f}"),
    ]
    return table(("the bill", f"USD ({PRICES_AS_OF})"), rows)


def _an_hour(plan: Plan, machine: Machine) -> float:
    return plan.prices.worker_hour(plan.fleet.vcpus, machine.memory_gb, machine.disk_gb)


def _assumed(assumed: Assumptions) -> list[str]:
    weather = assumed.weather
    return [
        f"Assumed, not measured: a chip is clear on {weather.clear:.0%} of {weather.scenes} dates a year, chips of a "
        f"date alike by {weather.alike:g}; extracts of {_number(assumed.extract_gb)} GB. Not counted: "
        "the start of workers, repeated requests, looks at offsets, what is shuffled."
    ]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Returns the lines of a table whose first column is of words and the others of numbers."""
    whole = [head, *rows]
    widths = [max(map(len, column)) for column in zip(*whole, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in whole
    ]
