import math

import numpy as np
import pyproj
import pytest

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.labels.chip_boxes import cells_meeting, lonlat_boxes, utm_boxes

VADUZ = ChipWindow(32632, 539_460, 5_220_060)
BESIDE = ChipWindow(32632, 539_460 + 1920, 5_220_060)
SOUTH = ChipWindow(32733, 260_100, 10_000_000 - 60 * 60_000)
FIJI = ChipWindow(32701, 178_980, 10_000_000 - 60 * 31_000)  # 180 E runs through it,
FIJI_FROM_THE_WEST = ChipWindow(32760, 818_880, 8_140_060)  # and through this of the neighbouring zone


def edge_points(chip: ChipWindow, margin: float) -> np.ndarray:
    """(N, 2) longitudes and latitudes of a metre-fine walk around a chip."""
    left, bottom, right, top = (
        edge + sign * margin for edge, sign in zip(chip.bounds, (-1, -1, 1, 1), strict=True)
    )
    along = np.linspace(0, 1, 2000)
    x = np.concatenate([left + along * (right - left)] * 2 + [np.full(2000, left), np.full(2000, right)])
    y = np.concatenate([np.full(2000, bottom), np.full(2000, top)] + [bottom + along * (top - bottom)] * 2)
    back = pyproj.Transformer.from_crs(chip.epsg, 4326, always_xy=True)
    return np.column_stack(back.transform(x, y))


@pytest.mark.parametrize("chip", [VADUZ, SOUTH, ChipWindow(32625, 480_000, 9_250_020)])
@pytest.mark.parametrize("margin", [0.0, 50.0])
def test_a_box_is_as_large_as_the_chip_and_its_margin(chip: ChipWindow, margin: float) -> None:
    points = edge_points(chip, margin)
    (box,) = lonlat_boxes([chip], margin)
    centimetre = 1e-7 / math.cos(math.radians(points[:, 1].mean()))
    np.testing.assert_allclose(box, [*points.min(axis=0), *points.max(axis=0)], atol=centimetre)


def test_boxes_of_several_zones_come_in_the_order_of_the_chips() -> None:
    chips = [VADUZ, SOUTH, BESIDE]
    np.testing.assert_array_equal(
        lonlat_boxes(chips, 9.0), np.concatenate([lonlat_boxes([it], 9.0) for it in chips])
    )
    assert lonlat_boxes([], 9.0).shape == utm_boxes([], 9.0).shape == (0, 4)


def test_a_box_across_the_antimeridian_is_not_wrapped() -> None:
    for chip in (FIJI, FIJI_FROM_THE_WEST):
        ((west, _, east, _),) = lonlat_boxes([chip], 0.0)
        assert 0.01 < east - west < 0.03
        assert west < -180 < east or west < 180 < east


def test_metres_and_their_margin() -> None:
    left, bottom, right, top = VADUZ.bounds
    assert utm_boxes([VADUZ], 50.0).tolist() == [[left - 50, bottom - 50, right + 50, top + 50]]


def test_cells_that_meet_bounds() -> None:
    chips = {8: VADUZ, 3: BESIDE, 5: SOUTH, 9: FIJI}
    west, south, east, north = lonlat_boxes([VADUZ], 0.0)[0].tolist()
    assert cells_meeting(chips, None) == [3, 5, 8, 9]
    assert cells_meeting({}, (0.0, 0.0, 1.0, 1.0)) == []
    assert cells_meeting(chips, (west, south, (west + east) / 2, north)) == [8]
    assert cells_meeting(chips, (west, south, east, north)) == [3, 8]
    tiny = 1e-6
    for beyond in (
        (west - 1, south, west - tiny, north),
        (west - 1, south - 1, east, south - 0.01),
        (west, north + 0.01, east, north + 1),
    ):
        assert cells_meeting(chips, beyond) == []
    for edge in (
        (west - 1, south, west, south),
        (west - 1, south - 1, west, south),
        (west - 1, north, west, north + 1),
    ):
        assert cells_meeting(chips, edge) == [8]
    everywhere = (-180.0, -90.0, 180.0, 90.0)
    assert cells_meeting(chips, everywhere) == [3, 5, 8, 9]


@pytest.mark.parametrize(
    ("west", "east", "meets"),
    [
        (179.0, 180.0, True),
        (-180.0, -179.9, True),
        (-179.0, 179.0, False),
        (178.0, 179.0, False),
        (-179.0, -178.0, False),
    ],
)
def test_a_chip_at_the_antimeridian_lies_on_both_of_its_sides(west: float, east: float, meets: bool) -> None:
    for chip in (FIJI, FIJI_FROM_THE_WEST):
        assert cells_meeting({1: chip}, (west, -30.0, east, 30.0)) == ([1] if meets else [])


def test_bounds_across_the_antimeridian_hold_chips_on_both_of_its_sides() -> None:
    chips = {1: FIJI, 2: FIJI_FROM_THE_WEST, 3: VADUZ, 4: ChipWindow(32701, 300_000, FIJI.bottom)}
    assert cells_meeting(chips, (179.9, -30.0, 180.1, 30.0)) == [1, 2]
    assert cells_meeting(chips, (-180.1, -30.0, -179.9, 30.0)) == [1, 2]
    assert cells_meeting(chips, (179.9, -30.0, 183.0, 30.0)) == [1, 2, 4]
    assert cells_meeting(chips, (181.0, -30.0, 183.0, 30.0)) == [4]
