"""What one process asks of other machines: spaced in time, capped in number, and what was asked again counted.

A limit of the whole job is divided among its worker processes before launch (`worker_processes.py`): processes
share no memory, so each keeps to its own part.
"""

import collections
import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from beam_pipeline.runtime.faults import Fault


class Pacer:
    """Spaces requests evenly.

    Of `n` requests that take their turn in a window of `s` seconds, none begins before those ahead of it have
    had `1 / per_second` each, so `n <= s * per_second + k` where `k` is the most that one turn is for.

    Args:
        per_second: Requests a second; None for no limit.
        clock: Seconds of a clock that never goes back; a test passes its own.
        sleep: Waits that many seconds; a test passes its own.
    """

    def __init__(
        self,
        per_second: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._interval_s = 0.0 if per_second is None else 1.0 / per_second
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._free_at = -float("inf")

    def turn(self, requests: int = 1) -> None:
        """Waits until that many requests may be sent one after the other."""
        if not self._interval_s:
            return
        with self._lock:
            now = self._clock()
            start = max(now, self._free_at)
            self._free_at = start + requests * self._interval_s
        if start > now:
            self._sleep(start - now)

    def charge(self, requests: int) -> None:
        """Counts requests that were sent without a turn: whoever comes next waits for them too."""
        if self._interval_s:
            with self._lock:
                self._free_at = max(self._clock(), self._free_at) + requests * self._interval_s


class Traffic:
    """The requests of one stage, within the limits of its process.

    Safe to use from many threads.

    Args:
        pacer: Of the process; None for no limit.
        slots: As many as there may be requests in flight in the process; None for no limit.
    """

    def __init__(self, pacer: Pacer | None = None, slots: threading.Semaphore | None = None) -> None:
        self._pacer = pacer or Pacer()
        self._slots = slots
        self._lock = threading.Lock()
        self._retried: collections.Counter[str] = collections.Counter()

    @classmethod
    def of_process(cls, per_second: float | None, in_flight: int) -> "Traffic":
        """Returns new traffic under the limits that all of this process share.

        Args:
            per_second: Requests a second of this process; None for no limit.
            in_flight: Most requests at once of this process.
        """
        with _shared_lock:
            limits = per_second, in_flight
            if limits not in _shared:
                _shared[limits] = Pacer(per_second), threading.BoundedSemaphore(in_flight)
            return cls(*_shared[limits])

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
        """Counts a fault that is answered by another try."""
        with self._lock:
            self._retried[fault.reason] += 1

    def take_retried(self) -> dict[str, int]:
        """Returns how often was tried again since the last call, by reason."""
        with self._lock:
            taken = dict(self._retried)
            self._retried.clear()
            return taken


_shared: dict[tuple[float | None, int], tuple[Pacer, threading.Semaphore]] = {}
_shared_lock = threading.Lock()
