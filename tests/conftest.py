"""What holds for all tests."""

import pytest

from tests.shared_data import WANTING


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says how many tests were skipped because real data is absent."""
    skipped = [
        report
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple) and report.longrepr[2].endswith(WANTING)
    ]
    if skipped:
        terminalreporter.write_line(f"{len(skipped)} skipped {WANTING}")
