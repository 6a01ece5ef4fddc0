"""The time that work takes, as Beam's metrics tell it."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from apache_beam.metrics import Metrics


class Timing:
    """The latency of a stage's elements, in milliseconds.

    Args:
        stage: The namespace of the metric.
    """

    def __init__(self, stage: str) -> None:
        self._milliseconds: Any = Metrics.distribution(stage, "milliseconds")

    @contextlib.contextmanager
    def measured(self) -> Iterator[None]:
        """Measures how long the work on an element takes; what is raised out of it is not measured."""
        started = time.monotonic()
        yield
        self._milliseconds.update(int(1000 * (time.monotonic() - started)))
