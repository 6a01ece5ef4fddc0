"""A process that looks at footers of Parquet files, each in a child of its own: a bad one ends the child alone.

To import pyarrow takes 0.3 s, and to copy a process that has imported it a few milliseconds.

    python -m beam_pipeline.runtime.footer_process

reads footers from standard input until that is closed, and answers each on standard output.
"""

import atexit
import contextlib
import os
import select
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import IO

from beam_pipeline.runtime.own_modules import environment_of_modules

_LENGTH = struct.Struct("<Q")  # of a footer, which follows
_ANSWER = struct.Struct("<iQ")  # exit code, and the length of what is said, which follows


class FooterProcess:
    """Asks such a process, which is started when it is first needed; threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0

    def ask(self, tail: bytes, most_s: float) -> tuple[int, str]:
        """Has a footer looked at.

        Args:
            tail: The end of a file, as `parquet_footer.parse_footer` takes it.
            most_s: How long that may take.

        Returns:
            The exit code of who looked at it, below 0 if it was ended by a signal, and what it said.

        Raises:
            TimeoutError: It takes longer.
            OSError: The process cannot be started.
        """
        with self._lock:
            for is_last in (False, True):
                try:
                    return _answer(self._running(), tail, most_s)
                except TimeoutError:
                    self.end()
                    raise
                except (EOFError, BrokenPipeError):  # somebody ended it
                    self.end()
                    if is_last:
                        raise
        raise AssertionError

    def end(self) -> None:
        """Ends the process; the next question starts another."""
        process, self._process = self._process, None
        if process is not None and self._owner == os.getpid():
            process.kill()
            process.communicate()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._owner != os.getpid():  # a copy of this process needs its own
            self._owner = os.getpid()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "beam_pipeline.runtime.footer_process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment_of_modules(),
            )
            atexit.register(self.end)
        return self._process


def _answer(process: "subprocess.Popen[bytes]", tail: bytes, most_s: float) -> tuple[int, str]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(_LENGTH.pack(len(tail)) + tail)
    process.stdin.flush()
    if not select.select([process.stdout], [], [], most_s)[0]:
        raise TimeoutError
    code, length = _ANSWER.unpack(_read(process.stdout, _ANSWER.size))
    return code, _read(process.stdout, length).decode(errors="replace")


def _read(file: IO[bytes], size: int) -> bytes:
    content = file.read(size)
    if len(content) < size:
        raise EOFError
    return content


def serve(look: Callable[[bytes], tuple[int, str]]) -> None:
    """Answers questions from standard input until it is closed.

    Args:
        look: Looks at a footer, in a child; its exit code, and what it says.
    """
    asked, answers = sys.stdin.buffer, sys.stdout.buffer
    with contextlib.suppress(EOFError, BrokenPipeError, KeyboardInterrupt):
        while True:
            (length,) = _LENGTH.unpack(_read(asked, _LENGTH.size))
            code, said = _in_child(look, _read(asked, length))
            answers.write(_ANSWER.pack(code, len(said)) + said)
            answers.flush()


def _in_child(look: Callable[[bytes], tuple[int, str]], tail: bytes) -> tuple[int, bytes]:
    theirs, ours = os.pipe()
    child = os.fork()
    if child == 0:
        code, said = look(tail)
        with os.fdopen(ours, "wb") as pipe:
            pipe.write(said.encode(errors="replace"))
        os._exit(code)
    os.close(ours)
    with os.fdopen(theirs, "rb") as pipe:
        said_bytes = pipe.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said_bytes


if __name__ == "__main__":
    from beam_pipeline.runtime.parquet_footer import look_at

    serve(look_at)
