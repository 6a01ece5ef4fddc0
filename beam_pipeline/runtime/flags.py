"""Command lines: one kind of parser for every program of ours, and how a person stops one."""

import argparse
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import NoReturn

from beam_pipeline import __version__
from beam_pipeline.runtime.faults import InvalidInputError

INTERRUPTED = 130
"""The exit code after Ctrl-C: 128 + SIGINT, as shells say."""


SEVERAL_VALUES = (
    "A flag takes one word: write several values with commas and no spaces (--years 2019,2021), quote a pattern "
    "('vnl_*.tif'), and begin a flag with two dashes"
)
"""The advice of an error at a word that no flag takes."""


class RaisingParser(argparse.ArgumentParser):
    """A parser that raises instead of leaving the process."""

    def error(self, message: str) -> NoReturn:
        """Raises `InvalidInputError`, which takes secrets out of what it quotes."""
        if message.endswith("expected one argument"):
            message += ". What begins with a dash is joined to its flag, e.g. --output=-x"
        raise InvalidInputError(f"{message}. See --help.")


class FlagParser(RaisingParser):
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

    def parse_all(self, argv: Sequence[str] | None) -> argparse.Namespace:
        """Parses a command line that nobody else reads.

        Args:
            argv: Arguments without the program's name; those of the process by default.

        Raises:
            InvalidInputError: A flag is malformed, or a word belongs to no flag.
        """
        given, left = self.parse_known_args(argv)
        refuse_left_words(left)
        return given


def refuse_left_words(words: Sequence[str]) -> None:
    """Refuses what belongs to no flag.

    Args:
        words: What parsers left of a command line.

    Raises:
        InvalidInputError: There are any.
    """
    flags = [word.partition("=")[0] for word in words if word.startswith("--") and word != "--"]
    if flags:
        raise InvalidInputError(
            f"Unknown flags: {', '.join(flags)}. See --help. Left over: {' '.join(words)}"
        )
    if words:
        raise InvalidInputError(f"No flag takes: {' '.join(words)}. {SEVERAL_VALUES}. See --help.")


def stop_at_once(advice: str) -> Callable[[int, FrameType | None], None]:
    """Returns a handler of signals that ends the process with exit code `INTERRUPTED`.

    Args:
        advice: What the person can do next.
    """

    def stop(*_: object) -> None:
        # What was printed is not lost; where the signal came in the middle of printing, Python refuses to print.
        with contextlib.suppress(RuntimeError, OSError):
            print(f"\nstopped: {advice}", file=sys.stderr, flush=True)
            sys.stdout.flush()
        os._exit(INTERRUPTED)

    return stop


@contextlib.contextmanager
def ending_at_interrupt(advice: str) -> Iterator[None]:
    """Ends the process at once when a person presses Ctrl-C, with exit code `INTERRUPTED`.

    Threads that wait for a silent host would hold it for minutes. What was written stays whole, as after a kill.

    Args:
        advice: What the person can do next.
    """
    if threading.current_thread() is not threading.main_thread():  # where Python takes no handlers
        yield
        return
    before = signal.signal(signal.SIGINT, stop_at_once(advice))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
