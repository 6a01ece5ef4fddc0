"""A bar on a terminal, lines elsewhere."""

import contextlib
import io
import os
import pty
import termios
import time

import pytest

from beam_pipeline.runtime.progress import Progress


def shown_on_terminal(columns: int) -> str:
    """Returns what a terminal of that width gets of a step with four shards."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24 if columns else 0, columns))
    with open(theirs, "w") as stream:
        progress = Progress(4, "verify", "shards", leave=True, stream=stream)
        progress.update(4)
        progress.close()
        progress.close()  # once more does no harm
    shown = b""
    with contextlib.suppress(OSError):  # Linux says so where all is read and nobody writes any more
        while piece := os.read(ours, 1 << 16):
            shown += piece
    os.close(ours)
    return shown.decode()


def test_elsewhere_a_step_writes_whole_lines() -> None:
    stream = io.StringIO()
    with Progress(12, "verify", "shards", done=2, leave=True, stream=stream) as progress:
        progress.update()
        progress.update(2)
        progress.note(loss="0.5")
        assert stream.getvalue() == ""
    assert progress.done == 5
    assert stream.getvalue().startswith("verify: 5 of 12 shards [00:00<")
    assert stream.getvalue().endswith(", loss=0.5]\n")
    assert "\r" not in stream.getvalue()


@pytest.mark.parametrize(
    ("total", "unit", "begins"),
    [
        (None, "", "choosing cells [00:0"),
        (None, "MiB", "choosing cells: 0 MiB [00:0"),
        (0, "x", "choosing cells: 0 of 0 x"),
    ],
)
def test_a_step_in_which_nothing_is_counted_is_not_silent(total: int | None, unit: str, begins: str) -> None:
    stream = io.StringIO()
    with Progress(total, "choosing cells", unit, stream=stream, line_every_s=0.01):
        while stream.getvalue().count("\n") < 2:
            time.sleep(0.01)
    assert all(line.startswith(begins) for line in stream.getvalue().splitlines())


def test_a_quick_step_says_nothing_unless_it_is_left() -> None:
    stream = io.StringIO()
    with Progress(1, "quick", "steps", stream=stream) as progress:
        progress.update()
    assert stream.getvalue() == ""


def test_a_terminal_gets_a_bar() -> None:
    shown = shown_on_terminal(80)
    assert "\rverify: 100%|" in shown
    assert "4/4" in shown


def test_a_terminal_without_a_size_gets_lines() -> None:
    assert shown_on_terminal(0).startswith("verify: 4 of 4 shards [")


def test_a_step_that_fails_ends_its_lines_too() -> None:
    stream = io.StringIO()
    with pytest.raises(OSError, match="full"), Progress(4, "verify", "shards", leave=True, stream=stream):
        raise OSError("full")
    assert stream.getvalue().startswith("verify: 0 of 4 shards")


def test_a_program_without_stderr_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", None)
    with Progress(1, "verify", "shards", leave=True) as progress:
        progress.update()
    assert progress.done == 1
