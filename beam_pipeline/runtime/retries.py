"""One retry policy for everything that is asked of another machine."""

import dataclasses
import http
import random
import time
from collections.abc import Callable
from typing import TypeVar

from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry

from beam_pipeline.runtime.faults import TransientFault

_T = TypeVar("_T")

THROTTLED = "throttled"
"""The reason of a fault by which a host says that it is asked too often."""

TOO_MANY_REQUESTS = (http.HTTPStatus.TOO_MANY_REQUESTS, http.HTTPStatus.SERVICE_UNAVAILABLE)
"""Statuses by which hosts say so; Amazon S3 gives the second ("Slow Down").

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html
"""


class RetryAfterFault(TransientFault):
    """A transient fault whose server said how long to wait.

    Attributes:
        retry_after_s: Seconds to wait, from the `Retry-After` header.
    """

    def __init__(self, reason: str, detail: str, retry_after_s: float = 0.0) -> None:
        super().__init__(reason, detail)
        self.retry_after_s = retry_after_s

    def __reduce__(self) -> tuple[type["RetryAfterFault"], tuple[str, str, float]]:  # type: ignore[override]
        """Pickles with the waiting time."""
        return type(self), (self.reason, self.detail, self.retry_after_s)


@dataclasses.dataclass(frozen=True)
class RetryPolicy:
    """Exponential back-off with full jitter, bounded in tries and in seconds a wait.

    Jitter changes only when a request is sent, never what is stored, so it needs no seed.

    Attributes:
        attempts: How often a thing is tried in all, at least 1.
        base_s: The longest first wait in seconds; it doubles with each try.
        cap_s: The longest wait in seconds, `Retry-After` included.
        sleep: Waits that many seconds; a test passes its own.
    """

    attempts: int = 8
    base_s: float = 0.5
    cap_s: float = 60.0
    sleep: Callable[[float], object] = dataclasses.field(default=time.sleep, compare=False, repr=False)

    @classmethod
    def default(cls) -> "RetryPolicy":
        """Returns the policy of whatever names none of its own."""
        return cls()

    def call(
        self,
        function: Callable[[], _T],
        on_retry: Callable[[TransientFault], object] | None = None,
    ) -> _T:
        """Calls `function` until it returns, raises something permanent, or the tries are used up.

        Args:
            function: Raises `TransientFault` where another try may help; anything else passes through.
            on_retry: Told of each fault that is tried again, e.g. to count it or to drop a cache.

        Returns:
            What `function` returned.

        Raises:
            TransientFault: The last one, when no try succeeded.
        """
        failures = 0
        while True:
            try:
                return function()
            except TransientFault as fault:
                failures += 1
                wait_s = self.wait_after_s(fault, failures)
                if on_retry is not None:
                    on_retry(fault)
                self.sleep(wait_s)

    def wait_after_s(self, fault: TransientFault, failures: int) -> float:
        """Draws how many seconds to wait after a fault, no less than its server asks for, up to the cap.

        Args:
            fault: What happened.
            failures: How often it has failed by now, this time included.

        Raises:
            TransientFault: The fault, when all tries are used up.
        """
        if failures >= self.attempts:
            raise fault
        wait_s = self.wait_s(failures - 1)
        if isinstance(fault, RetryAfterFault):
            wait_s = min(self.cap_s, max(wait_s, fault.retry_after_s))
        return wait_s

    def wait_s(self, attempt: int) -> float:
        """Draws how many seconds to wait after a try, the first of which is 0."""
        return random.uniform(0.0, min(self.cap_s, self.base_s * 2.0**attempt))  # noqa: S311

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"attempts must be at least 1. Received: {self.attempts}")


def retry_after_s(header: str | None) -> float:
    """Reads a `Retry-After` header, which holds seconds or a date.

    Args:
        header: Its text; None or "" where there is none.

    Returns:
        Seconds from now, at least 0; 0 where it says nothing that can be understood.
    """
    try:
        return float(Retry().parse_retry_after(header or ""))
    except (InvalidHeader, ValueError, OverflowError):  # the latter two for numbers that no machine can hold
        return 0.0
