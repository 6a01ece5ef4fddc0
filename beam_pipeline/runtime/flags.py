"""Command lines: one kind of parser for every program of ours, and how a person stops one."""

import argparse
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import NoReturn

from beam_pipeline import __version__
from beam_pipeline.runtime.faults import InvalidInputError

INTERRUPTED = 130
"""The exit code after Ctrl-C: 128 + SIGINT, as shells say."""


class FlagParser(argparse.ArgumentParser):
    """A parser that takes no abbreviations, knows `--version`, and raises instead of leaving the process.

    Args:
        prog: The command, as a person types it.
        description: What the program does, laid out as it is to be shown.
        epilog: What follows the flags, likewise.
    """

    def __init__(self, prog: str, description: str, epilog: str | None = None) -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.add_argument("--version", action="version", version=f"opensentinelmap {__version__}")

    def error(self, message: str) -> NoReturn:
        """Raises `InvalidInputError`, which takes secrets out of what it quotes."""
        raise InvalidInputError(f"{message}. See --help.")


@contextlib.contextmanager
def ending_at_interrupt(advice: str) -> Iterator[None]:
    """Ends the process at once when a person presses Ctrl-C, with exit code `INTERRUPTED`.

    Threads that wait for a silent host would hold it for minutes. What was written stays whole, as after a kill.

    Args:
        advice: What the person can do next.
    """

    def stop(*_: object) -> None:
        print(f"\nstopped: {advice}", file=sys.stderr, flush=True)
        os._exit(INTERRUPTED)

    if threading.current_thread() is not threading.main_thread():  # where Python takes no handlers
        yield
        return
    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
