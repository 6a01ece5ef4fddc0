"""Parts of patches: how many, never twice, never beside each other where they are spatial."""

import dataclasses

import numpy as np
import pytest

from model_tf.downstream_tasks import splits
from model_tf.downstream_tasks.splits import Column, EmptyColumn, blocks_of, split
from tests.model_tf.downstream_tasks.made_tiles import made_set

SIZES = (40, 60, 100)


def spread_set():
    """Three classes of other sizes over 12 x 12 degrees."""
    draw = np.random.default_rng(3)
    labels = [index for index, size in enumerate(SIZES) for _ in range(size)]
    places = [tuple(place) for place in draw.uniform((5.0, 40.0), (17.0, 52.0), (len(labels), 2))]
    return made_set(labels, places)


@pytest.mark.parametrize("kind", splits.DRAWN_KINDS)
@pytest.mark.parametrize("name", ["1", "5", "20", "10/90", "50/50", "90/10"])
def test_each_class_has_its_number_and_no_patch_is_in_both_parts(kind, name):
    patches, column = spread_set(), Column.of(name)
    for seed in range(5):
        parts = split(patches, column, kind, seed)
        assert not {*parts.training} & {*parts.testing}
        of_training = np.bincount(patches.labels[parts.training], minlength=3)
        of_testing = np.bincount(patches.labels[parts.testing], minlength=3)
        assert (of_testing > 0).all()
        if column.count is not None:
            assert of_training.tolist() == [column.count] * 3
        elif kind == "random":
            assert of_training.tolist() == [round(column.share * size) for size in SIZES]
            assert (of_training + of_testing).tolist() == list(SIZES)
        else:
            assert (of_training + of_testing).tolist() == list(SIZES)
            # Whole blocks cannot be parted as asked for.
            assert np.allclose(of_training / SIZES, column.share, atol=0.1)


def test_published_parts_are_kept_and_drawn_from():
    whole = spread_set()
    of = ["training", "training", "validation", "testing"]
    patches = dataclasses.replace(
        whole,
        patches=tuple(
            dataclasses.replace(one, split=of[index % 4]) for index, one in enumerate(whole.patches)
        ),
    )
    draws = set()
    for seed in range(5):
        parts = split(patches, Column.of("5"), "published", seed)
        assert np.bincount(patches.labels[parts.training]).tolist() == [5, 5, 5]
        assert {patches.patches[index].split for index in parts.training} == {"training"}
        assert [index for index in range(len(whole.patches)) if index % 4 == 3] == parts.testing.tolist()
        draws.add(tuple(parts.training))
    assert len(draws) == 5
    half = split(patches, Column.of("50/50"), "published", 0)
    assert np.bincount(patches.labels[half.training]).tolist() == [10, 15, 25]
    with pytest.raises(EmptyColumn, match="class 0 has 40 patches, 20 of 21 for training"):
        split(patches, Column.of("21"), "published", 0)


def test_no_block_is_in_both_parts():
    patches = spread_set()
    for seed in range(10):
        parts = split(patches, Column.of("50/50"), "spatial", seed)
        cells = [
            {
                (int(np.floor(p.longitude * 2)), int(np.floor(p.latitude * 2)))
                for p in (patches.patches[i] for i in part)
            }
            for part in (parts.training, parts.testing)
        ]
        assert not cells[0] & cells[1]


def test_blocks_are_half_a_degree_wide_wherever_they_lie():
    places = [(-0.1, 0.1), (0.1, 0.1), (0.4, 0.49), (0.5, 0.1), (0.1, -0.1), (-0.5, 0.0), (-0.51, 0.0)]
    blocks = blocks_of(made_set([0] * len(places), places))
    assert (blocks[1] == blocks[2], blocks[0] == blocks[5]) == (True, True)
    assert len({*blocks.tolist()}) == 5


def test_a_draw_depends_on_seed_and_names_alone():
    patches, column = spread_set(), Column.of("5")
    first = split(patches, column, "random", 0)
    assert np.array_equal(first.training, split(patches, column, "random", 0).training)
    assert not np.array_equal(first.training, split(patches, column, "random", 1).training)
    # More for training only adds to it.
    assert {*first.training} < {*split(patches, Column.of("10"), "random", 0).training}


def test_at_most_so_many_are_tested(monkeypatch):
    monkeypatch.setattr(splits, "MOST_TESTED", 7)
    patches = spread_set()
    assert np.bincount(patches.labels[split(patches, Column.of("5"), "random", 0).testing]).tolist() == [
        7,
        7,
        7,
    ]
    assert len(split(patches, Column.of("50/50"), "random", 0).testing) == 100


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        (
            "40",
            "random",
            r"class 0 has 40 patches, 40 of 40 for training and 0 for testing in a random split",
        ),
        ("60", "random", r"class 0 has 40 patches, 40 of 60"),
        ("59", "spatial", r"class 0 has 40 patches, 39 of 59"),
        ("1/99", "random", r"class 0 has 40 patches, 0 of 1"),
    ],
)
def test_a_class_without_enough_patches_is_named(name, kind, said):
    with pytest.raises(EmptyColumn, match=said):
        split(spread_set(), Column.of(name), kind, 0)


def test_one_block_cannot_be_parted():
    with pytest.raises(EmptyColumn, match="for testing in a spatial split"):
        split(made_set([0, 0, 1, 1, 2, 2], [(0.1, 0.1)] * 6), Column.of("1"), "spatial", 0)


@pytest.mark.parametrize(
    "name",
    [
        *("0", "-1", "x", "", "10/80", "0/100", "100/0", "1/", "/9", "1.5"),
        # Numbers to Python, and second names of other columns.
        *("05", "+5", " 5", "1_0", "１", "50/+50", "5/95 ", "05/95", "1" * 30),
    ],
)
def test_what_is_no_column_is_refused(name):
    with pytest.raises(ValueError):  # noqa: PT011
        Column.of(name)


def test_all_classes_that_are_short_are_counted():
    with pytest.raises(EmptyColumn, match=r"class 0 has 40 patches, .*; 2 of 3 classes have too few$"):
        split(spread_set(), Column.of("60"), "random", 0)


def test_parts_of_clustered_patches_by_an_independent_count():
    """Places in clumps, classes that keep to their own clumps, one of them in two blocks alone."""
    draw = np.random.default_rng(7)
    labels, places = [], []
    for label, clumps in enumerate([30, 8, 2]):
        corners = draw.integers(-20, 20, (clumps, 2)) / 2 + 100 * label
        for index in range(120):
            labels.append(label)
            places.append(
                tuple(corners[index % clumps] + draw.uniform(0.01, 0.49, 2) - [100 * label, 60 * label])
            )
    patches = made_set(labels, places)
    block = [(int(x // 0.5), int(y // 0.5)) for x, y in places]
    for name in ("1", "50", "20/80", "50/50", "80/20"):
        for seed in range(4):
            parts = split(patches, Column.of(name), "spatial", seed)
            assert not {block[index] for index in parts.training} & {block[index] for index in parts.testing}
            assert {labels[index] for index in parts.testing} == {0, 1, 2}
            taken = np.bincount([labels[index] for index in parts.training], minlength=3)
            if "/" not in name:
                assert taken.tolist() == [int(name)] * 3
            else:
                assert (taken[:2] >= 120 * int(name[:2]) / 100).all()
                assert taken[2] == 60  # of two blocks one is kept for testing
