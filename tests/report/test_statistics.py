"""Statistics of made-up units, against counts over the label images themselves."""

import collections
import dataclasses
import itertools
from collections.abc import Iterable, Sequence

import numpy as np
import pytest

from beam_pipeline.cells.cell import SPLITS
from beam_pipeline.dataset.outcomes import DeadLetter
from beam_pipeline.dataset.summary import failed_summary, summarise
from beam_pipeline.dataset.units import Unit, make_units
from beam_pipeline.records.categories import CategoryTable
from beam_pipeline.records.example import CellYear
from beam_pipeline.report import image_figures, label_figures, place_figures
from beam_pipeline.report.figure import Figure, NotDrawn
from beam_pipeline.report.statistics import UNKNOWN, Statistics
from tests.records.builders import make_assembled, make_cell, make_cell_year

TABLE = CategoryTable(
    names=("wooded", "residential", "water", "road", "building"),
    channels=(0, 0, 1, 1, 2),
    values=(0, 2, 12, 13, 14),
    channel_names=("OSM_land_use", "OSM_water_and_roads", "buildings"),
)
YEARS = (2019, 2020)
REJECTIONS = {"no_clear_date": [(1, 2020)]}


def examples_of(unit: Unit) -> list[CellYear]:
    """Examples whose labels and dates differ by cell; every third cell has one year only."""
    made = []
    for cell in unit.cells:
        rng = np.random.default_rng(cell.cell_id)
        share = rng.random()
        values = [[0, 2, 255], [12, 13, 254, 255], [14, 254, 255]]
        label = np.stack([rng.choice(np.array(of, np.uint8), (192, 192)) for of in values], axis=-1)
        label[rng.random((192, 192)) < share] = 255
        for year in YEARS[: 1 if cell.cell_id % 3 == 0 else 2]:
            example = make_cell_year(cell.cell_id, year=year)
            images = tuple(
                dataclasses.replace(
                    image,
                    datetime=f"{year}-{rng.integers(1, 13):02d}-05T00:00:00.000000Z",
                    bad_percent=int(rng.integers(0, 9217)) / 9216,
                )
                for image in example.images
            )
            made.append(CellYear(cell, year, images, label))
    return made


@pytest.fixture(scope="module")
def units() -> list[Unit]:
    cells = []
    for cell_id in range(1, 12):
        tile, split = [("56HLH", "training"), ("10TEM", "validation"), ("31UFT", "testing")][cell_id % 3]
        lat, lon = (-33.9 + cell_id, 151.0) if cell_id % 2 else (48.0, 11.0 + cell_id)
        bounds = {"min_lon": lon, "max_lon": lon + 0.02, "min_lat": lat, "max_lat": lat + 0.02}
        cells.append(make_cell(cell_id, tile=tile, split=split, **bounds))
    return make_units(cells, 2)


@pytest.fixture(scope="module")
def examples(units: list[Unit]) -> dict[str, list[CellYear]]:
    return {unit.name: examples_of(unit) for unit in units}


def added(units: Iterable[Unit], examples: dict[str, list[CellYear]]) -> Statistics:
    statistics = Statistics(TABLE, 4)
    for unit in units:
        assembled = make_assembled(
            unit, 2, examples[unit.name], rejections=REJECTIONS, scene_rejections={"unusable": 2}
        )
        statistics.add(unit, summarise(assembled))
    return statistics


@pytest.fixture(scope="module")
def statistics(units: list[Unit], examples: dict[str, list[CellYear]]) -> Statistics:
    return added(units, examples)


def one_a_cell(examples: dict[str, list[CellYear]]) -> list[CellYear]:
    """The first example of each cell, by its id."""
    first = {it.cell.cell_id: it for of_unit in examples.values() for it in reversed(of_unit)}
    return [first[cell_id] for cell_id in sorted(first)]


