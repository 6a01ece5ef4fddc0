"""Fixtures that tests of catalogues share."""

import pytest

from beam_pipeline.imagery import parquet_file
from beam_pipeline.runtime.parquet_footer import parse_footer


@pytest.fixture
def trusted_footers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parses footers in this process only: a process for each takes 0.3 s, and test_parquet_footer.py tests it."""
    monkeypatch.setattr(parquet_file, "require_parsable", parse_footer)
