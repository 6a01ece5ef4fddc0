"""The blocks that a unit reads, beside cases worked by hand and a count of the plain kind."""

import itertools
import random
from pathlib import Path

import pytest

from beam_pipeline.cells.cell import CHIP_SIZE_M
from beam_pipeline.cells.mgrs_tiles import TILE_SIZE_M
from beam_pipeline.cells.table import read_cells_csv
from beam_pipeline.dataset.units import make_units
from beam_pipeline.jobs.plan.drawn import draw_units
from beam_pipeline.jobs.plan.reads import PlannedUnit, Weather, Work, num_reads, walk
from beam_pipeline.sample_world import SampleWorld
from tests.pipelines.conftest import CELLS_PER_SHARD, run_folder, whole_world, world  # noqa: F401 - fixtures

ALWAYS, NEVER = [True], [False]


def test_one_chip_in_one_block_of_every_asset() -> None:
    # SCL and 12 bands of two scenes: 26 assets of one block each, two requests for opening and one for the block.
    found = walk([(0, 0)], [ALWAYS] * 5)
    assert found == Work(26, 26, blocks_10=8, blocks_20=12, blocks_60=4, blocks_scl=2, images=2, pairs=1)
    assert found.requests == 78
    assert found.blocks == 26


def test_a_chip_over_a_corner_of_blocks() -> None:
    # The corner of four blocks at 10 m, the edge of none at 20 m and 60 m: 10,240 m is half a block there.
    place = (10_240 - 960, 10_240 - 960)
    found = walk([place], [ALWAYS] * 2)
    assert (found.blocks_10, found.blocks_20, found.blocks_60) == (2 * 4 * 4, 12, 4)
    # Two neighbours of a row are one request, the two rows are two.
    assert found.reads == 2 * (4 * 2 + 6 + 2 + 1)


def test_cloudy_dates_cost_scl_only_until_both_images_are_found() -> None:
    found = walk([(0, 0)], [NEVER, NEVER, ALWAYS, NEVER, ALWAYS, ALWAYS])
    assert (found.opened, found.blocks_scl, found.images, found.pairs) == (5 + 24, 5, 2, 1)


def test_a_year_without_a_second_clear_date_is_walked_to_its_end() -> None:
    found = walk([(0, 0)], [ALWAYS, *[NEVER] * 9])
    assert (found.blocks_scl, found.images, found.pairs) == (10, 1, 0)


def test_chips_that_have_both_images_are_not_read_again() -> None:
    far = (0, 0), (90_000, 90_000)
    found = walk(far, [[True, False], [True, False], [False, True], [False, True]])
    # Both are looked at twice, then the second alone; each date has the bands of one chip.
    assert found.blocks_scl == 2 + 2 + 1 + 1
    assert found.blocks_10 == 4 * 4
    assert (found.images, found.pairs) == (4, 2)


def test_a_read_has_at_most_four_blocks_of_a_row() -> None:
    for length, reads in ((1, 1), (4, 1), (5, 2), (8, 2), (9, 3), (11, 3)):
        assert num_reads((1 << length) - 1) == reads
    rows = 12
    assert num_reads(0b11111 | 0b1 << rows | 0b11 << (rows + 4)) == 2 + 1 + 1


def test_blocks_and_reads_are_those_of_a_plain_count() -> None:
    draw = random.Random(5)
    places = [tuple(60 * draw.randrange(1799) for _ in range(2)) for _ in range(40)]
    found = walk(places, [[True] * 40])
    blocks, reads = {}, 0
    for pixel_m, bands in ((10, 4), (20, 6), (60, 2)):
        side = 1024 * pixel_m
        touched = {
            (row, column)
            for x, y in places
            for row in range(y // side, (y + CHIP_SIZE_M - 1) // side + 1)
            for column in range(x // side, (x + CHIP_SIZE_M - 1) // side + 1)
        }
        blocks[pixel_m] = bands * len(touched)
        of_20 = bands + 1 if pixel_m == 20 else bands
        for _, row in itertools.groupby(sorted(touched), key=lambda block: block[0]):
            columns = [column for _, column in row]
            runs = itertools.groupby(enumerate(columns), key=lambda pair: pair[1] - pair[0])
            reads += of_20 * sum(-(-len(list(run)) // 4) for _, run in runs)
    assert (found.blocks_10, found.blocks_20, found.blocks_60) == (blocks[10], blocks[20], blocks[60])
    assert found.blocks_scl * 6 == found.blocks_20
    assert found.reads == reads


@pytest.mark.parametrize(("clear", "alike"), [(0.45, 0.5), (0.8, 0.1)])
def test_the_weather_is_as_clear_and_as_alike_as_is_said(clear: float, alike: float) -> None:
    unit = PlannedUnit(0, "33TWN", "a", ((0, 0), (60, 0)))
    dates = list(Weather(clear, alike, 20_000).dates(unit, 2020, 0))
    mean = sum(map(sum, dates)) / 40_000
    both = sum(map(all, dates)) / 20_000
    assert mean == pytest.approx(clear, abs=0.02)
    assert (both - mean**2) / (mean * (1 - mean)) == pytest.approx(alike, abs=0.04)


def test_units_of_a_tile_have_the_same_weather_and_each_year_its_own() -> None:
    weather = Weather(0.5, 0.98, 200)  # nearly all chips alike
    place = ((0, 0),)

    def of(tile: str, name: str, year: int) -> list[list[bool]]:
        return list(weather.dates(PlannedUnit(0, tile, name, place), year, 0))

    first = of("33TWN", "a", 2020)
    assert first == of("33TWN", "a", 2020)

    def same(other: list[list[bool]]) -> float:
        return sum(one == two for one, two in zip(first, other, strict=True)) / 200

    assert same(of("33TWN", "b", 2020)) > 0.9
    assert same(of("33TWN", "a", 2021)) < 0.7
    assert same(of("33TXN", "a", 2020)) < 0.7


def test_drawn_cells_are_as_many_as_are_said_and_lie_in_their_tiles() -> None:
    units = draw_units(3_000, 290, 16, seed=1)
    assert sum(len(unit.places) for unit in units) == 3_000
    assert len({unit.tile for unit in units}) == 290
    assert {len(unit.places) for unit in units} == set(range(1, 17))
    assert all(0 <= edge <= TILE_SIZE_M - CHIP_SIZE_M for unit in units for edge in sum(unit.places, ()))
    assert units == draw_units(3_000, 290, 16, seed=1)
    assert all(unit.places for unit in draw_units(5, 5, 16, seed=0))


def test_places_of_a_dataset_are_metres_within_its_tiles(world: SampleWorld) -> None:  # noqa: F811
    units = make_units(read_cells_csv(Path(world.cells_csv)), CELLS_PER_SHARD)
    planned = [PlannedUnit.of_unit(unit) for unit in units]
    assert [(one.name, one.tile) for one in planned] == [(unit.name, unit.tile) for unit in units]
    for place in (place for unit in planned for place in unit.places):
        assert all(0 <= edge <= TILE_SIZE_M - CHIP_SIZE_M and edge % 60 == 0 for edge in place)