def test_pixels_and_cells_are_those_of_the_labels(
    statistics: Statistics, examples: dict[str, list[CellYear]]
) -> None:
    cells = one_a_cell(examples)
    for split, channel, value in itertools.product(range(3), range(3), (0, 2, 12, 13, 14, 254, 255)):
        held = sum(
            int((it.label[..., channel] == value).sum()) for it in cells if it.cell.split == SPLITS[split]
        )
        assert statistics.channel_pixels[split, channel, value] == held
    masks = [
        np.stack([it.label[..., channel] == value for it in cells])
        for channel, value in zip(TABLE.channels, TABLE.values, strict=True)
    ]
    for one, other in itertools.product(range(len(TABLE)), repeat=2):
        assert statistics.joint_pixels[one, other] == (masks[one] & masks[other]).sum()
        both = masks[one].any(axis=(1, 2)) & masks[other].any(axis=(1, 2))
        assert statistics.joint_cells[one, other] == both.sum()
    labelled = [int((it.label < 254).any(axis=-1).sum()) for it in cells]
    placed = statistics.cells()
    assert placed.cell_id.tolist() == [it.cell.cell_id for it in cells]
    assert placed.labelled.tolist() == labelled
    assert [SPLITS[it] for it in placed.split] == [it.cell.split for it in cells]
    assert placed.lon.tolist() == pytest.approx([it.cell.min_lon + 0.01 for it in cells])
    assert placed.lat.tolist() == pytest.approx([it.cell.min_lat + 0.01 for it in cells])


def test_images_are_those_of_the_examples(
    statistics: Statistics, examples: dict[str, list[CellYear]]
) -> None:
    images = [(it, image) for of_unit in examples.values() for it in of_unit for image in it.images]
    months = collections.Counter(
        (it.year, int(image.datetime[5:7]), it.cell.min_lat + 0.01 > 0) for it, image in images
    )
    assert statistics.images == months
    shares = np.array([image.bad_percent for _, image in images])
    counts, _ = np.histogram(shares, np.arange(101) / 100)
    assert statistics.bad_shares.tolist() == counts.tolist()
    assert statistics.total["images"] == len(images)
    assert statistics.total["examples"] == sum(map(len, examples.values()))
    assert statistics.scene_rejections == {"unusable": 2 * len(examples)}
    assert statistics.rejections == {"no_clear_date": len(examples)}


def same(one: Statistics, other: Statistics) -> None:
    mine, theirs = vars(one), vars(other)
    for name in mine.keys() - {"_parts", "_table"}:
        np.testing.assert_equal(mine[name], theirs[name], name)
    for ours, others in zip(
        dataclasses.astuple(one.cells()), dataclasses.astuple(other.cells()), strict=True
    ):
        np.testing.assert_array_equal(ours, others)


def test_the_order_does_not_count(
    units: list[Unit], examples: dict[str, list[CellYear]], statistics: Statistics
) -> None:
    same(added(reversed(units), examples), statistics)
    merged = added(units[3:], examples)
    merged.merge(added([], examples))
    merged.merge(added(units[:3], examples))
    same(merged, statistics)


def test_picks_are_records_of_the_cells_that_they_name(
    statistics: Statistics, examples: dict[str, list[CellYear]]
) -> None:
    assert len(statistics.picks) == 4
    for pick in statistics.picks:
        example = examples[pick.unit][pick.record]
        assert (example.cell.cell_id, example.year) == (pick.cell_id, pick.year)
    assert statistics.picks == sorted(statistics.picks)


def test_what_is_not_written_is_counted_apart(units: list[Unit]) -> None:
    statistics = Statistics(TABLE, 1)
    failed, missing, broken, old = units[:4]
    letter = DeadLetter(failed.name, None, None, "list_scenes", "throttled", "503")
    statistics.add(failed, failed_summary(letter, failed.split))
    statistics.miss(missing)
    statistics.complain(broken, "cannot be read")
    summary = summarise(make_assembled(old, 2, examples_of(old)))
    statistics.add(old, dataclasses.replace(summary, contents=None))
    counts = statistics.total
    assert {name: counts[f"units_{name}"] for name in ("failed", "missing", "unreadable", "written")} == {
        "failed": 1,
        "missing": 1,
        "unreadable": 1,
        "written": 1,
    }
    assert counts["cells_planned"] == sum(len(unit.cells) for unit in units[:4])
    assert statistics.dead_letters == {("list_scenes", "throttled"): 1}
    assert statistics.problems == [(broken.name, "cannot be read")]
    assert statistics.cells().labelled.tolist() == [UNKNOWN] * len(old.cells)
    assert [(pick.unit, pick.record, pick.cell_id) for pick in statistics.picks] == [(old.name, 0, None)]


