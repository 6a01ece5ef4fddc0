"""Servers that fail at random, but in the same way for the same seed.

Whether a request fails is drawn for what it asks and how often that was asked before.
"""

import collections
import json
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from beam_pipeline.runtime.keyed_hash import keyed_fraction, keyed_hash
from tests.imagery.range_server import Injected, RangeServer
from tests.imagery.stac_server import Item, StacServer

FILE_FAULTS = (
    *("status 500", "status 502", "status 503", "status 429", "status 408", "status 403"),
    *("truncate", "reset", "garble", "stall", "page 200", "page 206"),
)
API_FAULTS = ("500", "502", "503", "429", "403", "408", "425", "cut", "garbage", "reset")


class Chaos:
    """Decides which requests fail.

    Attributes:
        requests: How many requests came.
        injected: How many of them failed, by fault.
    """

    def __init__(self, seed: int, rate: float) -> None:
        self._seed = seed
        self._rate = rate
        self._lock = threading.Lock()
        self._asked: collections.Counter[str] = collections.Counter()
        self.requests = 0
        self.injected: collections.Counter[str] = collections.Counter()

    def draw(self, what: str, faults: tuple[str, ...]) -> str | None:
        """Returns the fault of a request, or None for a calm answer."""
        with self._lock:
            self._asked[what] += 1
            self.requests += 1
            key = f"{what} {self._asked[what]}"
            if keyed_fraction(self._seed, "fails", key) >= self._rate:
                return None
            fault = faults[keyed_hash(self._seed, "fault", key) % len(faults)]
            self.injected[fault] += 1
            return fault


class ChaosFiles(RangeServer):
    """A range server that fails by chance, beside what is injected by path."""

    def __init__(self, root: Path, chaos: Chaos) -> None:
        super().__init__(root)
        self._chaos = chaos

    def fault_for(self, method: str, path: str, start: int, stop: int) -> Injected | None:
        fault = super().fault_for(method, path, start, stop)
        if fault is not None:
            return fault
        drawn = self._chaos.draw(f"{method} {path} {start}", FILE_FAULTS)
        if drawn is None:
            return None
        kind, _, status = drawn.partition(" ")
        return Injected(kind, status=int(status or 0), seconds=0.02)  # type: ignore[arg-type]


class VirtualClock:
    """A clock on which waiting takes no time: it goes with the real one and leaps over what is waited for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waited = 0.0

    def now(self) -> float:
        return time.monotonic() + self._waited

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self._waited += seconds


class ThrottlingFiles(RangeServer):
    """A range server that refuses who asks too often, as a bucket of tokens that fills at an even rate.

    Attributes:
        throttled: How many requests it refused.
    """

    def __init__(self, root: Path, per_second: float, burst: int, clock: VirtualClock) -> None:
        super().__init__(root)
        self._per_second, self._burst, self._clock = per_second, burst, clock
        self._tokens, self._filled_at = float(burst), clock.now()
        self.throttled = 0

    def fault_for(self, method: str, path: str, start: int, stop: int) -> Injected | None:
        with self.lock:
            now = self._clock.now()
            grown = self._tokens + (now - self._filled_at) * self._per_second
            self._tokens, self._filled_at = min(self._burst, grown), now
            if self._tokens >= 1:
                self._tokens -= 1
                return None
            self.throttled += 1
            return Injected("status", 429)


class ChaosApi(StacServer):
    """A STAC API that fails by chance.

    Attributes:
        committed: Of every request what it was, "any" for a search of no year and "year" for one of a year, and its
            fault, None for a calm answer.
    """

    def __init__(self, items: list[Item], chaos: Chaos) -> None:
        super().__init__(items)
        self._chaos = chaos
        self.committed: list[tuple[str, str | None]] = []

    def faults_of_the_job(self) -> collections.Counter[str]:
        """Counts the faults committed after the launch: it searches for any item, then for those of a first year."""
        asked = max(n for n, (what, _) in enumerate(self.committed) if what == "any")
        launch = self.committed.index(("year", None), asked)
        return collections.Counter(fault for _, fault in self.committed[launch + 1 :] if fault is not None)

    def _send(
        self,
        handler: BaseHTTPRequestHandler,
        status: int,
        body: str,
        headers: dict[str, str] | None = None,
    ) -> None:
        asked = json.dumps(self.requests[-1], sort_keys=True)
        drawn = self._chaos.draw(f"{handler.command} {handler.path} {asked}", API_FAULTS)
        _, path, parameters = self.requests[-1]
        searched = "year" if "datetime" in parameters else "any"
        self.committed.append((searched if path.endswith("/search") else "", drawn))
        if drawn is None:
            super()._send(handler, status, body, headers)
        elif drawn == "reset":
            handler.close_connection = True
            handler.connection.close()
        elif drawn == "cut":
            self._cut(handler, body)
        elif drawn == "garbage":
            super()._send(handler, 200, body[: len(body) // 2])
        else:
            # Retry-After in seconds: 0, so that nobody waits for a test.
            super()._send(handler, int(drawn), '{"message": "Forbidden"}', {"Retry-After": "0"})

    @staticmethod
    def _cut(handler: BaseHTTPRequestHandler, body: str) -> None:
        """Announces the whole answer and closes in the middle of it."""
        content = body.encode()
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content[: len(content) // 2])
        handler.close_connection = True


def retried(stages: dict[str, dict[str, Any]]) -> collections.Counter[str]:
    """Counts the requests that a run says it sent again, by reason, from the stages of its `run.json`."""
    total: collections.Counter[str] = collections.Counter()
    for counts in stages.values():
        total.update(
            {
                name.removeprefix("retried_"): count
                for name, count in counts.items()
                if name.startswith("retried_")
            }
        )
    return total


def report(
    seed: int,
    chaos: Chaos,
    calm_requests: int,
    tried_again: collections.Counter[str],
    dead_letters: list[Any],
) -> str:
    """Says what a run bore."""
    faults = ", ".join(f"{fault} {count}" for fault, count in sorted(chaos.injected.items()))
    return (
        f"seed {seed}: {chaos.injected.total()} faults injected into {chaos.requests} requests "
        f"({chaos.injected.total() / chaos.requests:.0%}); {chaos.requests - calm_requests} requests more than "
        f"when calm; tried again by us {tried_again.total()}; cell-years lost {len(dead_letters)}\n  {faults}"
    )
