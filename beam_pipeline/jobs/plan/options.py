"""Flags of `plan_cost`."""

import argparse
from collections.abc import Sequence

from beam_pipeline.jobs.dataset_flags import MAX_CELLS_PER_SHARD
from beam_pipeline.jobs.given_cells import add_cells_flags, check_cells_flags
from beam_pipeline.jobs.plan.prices import Prices, add_price_flags
from beam_pipeline.jobs.request_shares import API_ON_DATAFLOW, FILES_ON_DATAFLOW, MAX_REQUESTS_PER_SECOND
from beam_pipeline.jobs.runners import SEEDS, check_ranges
from beam_pipeline.runtime.flags import FlagParser

PROG = "python -m beam_pipeline.plan_cost"

WORKERS = 25
MOST_WORKERS = 256
VCPUS = 2
THREADS = 12
"""Of a process. Source: https://cloud.google.com/dataflow/docs/guides/troubleshoot-oom, for batch jobs."""

MEMORY_GB_OF_A_VCPU = 8.0
"""Of n2-highmem. Source: https://cloud.google.com/compute/docs/general-purpose-machines."""

DISK_GB = 25.0
"""Source: https://cloud.google.com/dataflow/docs/shuffle-for-batch."""

LATENCY_MS = 100.0
"""With the ocean between workers and files: a guess, as `request_shares.FILES_OF_A_LANE` is made with."""

CLEAR_FRACTION = 0.45
"""Clouds cover 55 % of land. Source: King et al. 2013, doi:10.1109/TGRS.2012.2227333. A place of your own differs."""

ALIKE = 0.5
"""Correlation of two chips of a date: a guess. What is read rises as it falls."""

SCENES_A_YEAR = 73
"""Two satellites pass every five days. Source: ESA, Sentinel-2 User Handbook. Where orbits overlap there are more."""


def build_parser(prog: str = PROG, description: str = "") -> FlagParser:
    """Returns the parser of the flags.

    Args:
        prog: The command, as a person types it.
        description: What the program does.
    """
    parser = FlagParser(prog, description)
    which = parser.add_argument_group("of which cells (one of --cells, --area, --paper)")
    add_cells_flags(which)
    which.add_argument(
        "--paper",
        action="store_true",
        help="as many as the published dataset has, strewn over the Earth's tiles",
    )
    which.add_argument(
        "--years", help="years and ranges, separated by commas, e.g. 2017,2019-2021 (2017-2020)"
    )
    which.add_argument(
        "--cells_per_shard", type=int, default=16, help="most cells of a tile in one shard (16)"
    )
    which.add_argument(
        "--seed", type=int, default=0, help="draws the weather, and the cells of --max_cells (0)"
    )
    _add_fleet(parser)
    guesses = parser.add_argument_group("what is not measured")
    guesses.add_argument(
        "--clear_fraction",
        type=float,
        default=CLEAR_FRACTION,
        help=f"of all dates, those that pass the filters over a chip ({CLEAR_FRACTION}); of a dataset that is built: "
        "images / (images + scene_rejections) of dataset.json",
    )
    guesses.add_argument(
        "--alike", type=float, default=ALIKE, help=f"correlation of two chips of a date, 0 to 1 ({ALIKE})"
    )
    guesses.add_argument(
        "--scenes_per_year",
        type=int,
        default=SCENES_A_YEAR,
        help=f"dates of a tile in a year ({SCENES_A_YEAR})",
    )
    guesses.add_argument("--extract_gb", type=float, default=0.0, help="all .osm.pbf extracts together (0)")
    guesses.add_argument("--largest_extract_gb", type=float, help="the largest (all in one)")
    add_price_flags(parser)
    return parser


def _add_fleet(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("workers and limits")
    group.add_argument("--workers", type=int, default=WORKERS, help=f"how many ({WORKERS})")
    group.add_argument(
        "--most_workers",
        type=int,
        default=MOST_WORKERS,
        help=f"the most whose time is worked out ({MOST_WORKERS})",
    )
    group.add_argument("--vcpus", type=int, default=VCPUS, help=f"of a worker, with a process each ({VCPUS})")
    group.add_argument("--threads", type=int, default=THREADS, help=f"of each of its processes ({THREADS})")
    group.add_argument(
        "--memory_gb", type=float, help=f"of a worker ({MEMORY_GB_OF_A_VCPU:g} a vCPU, as highmem)"
    )
    group.add_argument("--disk_gb", type=float, default=DISK_GB, help=f"of a worker ({DISK_GB:g})")
    group.add_argument(
        "--max_requests_per_second",
        type=float,
        default=FILES_ON_DATAFLOW,
        metavar="R",
        help=f"requests for files, of the whole job ({FILES_ON_DATAFLOW:g})",
    )
    group.add_argument(
        "--max_api_requests_per_second",
        type=float,
        default=API_ON_DATAFLOW,
        metavar="R",
        help=f"requests to the STAC API ({API_ON_DATAFLOW:g})",
    )
    group.add_argument(
        "--reads_in_flight", type=int, default=8, help="assets that a process reads at once (8)"
    )
    group.add_argument(
        "--latency_ms",
        type=float,
        default=LATENCY_MS,
        help=f"between a request and its answer ({LATENCY_MS:g})",
    )


def parse_plan_flags(
    argv: Sequence[str] | None, prog: str = PROG, description: str = ""
) -> argparse.Namespace:
    """Parses flags, and checks what needs no file.

    Args:
        argv: Arguments without the program's name; those of the process by default.
        prog: The command, as a person types it.
        description: What the program does.

    Raises:
        InvalidInputError: A flag is unknown, missing or malformed.
    """
    given = build_parser(prog, description).parse_all(argv)
    check_cells_flags(given, "paper")
    rate = (1e-3, MAX_REQUESTS_PER_SECOND)
    check_ranges(
        given,
        cells_per_shard=(1, MAX_CELLS_PER_SHARD),
        seed=SEEDS,
        workers=(1, 4000),
        most_workers=(1, 4000),
        vcpus=(1, 416),
        threads=(1, 100),
        memory_gb=(0.5, 12_000),
        disk_gb=(1, 65_536),
        max_requests_per_second=rate,
        max_api_requests_per_second=rate,
        reads_in_flight=(1, 64),
        latency_ms=(0, 60_000),
        clear_fraction=(0.01, 0.99),
        alike=(0.01, 0.99),
        scenes_per_year=(1, 1000),
        extract_gb=(0, 10_000),
        largest_extract_gb=(0, 10_000),
        **dict.fromkeys(vars(Prices()), (0, 1e6)),
    )
    return given
