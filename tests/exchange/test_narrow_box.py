"""The narrowest box around cells, against all boxes that begin at one of them."""

import random

import pytest
import shapely

from beam_pipeline.cells.chips import ChipWindow
from beam_pipeline.exchange.cell_row import footprint
from beam_pipeline.exchange.narrow_box import NarrowBox
from tests.exchange.georeferenced import ACROSS, CHIPS

Box = tuple[float, float, float, float]


def square(west: float, width: float) -> shapely.Geometry:
    """A square, in two halves where it crosses 180 degrees."""
    if west + width <= 180:
        return shapely.box(west, 0, west + width, 1)
    return shapely.MultiPolygon([shapely.box(west, 0, 180, 1), shapely.box(-180, 0, west + width - 360, 1)])


def narrowest(squares: list[tuple[float, float]]) -> float:
    """The width of the narrowest box, tried from each square's west edge eastward until all others lie in it."""
    widths = []
    for start, _ in squares:
        widths.append(max((west - start) % 360 + width for west, width in squares))
    return min(*widths, 360) if len(widths) > 1 else min(widths[0], 360)


def width_of(box: Box) -> float:
    west, _, east, _ = box
    return east - west if west <= east else east - west + 360


def holds(box: Box, west: float, width: float) -> bool:
    """Whether a square lies in the box, found by stepping along it."""
    for step in range(11):
        lon = (west + width * step / 10 + 180) % 360 - 180
        inside = box[0] <= lon <= box[2] if box[0] <= box[2] else lon >= box[0] or lon <= box[2]
        if not inside and abs(lon) < 180:  # 180 is -180
            return False
    return True


@pytest.mark.parametrize("seed", range(200))
def test_it_is_the_narrowest_that_holds_all(seed: int) -> None:
    draw = random.Random(seed)
    middle, spread = draw.uniform(-180, 180), draw.choice([2, 30, 170, 360])
    squares = []
    for _ in range(draw.choice([1, 2, 3, 12])):
        # Eighths of a degree: sums are exact.
        west = round(8 * (middle + draw.uniform(-spread / 2, spread / 2))) / 8
        squares.append(((west + 180) % 360 - 180, draw.choice([0.125, 1.0, 30.0])))
    box = NarrowBox()
    for west, width in squares:
        box.add(square(west, width))
    assert width_of(box.bounds) == narrowest(squares)
    assert all(holds(box.bounds, *it) for it in squares)
    assert box.bounds[1::2] == (0, 1)


@pytest.mark.parametrize(
    ("squares", "west", "east"),
    [
        ([(179, 2)], 179, -179),
        ([(178, 1), (-179, 1)], 178, -178),
        ([(179, 1)], 179, 180),
        ([(-180, 1)], -180, -179),
        ([(10, 1), (20, 1)], 10, 21),
        # Two are as narrow: this one does not cross.
        ([(-90, 0), (90, 0)], -90, 90),
        ([(-180, 180), (0, 180)], -180, 180),
        ([(-170, 180), (0, 200)], -180, 180),
    ],
)
def test_where_it_begins_and_ends(squares: list[tuple[float, float]], west: float, east: float) -> None:
    box = NarrowBox()
    for it in squares:
        box.add(square(*it))
    assert box.bounds[::2] == (west, east)


def test_many_cells_are_as_few() -> None:
    """Spans are joined on the way."""
    box = NarrowBox()
    for number in range(10_000):
        box.add(square(170 + (number * 7919 % 10_000) / 1_000, 0.001))
    box.add(square(179.5, 1))
    assert box.bounds == (170, 0, -179.5, 1)
    assert len(box._spans) <= 2


def test_a_real_chip_across_the_antimeridian() -> None:
    box = NarrowBox()
    box.add(footprint(CHIPS[ACROSS][1]))
    west, south, east, north = box.bounds
    # 1920 m on the 17th parallel south are this many degrees.
    assert west > 179.9
    assert east < -179.9
    assert width_of((west, south, east, north)) == pytest.approx(1920 / 106_500, rel=0.05)
    box.add(footprint(ChipWindow(32633, 300_000, 5_000_040)))
    assert 12 < box.bounds[0] < 13
    assert box.bounds[2] == east
