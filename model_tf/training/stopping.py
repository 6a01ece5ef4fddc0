"""Stops a run when it is asked to, with everything saved: machines that can be preempted send SIGTERM first."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

from beam_pipeline.runtime.flags import stop_at_once

EXIT_STOPPED = 75
"""Exit code of a run that was stopped and can be gone on with. Source: EX_TEMPFAIL of BSD's sysexits."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """Remembers that a signal came.

    Attributes:
        is_made: Whether one came.
    """

    def __init__(self) -> None:
        self.is_made = False

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Takes SIGTERM and SIGINT (Ctrl-C) as a request; a second signal ends the process at once."""
        before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.is_made = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(
            signal.SIGINT, stop_at_once("the same command goes on from the last checkpoint that was saved")
        )
        print(f"\n{signal.Signals(number).name}: saving after this step, then stopping", flush=True)
