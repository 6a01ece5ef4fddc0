"""Requests spaced evenly, slower where a host says that they are too many.

Processes share no memory, and a host tells each of its own requests only. So each finds its rate as TCP does: it
gives up half at once where it is refused, and asks for a little more each second where it is not (additive increase,
multiplicative decrease). Those that share a host so come to equal rates whose sum the host bears.

Source: Chiu and Jain, "Analysis of the increase and decrease algorithms for congestion avoidance in computer
networks", 1989.
"""

import collections
import math
import threading
import time
from collections.abc import Callable
from typing import Self

LEAST_PER_SECOND = 1 / 60
"""No refusal makes a process slower: a request a minute is as rare as the longest wait between two tries."""

KEPT = 0.5
"""The part of the rate that a refusal leaves."""

RECOVERY_S = 60.0
"""Seconds in which a pacer without refusals comes from nothing to its full rate."""

_ONE_EVENT_S = 1.0
"""Refusals of requests that were in flight together count once."""

_REMEMBERED = 32
_REMEMBERED_S = 10.0
"""Requests, and seconds, by which the rate is measured at which a host refused."""


class Pacer:
    """Spaces requests evenly.

    Of `n` requests that take their turn in a window of `s` seconds, none begins before those ahead of it have
    had `1 / per_second` each, so `n <= s * per_second + k` where `k` is the most that one turn is for.

    Safe to use from many threads.

    Args:
        per_second: The most requests a second; None for no limit until a host sets one.
        clock: Seconds of a clock that never goes back; a test passes its own.
        sleep: Waits that many seconds; a test passes its own.
    """

    def __init__(
        self,
        per_second: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._most = math.inf if per_second is None else per_second
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._free_at = -math.inf
        self._sent: collections.deque[tuple[float, int]] = collections.deque(maxlen=_REMEMBERED)
        self._low, self._low_at = self._most, -math.inf
        self._gain = 0.0  # requests a second, each second

    @classmethod
    def default(cls, per_second: float | None) -> Self:
        """Returns a pacer by the clock of this machine."""
        return cls(per_second)

    @property
    def per_second(self) -> float:
        """Requests a second as of now; infinite without a limit."""
        with self._lock:
            return self._rate(self._clock())

    def turn(self, requests: int = 1) -> None:
        """Waits until that many requests may be sent one after the other."""
        wait_s = self.reserve(requests)
        if wait_s > 0:
            self._sleep(wait_s)

    def reserve(self, requests: int = 1) -> float:
        """Takes the next turn, and returns the seconds until it comes."""
        with self._lock:
            now = self._clock()
            start = max(now, self._free_at)
            self._free_at = start + requests / self._rate(now)
            self._sent.append((start, requests))
            return start - now

    def charge(self, requests: int) -> None:
        """Counts requests that were sent without a turn: whoever comes next waits for them too."""
        with self._lock:
            now = self._clock()
            self._free_at = max(now, self._free_at) + requests / self._rate(now)

    def back_off(self) -> None:
        """Halves the rate, because a host refused a request as one too many; it grows again from now on."""
        with self._lock:
            now = self._clock()
            if now - self._low_at < _ONE_EVENT_S:
                return
            # Who sends less than it may must not take that for the rate that was too much.
            rate = min(self._rate(now), self._measured(now))
            self._gain = max(self._gain, (rate if math.isinf(self._most) else self._most) / RECOVERY_S)
            self._low, self._low_at = max(LEAST_PER_SECOND, rate * KEPT), now

    def _rate(self, now: float) -> float:
        if math.isinf(self._low):
            return self._most
        return min(self._most, self._low + (now - self._low_at) * self._gain)

    def _measured(self, now: float) -> float:
        """Returns how many requests a second were sent of late; where that were too few to say, the rate."""
        sent = [(at, requests) for at, requests in self._sent if now - _REMEMBERED_S <= at <= now]
        if len(sent) < 2 or now <= sent[0][0]:
            return self._rate(now)
        return sum(requests for _, requests in sent) / (now - sent[0][0])
