"""Simulates a job, unit by unit, under the limits of the whole job: the hours that it takes with so many workers."""

import dataclasses
import heapq
from collections.abc import Iterable, Sequence

from beam_pipeline.jobs.plan.estimate import Estimate, Load
from beam_pipeline.jobs.request_shares import API_OF_A_LANE, FILES_OF_A_LANE, divide
from beam_pipeline.runtime.traffic import Share

LEAST_GAIN = 0.05
"""Twice the workers that save less than this part of the time buy nothing."""


@dataclasses.dataclass(frozen=True)
class Fleet:
    """The workers, and what they may ask.

    Attributes:
        workers: How many.
        vcpus: Of each; a worker has a process for each.
        threads: Of a process.
        files_per_second: Requests to hosts of files, of the whole job; None for no limit.
        api_per_second: Requests to the STAC API, likewise.
        reads_in_flight: Of one reader.
        latency_s: Of a request.
        in_lanes: Whether work is grouped in lanes however few work, as on Dataflow.
    """

    workers: int
    vcpus: int
    threads: int
    files_per_second: float | None
    api_per_second: float | None
    reads_in_flight: int
    latency_s: float
    in_lanes: bool = True

    @property
    def cores(self) -> int:
        """Of all workers."""
        return self.workers * self.vcpus

    @property
    def at_work(self) -> int:
        """Threads of all workers."""
        return self.cores * self.threads

    def files(self) -> Share:
        """Returns the parts of the limit for files."""
        in_flight = self.reads_in_flight, min(self.reads_in_flight, 2)
        return divide(
            self.files_per_second, FILES_OF_A_LANE, None, in_flight, self.at_work, in_lanes=self.in_lanes
        )

    def api(self) -> Share:
        """Returns the parts of the limit for the API."""
        return divide(
            self.api_per_second,
            API_OF_A_LANE,
            None,
            (self.reads_in_flight, 1),
            self.at_work,
            in_lanes=self.in_lanes,
        )


@dataclasses.dataclass(frozen=True)
class Times:
    """Hours of each phase; one begins when the one before has ended.

    Attributes:
        searches: Of the catalogue.
        labels: Reading extracts and drawing, beside the searches.
        units: Reading, encoding and writing.
        readers: How many units are read at once at most.
    """

    searches: float
    labels: float
    units: float
    readers: int

    @property
    def all(self) -> float:
        """Hours in all, without the start of workers."""
        return max(self.searches, self.labels) + self.units


def times(estimate: Estimate, fleet: Fleet) -> Times:
    """Simulates a job with a fleet.

    Args:
        estimate: Its work.
        fleet: Its workers.
    """
    api, files = fleet.api(), fleet.files()
    searching = estimate.api_requests * fleet.latency_s / min(fleet.at_work, api.parts or fleet.at_work)
    if fleet.api_per_second is not None:
        searching = max(searching, estimate.api_requests / fleet.api_per_second)
    cpu = sum(load.cpu_s for load in estimate.loads)
    labels_cpu = estimate.cpu_hours.value * 3600 - cpu
    readers = min(fleet.at_work, files.parts) if files.by_lane else fleet.at_work
    readers = min(readers, len(estimate.loads))
    return Times(
        searching / 3600,
        max(estimate.largest_extract_s, labels_cpu / fleet.cores) / 3600,
        # However the work is grouped, no more is done than the cores do.
        max(reading_s(estimate.loads, files, fleet), cpu / fleet.cores) / 3600,
        readers,
    )


def reading_s(loads: Sequence[Load], share: Share, fleet: Fleet) -> float:
    """Returns the seconds until the last unit is written.

    Args:
        loads: Of the units.
        share: Of each reader.
        fleet: How many read.
    """
    took = [_unit_s(load, share, fleet.latency_s) for load in loads]
    if not share.by_lane:
        return makespan(took, fleet.at_work)
    lanes = [0.0] * share.parts
    for load, seconds in zip(loads, took, strict=True):
        lanes[load.number % share.parts] += seconds
    return makespan(lanes, fleet.at_work)


def makespan(took: Iterable[float], workers: int) -> float:
    """Returns when all is done if whoever is free takes the next piece.

    Args:
        took: Seconds of each piece, in order.
        workers: How many there are.
    """
    free = [0.0] * workers
    for seconds in took:
        heapq.heapreplace(free, free[0] + seconds)
    return max(free)


def _unit_s(load: Load, share: Share, latency_s: float) -> float:
    asking = load.requests * latency_s / share.in_flight
    if share.per_second is not None:
        asking = max(asking, load.requests / share.per_second)
    # Blocks are unpacked while others are on the way.
    return max(asking, load.reading_cpu_s) + load.other_cpu_s


def most_useful(estimate: Estimate, fleet: Fleet, most: int) -> tuple[dict[int, Times], int]:
    """Simulates one worker, two, four ... and tells from where on more of them buy nothing.

    Args:
        estimate: The work.
        fleet: The workers, of which the number is varied.
        most: Workers.

    Returns:
        The times by number of workers, and that number.
    """
    numbers = [1]
    while numbers[-1] * 2 <= most:
        numbers.append(numbers[-1] * 2)
    if fleet.workers not in numbers:
        numbers.append(fleet.workers)
    by_number = {
        number: times(estimate, dataclasses.replace(fleet, workers=number)) for number in sorted(numbers)
    }
    useful = max(numbers)
    for number, found in by_number.items():
        twice = by_number.get(2 * number)
        if twice is not None and found.all - twice.all < LEAST_GAIN * found.all:
            useful = number
            break
    return by_number, useful
