"""Simulates, on a clock of its own, the requests that a host sees of a job that keeps a limit, and the time of a unit.

    python tests/benchmarks/rate_limits.py [--check]

Pacers, shares and the policy of tries are the product's own; simulated are the host, time and the processes. Units are
as uneven as the lognormal distribution makes them, with `REQUESTS` on average. A process reads one unit at a time, and
what `WORK_S` it needs for other things it asks nothing. The host answers after `LATENCY_S`, and refuses what comes
faster than it bears, a second of which it lets pass at once.

"processes" divides R by the number of processes that the job may have, and slows down for nothing; "lanes" divides as
`jobs/request_shares.py` does, and backs off. "at work" is how many processes the runner really has. The same seed gives
the same table.
"""

import argparse
import collections
import dataclasses
import heapq
import itertools
import math
import random
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from beam_pipeline.jobs.request_shares import API_OF_A_LANE, FILES_OF_A_LANE, divide
from beam_pipeline.runtime.faults import TransientFault
from beam_pipeline.runtime.pacer import Pacer
from beam_pipeline.runtime.retries import THROTTLED, RetryPolicy
from beam_pipeline.runtime.traffic import Share, Traffic

REQUESTS = 1234
"""Of a unit of the published cells: 20.23 million for 16,396 units. Source: `opensentinelmap plan --paper`."""

LATENCY_S = 0.1
WORK_S = 2.0
READS = 8
UNEVEN = 0.8
"""Of the logarithm of a unit's requests, the standard deviation: one in 20 has more than 2.7 times the average."""


@dataclasses.dataclass(frozen=True)
class Scene:
    """A case to simulate.

    Attributes:
        name: Of the row.
        allowed: Processes that the job may have.
        at_work: Processes that it has.
        limit: R, requests a second; None for none.
        host: Requests a second that the host bears.
        of_a_lane: As `divide`.
        units: How many.
        requests: Of a unit, on average.
        reads: In flight of a process.
        work_s: Seconds a unit in which nothing is asked.
        in_lanes: As `divide`: the runner may start fewer processes.
    """

    name: str
    allowed: int
    at_work: int
    limit: float | None
    host: float
    of_a_lane: float = FILES_OF_A_LANE
    units: int = 800
    requests: float = REQUESTS
    reads: int = READS
    work_s: float = WORK_S
    in_lanes: bool = False


SCENES = (
    Scene("one process", 1, 1, 400, 400, units=20),
    Scene("8 processes", 8, 8, 400, 400, units=160),
    Scene("40 processes", 40, 40, 400, 400),
    Scene("200 processes", 200, 200, 400, 400),
    Scene("800 processes", 800, 800, 400, 400),
    Scene("800 allowed, 100 there", 800, 100, 400, 400, in_lanes=True),
    Scene("800 allowed, 25 there", 800, 25, 400, 400, in_lanes=True),
    Scene("the host bears half", 800, 800, 400, 200),
    Scene("no limit, 8 processes", 8, 8, None, 200, units=160),
    Scene("800 processes search", 800, 800, 20, 20, API_OF_A_LANE, 8000, 1.5, 1, 0.0),
)


class Clock:
    """Time that events move."""

    def __init__(self):
        self.now = 0.0
        self._events = []
        self._order = itertools.count()

    def __call__(self):
        return self.now

    def after(self, seconds, what):
        heapq.heappush(self._events, (self.now + seconds, next(self._order), what))

    def run(self):
        while self._events:
            self.now, _, what = heapq.heappop(self._events)
            what()


class Host:
    """Refuses what comes faster than it bears."""

    def __init__(self, clock, bears):
        self._clock, self._bears = clock, bears
        self._tokens, self._at = bears, 0.0
        self.seen = collections.Counter()
        self.refused = 0

    def answers(self):
        now = self._clock()
        self._tokens = min(self._bears, self._tokens + (now - self._at) * self._bears)
        self._at = now
        self.seen[int(now)] += 1
        if self._tokens < 1:
            self.refused += 1
            return False
        self._tokens -= 1
        return True


