"""Row groups of STAC GeoParquet that a tile and a year cannot be in, by what their statistics prove."""

import pytest

from beam_pipeline.imagery.parquet_tile_year import TileYear
from beam_pipeline.runtime.parquet_statistics import ColumnRange


def _named(low: str, high: str, has_nulls: bool = False) -> dict[str, ColumnRange]:
    return {"grid:code": ColumnRange(low, high, has_nulls)}


@pytest.mark.parametrize(
    ("said", "may_be"),
    [
        ({}, True),
        (_named("MGRS-32TMS", "MGRS-33TWM"), False),
        (_named("MGRS-33TWN", "MGRS-33TWN"), True),
        (_named("MGRS-32TMS", "MGRS-33TWM", has_nulls=True), True),
        (_named("33TWP", "33TWQ"), False),
        (_named("T33TWA", "T33TXA"), True),
        (_named("LANDSAT-1", "LANDSAT-2"), True),
        (_named("33TAA", "MGRS-33TAA"), True),
        ({"datetime": ColumnRange(0, 1_577_836_799_999, False)}, False),
        ({"datetime": ColumnRange(0, 1_577_836_800_000, False)}, True),
        ({"datetime": ColumnRange(1_609_459_200_000, 1 << 60, False)}, False),
        ({"datetime": ColumnRange(0, 1, True)}, True),
        (
            {
                "mgrs:utm_zone": ColumnRange(33, 33, False),
                "mgrs:latitude_band": ColumnRange("S", "S", False),
                "mgrs:grid_square": ColumnRange("AA", "ZZ", False),
            },
            False,
        ),
        (
            {
                "sentinel:utm_zone": ColumnRange(30, 34, False),
                "sentinel:latitude_band": ColumnRange("S", "U", False),
                "sentinel:grid_square": ColumnRange("AA", "ZZ", False),
            },
            True,
        ),
    ],
)
def test_statistics_exclude_what_they_prove(said: dict[str, ColumnRange], may_be: bool) -> None:
    assert TileYear("33TWN", 2020).may_be_in(said, 1000) is may_be


def _box(west: tuple[float, float], east: tuple[float, float], south: float, north: float) -> dict:
    ends = {"xmin": west, "xmax": east, "ymin": (south, south), "ymax": (north, north)}
    return {f"bbox.{name}": ColumnRange(*each, False) for name, each in ends.items()}


@pytest.mark.parametrize(
    ("tile", "said", "may_be"),
    [
        ("33TWN", _box((14, 15), (16, 17), 46, 48), True),
        ("33TWN", _box((4, 5), (6, 7), 46, 48), False),
        ("33TWN", _box((14, 15), (16, 17), 6, 8), False),
        ("01KAB", _box((179, 179.5), (-179.5, -179), -17.5, -16), True),
        ("01KAB", _box((10, 11), (12, 13), -17.5, -16), False),
        ("33TWN", _box((-179, 179.5), (-179.5, 179), 46, 48), True),
        ("33TWN", _box((float("nan"), 1), (2, float("nan")), 46, 48), True),
    ],
)
def test_bounds_exclude_what_they_prove(tile: str, said: dict[str, ColumnRange], may_be: bool) -> None:
    assert TileYear(tile, 2020).may_be_in(said, 1000) is may_be


def test_five_characters_and_four_are_one_tile() -> None:
    for low, high, may_be in (
        ("MGRS-05QKA", "MGRS-05QKC", True),
        ("MGRS-5QKA", "MGRS-5QKC", True),
        ("MGRS-5QKC", "MGRS-5QKD", False),
    ):
        assert TileYear("05QKB", 2020).may_be_in(_named(low, high), 1000) is may_be
