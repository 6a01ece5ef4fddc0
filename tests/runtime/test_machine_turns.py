"""Only so many at once: threads, processes, those that died."""

import os
import subprocess
import sys
import tempfile
import threading
import time

import pytest

from beam_pipeline.runtime import machine_turns
from beam_pipeline.runtime.machine_turns import machine_turn
from beam_pipeline.runtime.own_modules import environment_of_modules

HOLD = """
from beam_pipeline.runtime.machine_turns import *
with machine_turn("it", 1):
    print("in", flush=True)
    time.sleep(30)
"""


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(machine_turns, "_POLL_S", 0.01)
    return tmp_path


@pytest.mark.parametrize("at_once", [1, 2])
def test_threads_take_turns(at_once):
    inside, most = [], []

    def work():
        with machine_turn("it", at_once):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.03)
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 5
    assert max(most) == at_once


def test_other_processes_wait_and_a_dead_one_holds_nothing(tmp_path):
    environment = {**environment_of_modules(), "TMPDIR": str(tmp_path)}
    holder = subprocess.Popen([sys.executable, "-c", HOLD], env=environment, stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"in\n"
    entered = threading.Event()

    def enter():
        with machine_turn("it", 1):
            entered.set()

    thread = threading.Thread(target=enter)
    thread.start()
    with machine_turn("something else", 1):
        assert not entered.wait(0.2)
    holder.kill()
    holder.communicate()
    assert entered.wait(10)
    thread.join()


def test_an_error_ends_a_turn():
    with pytest.raises(ValueError, match="made up"), machine_turn("it", 1):
        raise ValueError("made up")
    with machine_turn("it", 1):
        pass


def test_a_link_in_a_lock_s_place_is_not_followed(own_folder):
    aim = own_folder / "somebody's"
    with machine_turn("it", 1):
        (lock,) = own_folder.glob("*.lock")
    lock.unlink()
    lock.symlink_to(aim)
    with pytest.raises(OSError, match="symbolic links"), machine_turn("it", 1):
        pass
    assert not aim.exists()


def test_locks_are_the_user_s_own(own_folder):
    with machine_turn("it", 2):
        locks = sorted(own_folder.glob("*.lock"))
        assert [lock.name for lock in locks] == [
            f"opensentinelmap-{os.getuid()}-it-{turn}.lock" for turn in (0, 1)
        ]
        assert {lock.stat().st_mode & 0o777 for lock in locks} == {0o600}
