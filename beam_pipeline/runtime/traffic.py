"""The requests of one process to other machines: spaced in time, capped in number, and the repeated ones counted.

A limit of the whole job is divided before launch (`jobs/request_shares.py`): processes share no memory, so each keeps
to its own part.
"""

import collections
import contextlib
import dataclasses
import functools
import threading
from collections.abc import Callable, Iterator

from beam_pipeline.runtime.faults import Fault
from beam_pipeline.runtime.pacer import Pacer
from beam_pipeline.runtime.retries import THROTTLED


@dataclasses.dataclass(frozen=True)
class Share:
    """One of the equal parts of a limit of the whole job: a worker process has it, or a lane.

    The work of a lane is done one piece after the other, wherever that is, and no two pieces at once.

    Attributes:
        per_second: Requests a second of the part; None for no limit.
        in_flight: Most requests at once of the part.
        parts: How many parts there are.
        by_lane: Whether the parts are lanes.
    """

    per_second: float | None = None
    in_flight: int = 8
    parts: int = 1
    by_lane: bool = False

    def among(self, other: "Share") -> "Share":
        """Returns the same limit, divided as another is: for those who have the parts of the other."""
        rate = None if self.per_second is None else self.per_second * self.parts / other.parts
        return dataclasses.replace(other, per_second=rate)

    def whole(self) -> "Share":
        """Returns the limit undivided, for who asks alone, as the launch does."""
        return self.among(Share(in_flight=self.in_flight))


class Traffic:
    """The requests of one stage, within the limits of its process or of the lane whose work it does.

    Safe to use from many threads.

    Args:
        pacer: Of the process; None for no limit.
        slots: As many as there may be requests in flight in the process; None for no limit.
    """

    def __init__(self, pacer: Pacer | None = None, slots: threading.Semaphore | None = None) -> None:
        self._pacer = pacer or Pacer.default(None)
        self._slots = slots
        self._limits_of: Callable[[int], tuple[Pacer, threading.Semaphore]] | None = None
        self._lock = threading.Lock()
        self._retried: collections.Counter[str] = collections.Counter()

    @classmethod
    def of_job(cls, job: str, hosts: str, share: Share) -> "Traffic":
        """Returns new traffic under the limits that all of a part share in this process.

        Args:
            job: A name of the job, e.g. its output folder.
            hosts: Who is asked: "api" or "files". Each has a rate of its own, and both share the places.
            share: The part; where that is a lane, the first until another is entered.
        """
        limits_of = functools.partial(_limits_of, job, hosts, share)
        traffic = cls(*limits_of(0))
        traffic._limits_of = limits_of
        return traffic

    def enter(self, lane: int) -> None:
        """Goes on under the limits of a lane, where the job has lanes; to be called while nothing is asked."""
        if self._limits_of is not None:
            self._pacer, self._slots = self._limits_of(lane)

    def turn(self, requests: int = 1) -> None:
        """Waits until that many requests may be sent one after the other."""
        self._pacer.turn(requests)

    def charge(self, requests: int) -> None:
        """Counts requests that were sent without a turn."""
        self._pacer.charge(requests)

    @contextlib.contextmanager
    def slot(self) -> Iterator[None]:
        """Holds one of the places for requests in flight; who holds one must not wait for another."""
        with self._slots or contextlib.nullcontext():
            yield

    def retried(self, fault: Fault) -> None:
        """Counts a fault that is answered by another try, and slows down where it says that there are too many."""
        if fault.reason == THROTTLED:
            self._pacer.back_off()
        with self._lock:
            self._retried[fault.reason] += 1

    def take_retried(self) -> dict[str, int]:
        """Returns how often was tried again since the last call, by reason."""
        with self._lock:
            taken = dict(self._retried)
            self._retried.clear()
            return taken


def _limits_of(job: str, hosts: str, share: Share, lane: int) -> tuple[Pacer, threading.Semaphore]:
    # Of processes there is one here, whichever it is.
    number = lane if share.by_lane else -1
    with _shared_lock:
        rate = job, hosts, share.per_second, number
        if rate not in _pacers:
            _pacers[rate] = Pacer.default(share.per_second)
        places = job, share.in_flight, number
        if places not in _slots:
            _slots[places] = threading.BoundedSemaphore(share.in_flight)
        return _pacers[rate], _slots[places]


_pacers: dict[tuple[str, str, float | None, int], Pacer] = {}
_slots: dict[tuple[str, int, int], threading.Semaphore] = {}
_shared_lock = threading.Lock()
