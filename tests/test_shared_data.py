"""Tests that lack the real data say so, and the summary counts them in one line."""

from types import SimpleNamespace

import pytest

from tests.conftest import pytest_terminal_summary
from tests.shared_data import WANTING, shared


class Terminal:
    """The part of pytest's terminal that the hook sees: reports of skipped tests, and where lines go."""

    def __init__(self, *reasons: str) -> None:
        # As pytest stores them: file, line, reason.
        self.stats = {"skipped": [SimpleNamespace(longrepr=("test_x.py", 7, it)) for it in reasons]}
        self.lines: list[str] = []

    def write_line(self, line: str) -> None:
        self.lines.append(line)


def reason_of_absence() -> str:
    with pytest.raises(pytest.skip.Exception) as skipped:
        shared("no", "such.tif")
    return f"Skipped: {skipped.value}"


def test_the_summary_counts_those_that_lack_the_data_alone() -> None:
    terminal = Terminal(reason_of_absence(), "Skipped: needs nginx", reason_of_absence())
    pytest_terminal_summary(terminal)
    assert terminal.lines == [f"2 skipped {WANTING}"]


def test_the_summary_is_silent_where_none_lacks_it() -> None:
    terminal = Terminal("Skipped: needs nginx")
    pytest_terminal_summary(terminal)
    assert terminal.lines == []


def test_the_reason_says_what_is_absent() -> None:
    assert reason_of_absence() == f"Skipped: no/such.tif is absent, {WANTING}"
