"""A bar on a terminal, lines elsewhere."""

import io
import time

import pytest

from beam_pipeline.runtime.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


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
    stream = Terminal()
    with Progress(4, "verify", "shards", leave=True, stream=stream) as progress:
        progress.update(4)
    assert "\r" in stream.getvalue()
    assert "100%" in stream.getvalue()
    assert "4/4" in stream.getvalue()
    progress.close()  # once more


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
