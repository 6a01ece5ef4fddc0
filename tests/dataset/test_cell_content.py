"""The figures of each cell in a summary, beside recounts of its pixels one by one."""

import collections
import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beam_pipeline.dataset.cell_content import PIXELS, CellContent, count_labels, image_record
from beam_pipeline.dataset.summary import UnitSummary, summarise
from beam_pipeline.dataset.units import Unit
from beam_pipeline.records.example import decode, encode
from beam_pipeline.runtime.parsing import MalformedError
from tests.records.builders import make_assembled, make_cell, make_cell_year

NAME = "opensentinelmap-training.tfrecord-00000-of-00001"
UNIT = Unit(NAME, "training", "56HLH", tuple(make_cell(cell_id) for cell_id in (1, 2, 3)))
DATES = ("2020-02-29T11:34:25Z", "2020-12-01T00:00:00Z")


def cell_year(cell_id: int, year: int, dates=DATES, **changes):
    made = make_cell_year(cell_id * 10_000 + year, year=year, cell_id=cell_id)
    images = [
        dataclasses.replace(image, datetime=date) for image, date in zip(made.images, dates, strict=False)
    ]
    label = make_cell_year(cell_id).label
    return dataclasses.replace(made, images=tuple(images), label=label, **changes)


EXAMPLES = (
    cell_year(1, 2019),
    cell_year(1, 2020, DATES[:1]),
    cell_year(3, 2019, bounds_exact=False),
)


@given(st.integers(0, 2**32), st.lists(st.integers(0, 255), min_size=1, max_size=6))
@settings(max_examples=20, deadline=None)
def test_each_pixel_is_counted_once_under_its_values(seed: int, values: list[int]) -> None:
    label = np.random.default_rng(seed).choice(np.array(values, np.uint8), (192, 192, 3))
    counts = count_labels(label)
    expected = collections.Counter(map(tuple, label.reshape(-1, 3).tolist()))
    assert counts == tuple((*pixel, count) for pixel, count in sorted(expected.items()))


def test_contents_are_what_decoded_examples_hold() -> None:
    summary = summarise(make_assembled(UNIT, 2, EXAMPLES, coastal=frozenset({2, 3})))
    stored = [decode(encode(example)) for example in EXAMPLES]
    assert [content.cell_id for content in summary.contents] == [1, 3]
    for content in summary.contents:
        of_cell = [example for example in stored if example.cell.cell_id == content.cell_id]
        pixels = of_cell[0].label.reshape(-1, 3).astype(int)
        assert content.labels == tuple(
            (*values, int((pixels == values).all(axis=1).sum()))
            for values in sorted({*map(tuple, pixels.tolist())})
        )
        assert content.images == tuple(
            (example.year, int(image.datetime[5:7]), int(np.rint(image.bad_percent * 9216)))
            for example in of_cell
            for image in example.images
        )
        held = {
            (channel, v) for channel in range(3) for v in np.unique(pixels[:, channel]).tolist() if v < 254
        }
        assert content.categories == held
        assert content.labelled_pixels == int((pixels < 254).any(axis=1).sum())
        for channel in range(3):
            counted = np.zeros(256, int)
            for *values, count in content.labels:
                counted[values[channel]] += count
            np.testing.assert_array_equal(counted, np.bincount(pixels[:, channel], minlength=256))
    # Cell 2 is coastal too, but has no example.
    assert (summary.coastal_cells, summary.inexact_cells) == ((3,), (3,))
    assert UnitSummary.from_json(summary.to_json()) == summary


def test_equal_contents_give_equal_text_whatever_order_they_come_in() -> None:
    one, other = (
        summarise(make_assembled(UNIT, 2, examples, coastal=frozenset(coastal)))
        for examples, coastal in ((EXAMPLES, [3, 1]), (EXAMPLES[::-1], [1, 3]))
    )
    assert one.to_json() == other.to_json()
    lines = one.to_json().splitlines()
    assert len(lines) == len(json.loads(one.to_json())) + 2
    assert sorted(lines[1:-1]) == lines[1:-1]


@pytest.mark.parametrize(
    ("date", "month"),
    [("2019-01-31", 1), ("2019-12-01", 12), ("2019-00-19", 0), ("2019-13-19", 0), ("2019-²-1", 0), ("", 0)],
)
def test_a_date_that_is_none_has_no_month(date: str, month: int) -> None:
    assert image_record(2019, f"{date}T11:34:25Z", 5) == (2019, month, 5)


CONTENT = {"cell_id": 1, "labels": [[0, 254, 255, PIXELS - 1], [1, 13, 14, 1]], "images": [[2019, 2, 9216]]}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"labels": [[0, 254, 255, PIXELS - 1]]},
            r"labels: Value error, the pixels of a label image are 36864",
        ),
        ({"labels": [[0, 254, 256, PIXELS]]}, r"labels\[0\]\[2\]: Input should be less than or equal to 255"),
        ({"labels": [[0, 254, 255]]}, r"labels\[0\]\[3\]: Field required"),
        ({"labels": [[0, 254, 255, 0], [0, 0, 0, PIXELS]]}, r"labels\[0\]\[3\]: Input should be greater"),
        ({"labels": [[0, 254, 255, float(PIXELS)]]}, r"labels\[0\]\[3\]: Input should be a valid integer"),
        ({"images": [[2019, 13, 0]]}, r"images\[0\]\[1\]: Input should be less than or equal to 12"),
        ({"images": [[2019, 2, 9217]]}, r"images\[0\]\[2\]: Input should be less than or equal to 9216"),
        ({"images": [[2019, 2, "7"]]}, r"images\[0\]\[2\]: Input should be a valid integer"),
        ({"cell_id": True}, r"cell_id: Input should be a valid integer"),
        ({"cell_id": None}, r"cell_id: Input should be a valid integer"),
    ],
)
def test_what_is_no_content_is_named(changes: dict, said: str) -> None:
    content = json.loads(summarise(make_assembled(UNIT)).to_json())
    sound = UnitSummary.from_json(json.dumps({**content, "contents": [CONTENT]}))
    assert sound.contents == (
        CellContent(1, ((0, 254, 255, PIXELS - 1), (1, 13, 14, 1)), ((2019, 2, 9216),)),
    )
    with pytest.raises(MalformedError, match=rf"^contents\[0\]\.{said}"):
        UnitSummary.from_json(json.dumps({**content, "contents": [{**CONTENT, **changes}]}))
