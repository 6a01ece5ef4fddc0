"""Limits of the whole job, divided among those who ask: worker processes, or lanes where those are too many.

A process that has its part for good keeps it while it has nothing to ask, and of too many parts each is too small to
read with. A lane is a key by which work is grouped: its pieces are done one after the other, so at any time no more
than one process has its part, and however many processes there are, no more parts are needed than the limit feeds.
"""

import argparse
import math
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.jobs.runners import is_dataflow
from beam_pipeline.jobs.worker_processes import most_processes, most_threads_on_dataflow
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.traffic import Share

MAX_REQUESTS_PER_SECOND = 1_000_000
"""More is no limit: a whole job on hundreds of workers stays below."""

FILES_ON_DATAFLOW = 500.0
"""Requests a second for files, unless a job on Dataflow says something else.

Amazon S3 bears 5,500 a second of one prefix of a bucket when it has parted it, which takes it up to an hour, and until
then has refused some from 700 on. A public bucket is shared with everybody.

Source: https://repost.aws/knowledge-center/s3-object-key-naming-pattern;
https://blog.pollett.co.uk/tag/performance/
"""

API_ON_DATAFLOW = 20.0
"""Requests a second to the STAC API, likewise.

Earth Search has limits of rate and concurrency that it does not tell; some 300 searches at once met them.

Source: https://github.com/Element84/earth-search/issues/19
"""

FILES_OF_A_LANE = 20.0
"""Requests a second that any reader of files comes to, with the ocean between it and the files."""

API_OF_A_LANE = 1.0
"""Requests a second that any search comes to: one page after the other."""

_READS_OF_A_LANE = 2  # in flight, by which a reader comes to `FILES_OF_A_LANE` where a request takes 0.1 s


def add_limit_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags."""
    group = parser.add_argument_group("limits of the whole job, divided among those who ask")
    group.add_argument(
        "--max_requests_per_second",
        type=float,
        metavar="R",
        help=f"requests for files of images (Dataflow: {FILES_ON_DATAFLOW:g}; else off)",
    )
    group.add_argument(
        "--max_api_requests_per_second",
        type=float,
        metavar="R",
        help=f"requests to the STAC API, endpoints of tokens and Overpass (Dataflow: {API_ON_DATAFLOW:g}; else off)",
    )
    group.add_argument("--max_requests_in_flight", type=int, metavar="N", help="requests at once (off)")


def request_shares(given: Any, options: PipelineOptions) -> tuple[Share, Share]:
    """Divides the limits that the flags set.

    Args:
        given: Our flags, from `parse_build_flags`.
        options: Beam's options.

    Returns:
        Those of the API and those of files.

    Raises:
        InvalidInputError: A limit is out of range, or the runner's flags do not say how many processes there may be.
    """
    at_once, reads = given.max_requests_in_flight, given.reads_in_flight
    if at_once is not None and at_once < 1:
        raise InvalidInputError(f"--max_requests_in_flight must be 1 or more. Received: {at_once}")
    on_dataflow = is_dataflow(options)
    of_files = _rate(given, "max_requests_per_second", FILES_ON_DATAFLOW if on_dataflow else None)
    of_api = _rate(given, "max_api_requests_per_second", API_ON_DATAFLOW if on_dataflow else None)
    flag = next(
        (
            name
            for name in ("max_requests_per_second", "max_api_requests_per_second", "max_requests_in_flight")
            if getattr(given, name) is not None
        ),
        "max_requests_per_second",
    )
    if of_files is None and of_api is None and at_once is None:
        return Share(in_flight=reads), Share(in_flight=reads)
    at_work = most_threads_on_dataflow(options) if on_dataflow else most_processes(options, flag)
    files, api = (
        divide(rate, of_a_lane, at_once, (reads, least), at_work, in_lanes=on_dataflow)
        for rate, of_a_lane, least in (
            (of_files, FILES_OF_A_LANE, min(reads, _READS_OF_A_LANE)),
            (of_api, API_OF_A_LANE, 1),
        )
    )
    return api, files


def divide(
    per_second: float | None,
    of_a_lane: float,
    at_once: int | None,
    in_flight: tuple[int, int],
    at_work: int | None,
    *,
    in_lanes: bool,
) -> Share:
    """Divides one limit.

    Args:
        per_second: Requests a second of the whole job; None for no limit.
        of_a_lane: How many of them one who asks can make use of.
        at_once: Requests in flight of the whole job; None for no limit.
        in_flight: The most of them that one who asks makes use of, and the least that serve it.
        at_work: How many ask at once at most; None where that is open, which takes lanes.
        in_lanes: Whether lanes are wanted however few ask: where the runner may start fewer.

    Returns:
        The share of each.
    """
    most, least = in_flight
    lanes = math.inf if per_second is None else max(1, per_second // of_a_lane)
    if at_once is not None:
        lanes = min(lanes, max(1, at_once // least))
    by_lane = math.isfinite(lanes) and (in_lanes or at_work is None or at_work > lanes)
    parts = int(min(lanes, math.inf if at_work is None else at_work))
    return Share(
        None if per_second is None else per_second / parts,
        most if at_once is None else max(1, min(most, at_once // parts)),
        parts,
        by_lane,
    )


def _rate(given: Any, name: str, default: float | None) -> float | None:
    rate: float | None = getattr(given, name)
    if rate is None:
        return default
    if not 0 < rate <= MAX_REQUESTS_PER_SECOND:
        raise InvalidInputError(
            f"--{name} must lie above 0 and up to {MAX_REQUESTS_PER_SECOND}. Received: {rate}"
        )
    return rate
