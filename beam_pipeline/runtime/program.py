"""Runs a command: in an environment of ours, ending with a sentence and an exit code, never with a traceback."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable

from beam_pipeline.runtime.environment import settle_environment
from beam_pipeline.runtime.faults import Fault, InvalidInputError
from beam_pipeline.runtime.flags import ending_at_interrupt
from beam_pipeline.runtime.foreign_text import shown
from beam_pipeline.runtime.storage_failures import storage_failure, wrong_kind
from beam_pipeline.runtime.streams import settle_streams

INVALID_INPUT = 2
STORAGE_FAILED = 1


def run_program(
    work: Callable[[], int], *, interrupted: str | None, failed: str = "the same command goes on"
) -> int:
    """Runs what a command does, and says how it ended if it did not end well.

    Args:
        work: Does it, and returns the exit code. It imports what reads the environment; so what goes wrong in an import
            (Ctrl-C, a disk) ends as elsewhere.
        interrupted: What to say after Ctrl-C; None where `work` listens itself.
        failed: What to do once the disk can be used again.

    Returns:
        The exit code: that of `work`, `INVALID_INPUT` or `STORAGE_FAILED`.
    """
    settle_environment()
    settle_streams()
    listening = contextlib.nullcontext() if interrupted is None else ending_at_interrupt(interrupted)
    with listening:
        try:
            _require_folders()
            return work()
        except InvalidInputError as error:
            print(f"error: {error}", file=sys.stderr)
            return INVALID_INPUT
        except Exception as error:
            if wrong := wrong_kind(error):
                print(f"error: {shown(wrong)}. Give the name of what it should be", file=sys.stderr)
                return INVALID_INPUT
            if failure := storage_failure(error):
                print(
                    f"error: the storage cannot be used any more: {shown(failure)}. When it can (temporary files lie "
                    f"in {tempfile.gettempdir()}), {failed}",
                    file=sys.stderr,
                )
                return STORAGE_FAILED
            if type(error).__module__.startswith(
                "botocore"
            ):  # which rasterio asks where AWS keys are set, and Beam
                print(
                    f"error: AWS settings cannot be used: {shown(str(error))}. Mend or unset them",
                    file=sys.stderr,
                )
                return INVALID_INPUT
            if isinstance(error, Fault):
                print(f"error: {error}", file=sys.stderr)
                return INVALID_INPUT
            raise


def _require_folders() -> None:
    try:
        os.getcwd()
    except OSError as error:
        raise InvalidInputError(
            f"The current folder cannot be used: {error}. Go to another and give the command again"
        ) from error
    try:
        tempfile.gettempdir()
    except OSError as error:
        raise InvalidInputError(
            f"There is no folder for temporary files: {error}. Name one that can be written in TMPDIR"
        ) from error
