"""A function in a process of its own: what comes back, what a crash costs, and who ends with whom."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from beam_pipeline.runtime.child_process import ChildEnded, call_in_child
from beam_pipeline.runtime.faults import PermanentFault
from beam_pipeline.runtime.own_modules import environment_of_modules

MOST_WAIT_S = 20
MOST_HELD_S = 0.5


def add(first, second=1):
    print("what a library prints is no answer")
    return first + second, os.getpid()


def fail(kind):
    if kind == "fault":
        raise PermanentFault("made_up", "one line")
    if kind == "two arguments":
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "made up")
    raise _CannotBeMadeAgain("of a library", 7)


class _CannotBeMadeAgain(Exception):
    def __init__(self, text, number):
        super().__init__(f"{text}, {number}")


def end(how):
    sys.stderr.write("the last words\n")
    sys.stderr.flush()
    if how == "null pointer":
        ctypes.string_at(0)
    if how == "exit":
        os._exit(3)
    if how == "quietly":
        os._exit(0)
    os.kill(os.getpid(), how)
    time.sleep(MOST_WAIT_S)


def hold_the_lock(seconds):
    """Sleeps in C without giving Python's lock away, as pyosmium works."""
    ctypes.PyDLL(None).usleep(ctypes.c_uint(int(seconds * 1e6)))


def write_pid_and_sleep(path):
    Path(path).write_text(str(os.getpid()))
    time.sleep(MOST_WAIT_S)


def score():
    return int(Path("/proc/self/oom_score_adj").read_text())


def test_a_function_returns_from_another_process():
    assert call_in_child(add, 2, second=3)[0] == 5
    assert call_in_child(add, 2)[1] != os.getpid()


def test_what_it_raises_comes_back():
    with pytest.raises(PermanentFault, match="made_up: one line") as caught:
        call_in_child(fail, "fault")
    assert caught.value.reason == "made_up"
    with pytest.raises(UnicodeDecodeError) as caught:
        call_in_child(fail, "two arguments")
    assert "in fail" in "".join(caught.value.__notes__)


def test_an_error_that_cannot_be_pickled_comes_back_as_text():
    with pytest.raises(RuntimeError, match=r"_CannotBeMadeAgain: of a library, 7"):
        call_in_child(fail, "odd")


@pytest.mark.parametrize(
    ("how", "code", "said"),
    [
        ("null pointer", -signal.SIGSEGV, "by SIGSEGV"),
        (signal.SIGABRT, -signal.SIGABRT, "by SIGABRT"),
        (signal.SIGKILL, -signal.SIGKILL, "by SIGKILL"),
        ("exit", 3, "with exit code 3"),
        ("quietly", 0, "with exit code 0"),
    ],
)
def test_its_end_costs_the_caller_nothing(how, code, said):
    with pytest.raises(ChildEnded) as caught:
        call_in_child(end, how)
    assert caught.value.code == code
    assert str(caught.value) == said
    assert "the last words" in caught.value.said


def test_the_caller_s_other_threads_go_on():
    gaps = []

    def tick(stop):
        last = time.perf_counter()
        while not stop.is_set():
            time.sleep(0.01)
            now = time.perf_counter()
            gaps.append(now - last)
            last = now

    def longest_gap(call):
        gaps.clear()
        stop = threading.Event()
        ticking = threading.Thread(target=tick, args=(stop,))
        ticking.start()
        call()
        stop.set()
        ticking.join()
        return max(gaps)

    assert longest_gap(lambda: hold_the_lock(0.8)) > MOST_HELD_S, "the test cannot see a lock that is held"
    assert longest_gap(lambda: call_in_child(hold_the_lock, 0.8)) < MOST_HELD_S


def test_it_ends_with_a_parent_that_is_killed(tmp_path):
    file = tmp_path / "pid"
    code = f"from {__name__} import *; call_in_child(write_pid_and_sleep, {str(file)!r})"
    parent = subprocess.Popen([sys.executable, "-c", code], env=environment_of_modules())
    wait_until(lambda: file.exists() and file.read_text())
    child = int(file.read_text())
    assert is_running(child)
    parent.kill()
    parent.wait()
    wait_until(lambda: not is_running(child))


def test_the_kernel_ends_it_first_where_memory_runs_out():
    assert call_in_child(score) == 1000
    assert score() < 1000


def is_running(pid):
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def wait_until(holds):
    end_s = time.monotonic() + MOST_WAIT_S / 2
    while not holds():
        assert time.monotonic() < end_s
        time.sleep(0.02)
