import pytest

from beam_pipeline.runtime.byte_counts import shown_bytes


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (12_300, "12.3 kB"),
        (48_000_000, "48.0 MB"),
        (1_000_000_000, "1.0 GB"),
        (86_000_000_000_000, "86,000.0 GB"),
    ],
)
def test_a_unit_that_fits(count: int, shown: str) -> None:
    assert shown_bytes(count) == shown
