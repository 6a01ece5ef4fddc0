"""Fixtures that tests of stores share."""

import pytest

from beam_pipeline.features import stored_tile
from beam_pipeline.runtime.parquet_footer import parse_footer


@pytest.fixture
def trusted_footers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parses footers in this process only: a process for each takes 0.3 s."""
    monkeypatch.setattr(stored_tile, "require_parsable", parse_footer)
