"""Finds the real data that some tests use and that is no part of the project."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
WANTING = "for want of ../shared, which holds real data and is no part of the project"
"""Ends the reason of every test that is skipped so; the summary counts them by it."""


def shared(*parts: str) -> Path:
    """Returns a path below the shared data, or skips the test where it is absent."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{'/'.join(parts)} is absent, {WANTING}")
    return path
