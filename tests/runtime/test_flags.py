"""Command lines and Ctrl-C."""

import signal
import subprocess
import sys
import threading

import pytest

from beam_pipeline import __version__
from beam_pipeline.runtime.extras import require_package
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.flags import FlagParser, ending_at_interrupt


def test_a_parser_raises_tells_its_version_and_takes_no_abbreviation(
    capsys: pytest.CaptureFixture[str],
) -> None:
    parser = FlagParser("prog", "Does\n  something.")
    parser.add_argument("--number", type=int)
    with pytest.raises(InvalidInputError, match=r"--number: invalid int value: 'x'\. See --help\."):
        parser.parse_all(["--number", "x"])
    with pytest.raises(InvalidInputError, match="Unknown flags: --num"):
        parser.parse_all(["--num", "1"])
    with pytest.raises(SystemExit, match="0"):
        parser.parse_all(["--version"])
    assert capsys.readouterr().out == f"opensentinelmap {__version__}\n"


def test_ctrl_c_ends_the_process_at_once_whatever_its_threads_do() -> None:
    program = (
        "import os, signal, threading, time\n"
        "from beam_pipeline.runtime.flags import ending_at_interrupt\n"
        "threading.Thread(target=time.sleep, args=(600,)).start()\n"
        "with ending_at_interrupt('nothing was written'):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    time.sleep(600)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 130
    assert ended.stderr == "\nstopped: nothing was written\n"


def test_the_handler_of_before_comes_back_and_threads_need_none() -> None:
    before = signal.getsignal(signal.SIGINT)
    with ending_at_interrupt("x"):
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
    entered = threading.Event()

    def enter() -> None:
        with ending_at_interrupt("x"):
            entered.set()

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert entered.is_set()


def test_an_extra_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    require_package("osmnx", "--osm overpass", "overpass")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(
        InvalidInputError, match=r"--osm overpass needs .* osmnx.*opensentinelmap\[overpass\]"
    ):
        require_package("osmnx", "--osm overpass", "overpass")