def test_cells_nowhere_on_the_earth_are_counted_and_not_placed() -> None:
    bounds = [
        {"min_lat": 91.0, "max_lat": 92.0},
        {"min_lon": 1e15, "max_lon": 1e15},
        {"min_lon": 179.99, "max_lon": 180.01},  # across the antimeridian it is somewhere
    ]
    cells = [make_cell(number, **changes) for number, changes in enumerate(bounds, 1)]
    (unit,) = make_units(cells, 9)
    statistics = added([unit], {unit.name: examples_of(unit)})
    assert statistics.unplaced == 2
    assert statistics.cells().cell_id.tolist() == [3]
    assert statistics.cells().lon.tolist() == [-180.0]


def rows(figure: Figure | NotDrawn) -> Sequence[Sequence[object]]:
    assert isinstance(figure, Figure)
    assert all(len(row) == len(figure.table.head) for row in figure.table.rows)
    return figure.table.rows


def test_tables_say_what_was_counted(statistics: Statistics, examples: dict[str, list[CellYear]]) -> None:
    cells = one_a_cell(examples)
    shares = [float((it.label < 254).any(axis=-1).mean()) for it in cells]
    histogram = rows(label_figures.labelled_fraction(statistics))
    edges = [0, 1, *range(5, 101, 5)]
    counts, _ = np.histogram(100 * np.array(shares), edges)
    assert [row[4] for row in histogram] == [str(it) for it in counts]
    wooded = rows(label_figures.category_shares(statistics, TABLE))[0]
    held = sum(bool((it.label[..., 0] == 0).any()) for it in cells)
    pixels = sum(int((it.label[..., 0] == 0).sum()) for it in cells)
    assert wooded[0] == "wooded"
    assert (wooded[2], wooded[3]) == (str(held), f"{100 * held / len(cells):.1f} %")
    assert (wooded[5], wooded[6]) == (f"{pixels:,}", f"{100 * pixels / len(cells) / 192**2:.2f} %")
    known = rows(label_figures.known_shares(statistics, TABLE))
    for channel, row in enumerate(known):
        values = np.stack([it.label[..., channel] for it in cells])
        of = [(values < 254).sum(), (values == 254).sum(), (values == 255).sum()]
        assert row[1:4] == tuple(f"{it:,}" for it in of)
    meeting = {row[:2]: row[2] for row in rows(label_figures.categories_in_pixels(statistics, TABLE))}
    road_and_building = sum(int(((it.label[..., 1] == 13) & (it.label[..., 2] == 14)).sum()) for it in cells)
    assert meeting["road", "building"] == f"{road_and_building:,}"
    assert ("water", "road") not in meeting
    continents = {row[0]: row[4] for row in rows(place_figures.cells_by_split(statistics))}
    assert continents == {"Europe": "5", "Oceania": "6"}
    months = rows(image_figures.months_of_images(statistics))
    assert sum(int(str(row[3])) for row in months) == statistics.total["images"]


def test_shares_on_an_edge_are_on_its_right_side() -> None:
    pixels = 192 * 192
    on_edge = np.array([0, pixels // 100, pixels // 100 + 1, int(0.9 * pixels), int(0.9 * pixels) + 1])
    assert label_figures.share_below_1(on_edge) == 2 / 5  # 368 of 36,864 are 0.998 %
    assert label_figures.share_above_90(on_edge) == 1 / 5


def test_of_nothing_nothing_is_drawn() -> None:
    empty = Statistics(TABLE, 1)
    drawn = [
        place_figures.cells_by_split(empty),
        place_figures.label_density(empty),
        label_figures.labelled_fraction(empty),
        label_figures.known_shares(empty, TABLE),
        label_figures.category_shares(empty, TABLE),
        label_figures.categories_in_cells(empty, TABLE),
        image_figures.months_of_images(empty),
        image_figures.years_and_months(empty),
        image_figures.bad_shares(empty),
        image_figures.left_out(empty),
    ]
    assert all(isinstance(it, NotDrawn) and it.why for it in drawn)
