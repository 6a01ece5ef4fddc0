import dataclasses
import random

import numpy as np

from beam_pipeline.dataset.outcomes import DeadLetter
from beam_pipeline.dataset.summary import BandSums, UnitSummary, band_sums, failed_summary, summarise
from beam_pipeline.dataset.units import Unit
from beam_pipeline.imagery.image import BANDS, BANDS_10, BANDS_20, BANDS_60
from beam_pipeline.imagery.scenes import SceneNote
from tests.records.builders import make_assembled, make_cell, make_cell_year, make_image

NAME = "opensentinelmap-training.tfrecord-00000-of-00001"
CELLS = tuple(make_cell(cell_id) for cell_id in (1, 2, 3))
UNIT = Unit(NAME, "training", "56HLH", CELLS)
SECOND = make_cell_year(2, cell_id=2, year=2019)
ASSEMBLED = make_assembled(
    unit=UNIT,
    years=2,
    cell_years=(
        make_cell_year(1, cell_id=1, year=2019),
        SECOND,
        dataclasses.replace(SECOND, year=2020, images=SECOND.images[:1]),
    ),
    rejections={"one_clear_date": [(3, 2019)], "no_items": [], "no_clear_date": [(1, 2020)]},
    scene_rejections={"clouds": 7},
    dropped_geometries={"invalid": 2},
    years_without_items=(2020, 2018, 2020),
    scenes_by_year={2020: 0, 2019: 7, 2018: 0},
    notes=(SceneNote("b", "not_found", "404"), SceneNote("a", "no_scl", ""), SceneNote("a", "no_scl", "")),
    dead_letters=(
        DeadLetter(NAME, 3, 2020, "read", "throttled", "503"),
        DeadLetter(NAME, None, None, "labels", "unexpected", "x"),
    ),
)


def bands_of(image):
    """(band, pixels as Python integers, SCL of each pixel's place) the slow way."""
    for bands, pixels, step in (
        (BANDS_10, image.gsd_10, 0.5),
        (BANDS_20, image.gsd_20, 1),
        (BANDS_60, image.gsd_60, 3),
    ):
        for index, band in enumerate(bands):
            values = []
            for row in range(pixels.shape[0]):
                for col in range(pixels.shape[1]):
                    size = max(1, int(step))
                    top, left = int(row * step), int(col * step)
                    scl = image.scl[top : top + size, left : left + size]
                    if pixels[row, col].any() and scl.all():
                        values.append(int(pixels[row, col, index]) + image.boa_add_offset)
            yield band, values


def test_band_sums_are_exact_and_leave_no_data_out():
    rng = np.random.default_rng(0)
    image = make_image(rng)
    image.gsd_10[:50] = 0
    image.gsd_10[60, 60] = (0, 5, 0, 0)  # a 0 beside data is data
    image.gsd_10[100:] = 65535
    image.gsd_60[3, 4] = 0
    image.scl[90:, 90:] = 0
    sums = band_sums(image)
    assert tuple(sums) == BANDS
    for band, values in bands_of(image):
        expected = BandSums(len(values), sum(values), sum(value**2 for value in values))
        assert sums[band] == expected, band
    assert sums["B02"].count == 192 * 142 - 12 * 12


def test_the_greatest_values_do_not_overflow():
    image = make_image(
        np.random.default_rng(0), boa_add_offset=0, gsd_10=np.full((192, 192, 4), 65535, np.uint16)
    )
    assert band_sums(image)["B08"] == BandSums(36864, 36864 * 65535, 36864 * 65535**2)


def test_an_image_of_no_data_has_no_sums():
    image = make_image(np.random.default_rng(0), scl=np.zeros((96, 96), np.uint8))
    assert set(band_sums(image).values()) == {BandSums()}


def test_counts():
    summary = summarise(ASSEMBLED)
    assert (summary.name, summary.split, summary.tile, summary.status) == (
        NAME,
        "training",
        "56HLH",
        "written",
    )
    assert (summary.cells, summary.cell_years, summary.cells_with_examples) == (3, 6, 2)
    assert (summary.examples, summary.pairs, summary.singles, summary.images) == (3, 2, 1, 5)
    assert summary.rejections == {"no_clear_date": ((1, 2020),), "one_clear_date": ((3, 2019),)}
    assert summary.rejection_counts == {"no_clear_date": 1, "one_clear_date": 1}
    assert summary.years_without_items == (2018, 2020)
    assert summary.scenes_by_year == {2018: 0, 2019: 7, 2020: 0}
    assert UnitSummary.from_json(summary.to_json()) == summary
    older = dataclasses.replace(summary, scenes_by_year=None)
    assert "scenes_by_year" not in older.to_json()
    assert UnitSummary.from_json(older.to_json()) == older
    assert [note.item_id for note in summary.notes] == ["a", "b"]
    assert [letter.stage for letter in summary.dead_letters] == ["labels", "read"]
    assert summary.bands["B05"].count == 5 * 96 * 96


def test_a_cells_labels_count_once():
    summary = summarise(ASSEMBLED)
    labels = [example.label for example in ASSEMBLED.cell_years[:2]]
    for channel, counts in enumerate(summary.label_pixels):
        expected = {}
        for label in labels:
            for value in label[..., channel].ravel().tolist():
                expected[value] = expected.get(value, 0) + 1
        assert counts == expected
        assert list(counts) == sorted(counts)
        assert {254, 255} <= set(counts)


def test_json_round_trip():
    summary = summarise(ASSEMBLED)
    assert UnitSummary.from_json(summary.to_json()) == summary
    failed = failed_summary(ASSEMBLED.dead_letters[0], "testing")
    assert UnitSummary.from_json(failed.to_json()) == failed
    assert failed.label_pixels == ({}, {}, {})


def test_the_order_in_which_things_come_does_not_matter():
    shuffled = ASSEMBLED
    rng = random.Random(0)
    for field in ("notes", "dead_letters", "years_without_items"):
        parts = list(getattr(shuffled, field))
        rng.shuffle(parts)
        shuffled = dataclasses.replace(shuffled, **{field: tuple(parts)})
    shuffled = dataclasses.replace(
        shuffled,
        rejections=dict(reversed(shuffled.rejections.items())),
        cell_years=tuple(reversed(shuffled.cell_years)),
    )
    assert summarise(ASSEMBLED).to_json() == summarise(shuffled).to_json()


def test_an_empty_unit():
    summary = summarise(
        make_assembled(
            UNIT,
            years=4,
            rejections={"no_items": [(cell, year) for cell in (3, 1, 2) for year in range(2020, 2016, -1)]},
        )
    )
    assert (summary.examples, summary.images, summary.cells_with_examples) == (0, 0, 0)
    assert set(summary.bands.values()) == {BandSums()}
    assert summary.rejections["no_items"][:2] == ((1, 2017), (1, 2018))
    assert UnitSummary.from_json(summary.to_json()) == summary


def test_cells_in_which_nothing_is_known_are_counted():
    blank = dataclasses.replace(SECOND, label=np.full((192, 192, 3), 255, np.uint8))
    known = blank.label.copy()
    known[0, 0, 2] = 254
    one = dataclasses.replace(make_cell_year(1, cell_id=1, year=2019), label=known)
    assert summarise(dataclasses.replace(ASSEMBLED, cell_years=(one, blank))).cells_unlabeled == 1
