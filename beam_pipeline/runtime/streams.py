"""stdout and stderr that never end a run: what was computed counts, whether or not somebody reads of it."""

import errno
import io
import os
import sys
from typing import Any, TextIO


def settle_streams() -> None:
    """Makes stdout and stderr of this process such that writing to them cannot fail; once more does no harm.

    A sign that the stream's encoding lacks is written by its number. What a stream cannot take (the pipe's reader is
    gone, the disk is full) is lost. One that was closed leads to the null device: the next file that is opened would
    else take its number, and what C libraries say would be written into that file.

    Streams that somebody put in the place of Python's own (a notebook, a test) are left as they are.
    """
    for number in (0, 1, 2):
        _open_if_closed(number)
    if sys.stdout is sys.__stdout__:
        sys.stdout = _unfailing(sys.stdout, 1)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _unfailing(sys.stderr, 2)


class _Unfailing(io.FileIO):
    """A file that takes everything. stderr says once that stdout could not, unless its reader is just gone."""

    lost = False

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if not self.lost and error.errno != errno.EPIPE and self.fileno() != 2:
                text = f"warning: stdout cannot be written: {error.strerror}. What it says is lost"
                print(text, file=sys.stderr)
            self.lost = True
            return len(data)


def _unfailing(stream: TextIO | None, number: int) -> TextIO:
    """Returns a stream like another of Python's own, which may be none."""
    file = _Unfailing(number, "w", closefd=False)
    if not isinstance(stream, io.TextIOWrapper):
        return io.TextIOWrapper(io.BufferedWriter(file), "utf-8", "backslashreplace")
    stream.flush()
    return io.TextIOWrapper(
        file if stream.write_through else io.BufferedWriter(file),  # as `python -u` has it
        stream.encoding,
        "backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _open_if_closed(number: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        null = os.open(os.devnull, os.O_RDWR)
        if null != number:
            os.dup2(null, number)
            os.close(null)
