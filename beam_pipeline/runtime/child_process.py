"""Calls a function in a process of its own, whose crash costs the caller nothing.

The process ends with the thread that waits for it, and it is the first that the kernel ends where memory runs out.
"""

import contextlib
import ctypes
import os
import pickle
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, ParamSpec, TypeVar

from beam_pipeline.runtime.own_modules import environment_of_modules

_PR_SET_PDEATHSIG = 1  # Source: Linux' `linux/prctl.h`
_SCORE = Path("/proc/self/oom_score_adj")
_MOST_SCORE = "1000"
_MOST_SAID = 2000  # characters

_Parameters = ParamSpec("_Parameters")
_T = TypeVar("_T")


class ChildEnded(Exception):
    """A process ended before its function did.

    Attributes:
        code: Its exit code; below 0 the signal that ended it.
        said: The end of what it wrote to its standard error.
    """

    def __init__(self, code: int, said: str) -> None:
        super().__init__(code, said)
        self.code = code
        self.said = said

    def __str__(self) -> str:
        """Says how it ended."""
        with contextlib.suppress(ValueError):
            return f"by {signal.Signals(-self.code).name}"
        return f"with exit code {self.code}"


def call_in_child(
    function: Callable[_Parameters, _T], *args: _Parameters.args, **kwargs: _Parameters.kwargs
) -> _T:
    """Calls a function in a new process of this interpreter and waits for it.

    Args:
        function: Of a module. It, its arguments and what it returns are pickled.
        *args: Its arguments.
        **kwargs: Its arguments by name.

    Returns:
        What it returned.

    Raises:
        Exception: What it raised; if that is no `Fault`, with the child's trace as a note.
        ChildEnded: The process ended before it returned.
    """
    process = subprocess.Popen(  # noqa: S603 - of this interpreter
        [sys.executable, "-m", "beam_pipeline.runtime.child_process", str(os.getpid())],
        env=environment_of_modules(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for this process, which ends the child
    )
    try:
        answer, said = process.communicate(pickle.dumps((function, args, kwargs)))
    except BaseException:
        process.kill()
        process.wait()
        raise
    if process.returncode or not answer:
        raise ChildEnded(process.returncode, said.decode(errors="replace")[-_MOST_SAID:])
    result, error = pickle.loads(answer)  # noqa: S301 - made below, by this user's process
    if error is not None:
        raise error
    return result  # type: ignore[no-any-return]  # what is pickled has no type


def end_with_parent(parent: int) -> None:
    """Has the kernel kill this process as soon as the thread that started it has ended.

    Systems other than Linux do not offer this: there the process ends when its work does.

    Args:
        parent: The process that should be its parent. If that has ended already, so does this one.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _be_first_to_go() -> None:
    with contextlib.suppress(OSError):  # not every system has it
        _SCORE.write_text(_MOST_SCORE)


def _pickled(result: Any, error: Exception | None) -> bytes:
    if error is not None:
        error.add_note("".join(traceback.format_exception(error)))
    try:
        answer = pickle.dumps((result, error))
        pickle.loads(answer)  # noqa: S301 - exceptions of some libraries pickle well and cannot be made again
    except Exception:
        return pickle.dumps((None, RuntimeError(f"{type(error or result).__name__}: {error or result}")))
    return answer


def _main() -> NoReturn:
    end_with_parent(int(sys.argv[1]))
    _be_first_to_go()
    answers = os.dup(1)
    os.dup2(2, 1)  # what libraries print is no answer
    result, error = None, None
    try:
        function, args, kwargs = pickle.load(sys.stdin.buffer)  # noqa: S301 - the parent's
        result = function(*args, **kwargs)
    except Exception as raised:
        error = raised
    with os.fdopen(answers, "wb") as file:
        file.write(_pickled(result, error))
    sys.stderr.flush()
    # At once: to take down what failed may crash, as libosmium's writers do on a full disk.
    os._exit(0)


if __name__ == "__main__":
    _main()