class Reader:
    """A process, or a lane: reads what it is given, one unit after the other."""

    def __init__(self, sim, share, queue, then=lambda: None):
        self._sim, self._share, self._queue, self._then = sim, share, queue, then
        self._pacer = Pacer(share.per_second, sim.clock)
        self._traffic = Traffic(self._pacer)

    def begin(self):
        if not self._queue:
            self._then()
            return
        self._left = self._queue.popleft()
        self._began = self._sim.clock()
        self._asking = min(self._share.in_flight, self._left)
        for _ in range(self._asking):
            self._left -= 1
            self._ask(0)

    def _ask(self, failures):
        self._sim.clock.after(self._pacer.reserve(), lambda: self._send(failures))

    def _send(self, failures):
        passes = self._sim.host.answers()
        self._sim.clock.after(LATENCY_S, lambda: self._answered(passes, failures))

    def _answered(self, passes, failures):
        if not passes:
            fault = TransientFault(THROTTLED, "")
            if self._sim.adaptive:
                self._traffic.retried(fault)
            try:
                wait_s = self._sim.policy.wait_after_s(fault, failures + 1)
            except TransientFault:
                self._sim.lost += 1
            else:
                self._sim.clock.after(wait_s, lambda: self._ask(failures + 1))
                return
        if self._left:
            self._left -= 1
            self._ask(0)
            return
        self._asking -= 1
        if not self._asking:
            self._sim.took.append(self._sim.clock() - self._began)
            self._sim.ended = self._sim.clock()
            self._sim.clock.after(self._sim.work_s, self.begin)


class Simulation:
    """A job of one scene.

    Attributes:
        took: Seconds that each unit was read.
        ended: When the last was.
        lost: Requests whose tries were used up.
    """

    def __init__(self, scene, lanes):
        random.seed(0)
        draw = random.Random(scene.name)
        self.clock, self.policy, self.work_s = Clock(), RetryPolicy(), scene.work_s
        self.host = Host(self.clock, scene.host)
        self.adaptive, self.took, self.ended, self.lost = lanes, [], 0.0, 0
        mean = math.log(scene.requests) - UNEVEN**2 / 2
        units = [max(1, round(draw.lognormvariate(mean, UNEVEN))) for _ in range(scene.units)]
        if lanes:
            share = divide(
                scene.limit,
                scene.of_a_lane,
                None,
                (scene.reads, min(2, scene.reads)),
                scene.allowed,
                in_lanes=scene.in_lanes,
            )
        else:
            each = None if scene.limit is None else scene.limit / scene.allowed
            share = Share(each, scene.reads, scene.allowed)
        self.share = share
        if share.by_lane:
            queues = [collections.deque(units[lane :: share.parts]) for lane in range(share.parts)]
            readers = collections.deque(Reader(self, share, queue, self._next) for queue in queues)
        else:
            queue = collections.deque(units)
            readers = collections.deque(Reader(self, share, queue) for _ in range(scene.at_work))
        self._readers = readers
        for _ in range(min(scene.at_work, len(readers))):
            self._next()
        self.clock.run()

    def _next(self):
        if self._readers:
            self.clock.after(0.0, self._readers.popleft().begin)


def row(name, sim):
    one, many = ("lane", "lanes") if sim.share.by_lane else ("process", "processes")
    seen, total = sim.host.seen, sum(sim.host.seen.values())
    took = sorted(sim.took)
    cells = (
        f"{sim.share.parts} {one if sim.share.parts == 1 else many}",
        f"{total / sim.ended:.0f}",
        f"{max(seen.values())}",
        f"{sim.host.refused / total:.1%}",
        f"{statistics.median(took) / 60:.1f}",
        f"{took[-1] / 60:.1f}",
        f"{sim.ended / 60:.0f}",
    )
    return f"| {name} | {' | '.join(cells)} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    print(
        "| job | R, host bears | parts | mean, 1/s | most, 1/s | refused | median unit, min | longest | all |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    missed = []
    for scene in SCENES:
        before, after = Simulation(scene, lanes=False), Simulation(scene, lanes=True)
        of = "none" if scene.limit is None else f"{scene.limit:g}"
        for sim, name in ((before, scene.name), (after, "")):
            print(row(f"{name} | {of}, {scene.host:g}" if name else "| ", sim), flush=True)
        if after.lost:
            missed.append(f"{scene.name}: {after.lost} requests were lost")
        if scene.limit and max(after.host.seen.values()) > scene.limit + after.share.parts:
            missed.append(f"{scene.name}: {max(after.host.seen.values())} in a second is over R")
        if after.ended > 1.1 * before.ended + 60:
            missed.append(f"{scene.name}: {after.ended:.0f} s is slower than {before.ended:.0f} s")
    print("\n".join(["missed:", *missed] if missed else ["every bound is kept"]))
    return 1 if missed and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())
