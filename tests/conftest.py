"""Settings and fixtures of all tests."""

import tempfile
from collections.abc import Iterator

import pytest

import beam_pipeline.runtime.gdal_drivers  # noqa: F401 - before a test has GDAL register all
from tests.shared_data import WANTING


@pytest.fixture(scope="session", autouse=True)
def temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Leads temporary files of libraries and subprocesses to where pytest removes them.

    TensorFlow and Beam remove theirs as a process ends, but workers of xdist and killed processes end too abruptly.
    """
    folder = str(tmp_path_factory.mktemp("temporary"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", folder)
        patch.setattr(tempfile, "tempdir", folder)
        yield


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says how many tests were skipped because real data is absent."""
    skipped = [
        report
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple) and report.longrepr[2].endswith(WANTING)
    ]
    if skipped:
        terminalreporter.write_line(f"{len(skipped)} skipped {WANTING}")
