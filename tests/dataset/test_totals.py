"""The figures of cells in dataset.json, beside recounts of the decoded examples in numpy."""

import collections
import dataclasses

import numpy as np
import pytest

from beam_pipeline.cells.cell import SPLITS
from beam_pipeline.dataset.cell_content import PIXELS, CellContent
from beam_pipeline.dataset.summary import UnitSummary, summarise
from beam_pipeline.dataset.totals import EDGES_PERCENT, Totals
from beam_pipeline.dataset.units import Unit
from beam_pipeline.records.example import CellYear, decode, encode
from beam_pipeline.records.shards import shard_name
from tests.records.builders import make_assembled, make_cell, make_cell_year

CATEGORIES = ({"wooded": 0, "residential": 2, "quarry": 7}, {"water": 12, "road": 13}, {"building": 14})


def summary_of(contents: list[CellContent], split="training", index=0, **changes) -> UnitSummary:
    name = shard_name(split, index, 99)
    fields = {"status": "written", "contents": tuple(contents), "fingerprint": "", **changes}
    return UnitSummary(name=name, split=split, tile="33TWN", cells=1, cell_years=1, **fields)


def labelled(pixels: int) -> CellContent:
    labels = [(0, 254, 255, pixels)] * bool(pixels) + [(255, 254, 255, PIXELS - pixels)] * (pixels < PIXELS)
    return CellContent(1, tuple(labels), ())


IMAGES = make_cell_year().images


def test_totals_of_parts_add_up() -> None:
    pixels = (0, 1, 400, 2000, PIXELS // 2, PIXELS)
    summaries = [
        summary_of([labelled(it), CellContent(2, ((7, 12, 14, PIXELS),), ((2020, 3, 5),))], split, index)
        for index, (it, split) in enumerate(zip(pixels, SPLITS * 2, strict=True))
    ]
    whole = Totals.of(summaries)
    for cut in range(len(summaries) + 1):
        first, second = Totals.of(summaries[:cut]), Totals.of(summaries[cut:])
        first.merge(second)
        assert first.summaries == whole.summaries
        for channel, labels in enumerate(CATEGORIES):
            assert first.cells_holding(channel, labels) == whole.cells_holding(channel, labels)
        assert first.labelled_cells() == whole.labelled_cells()
        assert first.images_by_month() == whole.images_by_month()
    assert sum(whole.labelled_cells()["cells_by_split"]["training"]) == 4


def test_cells_are_counted_as_their_examples_say() -> None:
    rng = np.random.default_rng(0)
    totals = Totals()
    stored: dict[str, list[CellYear]] = {split: [] for split in SPLITS}
    for number, split in enumerate(["training", "validation"]):
        examples = []
        for cell_id in (3 * number, 3 * number + 1, 3 * number + 2)[: 3 - number]:
            values = [[*of.values(), 254, 255] for of in CATEGORIES]
            # Few values a cell, so that some hold no category and some nothing else.
            few = [rng.choice(np.array(of, np.uint8), 2) for of in values]
            patches = np.stack([rng.choice(of, (12, 12)) for of in few], axis=-1)
            label = patches.repeat(16, axis=0).repeat(16, axis=1)
            for year in (2019, 2020):
                dates = [f"{year}-{rng.integers(1, 13):02d}-05T10:00:00Z" for _ in IMAGES[: year - 2018]]
                images = [
                    dataclasses.replace(image, datetime=date)
                    for image, date in zip(IMAGES, dates, strict=False)
                ]
                examples.append(CellYear(make_cell(cell_id, split=split), year, tuple(images), label))
        unit = Unit(shard_name(split, number, 9), split, "56HLH", tuple({it.cell for it in examples}))
        totals.add(summarise(make_assembled(unit, 2, examples)))
        stored[split] += [decode(encode(example)) for example in examples]
    histogram = totals.labelled_cells()
    assert histogram.keys() == {"edges_percent", "cells_by_split"}
    edges = np.array(histogram["edges_percent"])
    for split in SPLITS:
        months = collections.Counter(
            int(np.datetime64(image.date, "M").astype(object).month)
            for example in stored[split]
            for image in example.images
        )
        assert totals.images_by_month()[split] == {f"{month:02d}": months[month] for month in range(1, 13)}
        labels = list({example.cell.cell_id: example.label for example in stored[split]}.values())
        shares = [100 * (label < 254).any(axis=-1).mean() for label in labels]
        expected = np.histogram(shares, edges)[0].tolist()
        assert histogram["cells_by_split"][split] == expected
        for channel, categories in enumerate(CATEGORIES):
            assert totals.cells_holding(channel, categories)[split] == {
                name: sum(bool((label[..., channel] == value).any()) for label in labels)
                for name, value in categories.items()
            }
    assert all(summary.contents is None for summary in totals.summaries)


@pytest.mark.parametrize(
    ("pixels", "lower"),
    [
        (0, 0),
        (368, 0),
        (369, 1),
        (1843, 1),
        (1844, 5),
        (33177, 85),
        (33178, 90),
        (PIXELS - 1, 95),
        (PIXELS, 95),
    ],
)
def test_a_bin_holds_its_lower_edge_and_the_last_one_both(pixels: int, lower: int) -> None:
    """36,864 pixels: 1 % are 368.64, 5 % 1,843.2 and 90 % 33,177.6."""
    counts = Totals.of([summary_of([labelled(pixels)])]).labelled_cells()["cells_by_split"]["training"]
    assert sum(counts) == 1
    assert EDGES_PERCENT[counts.index(1)] == lower


def test_exact_edges_fall_into_the_bin_above() -> None:
    """A quarter of the pixels is 25 %, which a share in floats might miss."""
    counts = Totals.of([summary_of([labelled(PIXELS // 4)])]).labelled_cells()["cells_by_split"]["training"]
    assert EDGES_PERCENT[counts.index(1)] == 25


def test_a_unit_that_failed_counts_no_cells() -> None:
    totals = Totals.of([summary_of([labelled(5)], status="failed"), summary_of([labelled(5)], "testing")])
    by_split = totals.labelled_cells()["cells_by_split"]
    assert {split: sum(counts) for split, counts in by_split.items()} == {
        "training": 0,
        "validation": 0,
        "testing": 1,
    }
    assert [summary.status for summary in totals.summaries] == ["failed", "written"]
