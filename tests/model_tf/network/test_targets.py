"""Targets of label channels, against plain loops over pixels."""

import itertools

import keras
import numpy as np
import pytest

from beam_pipeline.records.categories import CategoryTable
from model_tf.network.targets import targets_of_label

CATEGORIES = CategoryTable(
    names=("wooded", "agricultural", "quarry", "water", "road", "building"),
    channels=(0, 0, 0, 1, 1, 2),
    values=(0, 1, 7, 12, 13, 14),
    channel_names=("land_use", "water_and_roads", "buildings"),
)


def brute_force(label: np.ndarray, categories: CategoryTable) -> tuple[np.ndarray, np.ndarray]:
    """The definition, an entry at a time."""
    shape = (*label.shape[:3], len(categories.names))
    positive, known = np.zeros(shape, bool), np.zeros(shape, bool)
    for n, row, col in np.ndindex(label.shape[:3]):
        for index, (channel, value) in enumerate(zip(categories.channels, categories.values, strict=True)):
            held = int(label[n, row, col, channel])
            if held == 255:
                continue
            known[n, row, col, index] = True
            if held == value:
                positive[n, row, col, index] = True
    return positive, known


def random_label(seed: int, shape: tuple[int, ...] = (3, 5, 7), unknown: float = 0.3) -> np.ndarray:
    """Every value each channel may hold, many of them unknown."""
    draw = np.random.default_rng(seed)
    channels = [
        draw.choice([value for value in CATEGORIES.valid_values(channel) if value != 255], shape)
        for channel in range(3)
    ]
    label = np.stack(channels, axis=-1)
    return np.where(draw.random(label.shape) < unknown, 255, label).astype(np.uint8)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_targets_are_those_of_the_definition(dtype: str) -> None:
    label = random_label(0)
    positive, known = targets_of_label(keras.ops.convert_to_tensor(label, dtype), CATEGORIES)
    expected_positive, expected_known = brute_force(label, CATEGORIES)
    np.testing.assert_array_equal(positive, expected_positive)
    np.testing.assert_array_equal(known, expected_known)
    assert expected_positive.any(axis=(0, 1, 2)).all()


def test_each_value_of_a_channel() -> None:
    label = np.full((1, 1, 4, 3), 255, np.uint8)
    label[0, 0, :, 0] = [1, 254, 255, 7]
    positive, known = (np.asarray(part)[0, 0] for part in targets_of_label(label, CATEGORIES))
    assert positive[:, :3].tolist() == [[0, 1, 0], [0, 0, 0], [0, 0, 0], [0, 0, 1]]
    assert known[:, :3].tolist() == [[1, 1, 1], [1, 1, 1], [0, 0, 0], [1, 1, 1]]
    assert not known[:, 3:].any()


def test_a_value_counts_in_its_own_channel_only() -> None:
    """14 is a building in channel 2; in channel 0 it would be another category's, so a negative of all."""
    label = np.full((1, 1, 1, 3), 14, np.uint8)
    positive, known = targets_of_label(label, CATEGORIES)
    assert np.asarray(positive)[0, 0, 0].tolist() == [False] * 5 + [True]
    assert np.asarray(known).all()


def test_nothing_unknown_is_positive() -> None:
    for seed, unknown in itertools.product(range(3), (0.0, 0.9, 1.0)):
        positive, known = targets_of_label(random_label(seed, unknown=unknown), CATEGORIES)
        assert not (np.asarray(positive) & ~np.asarray(known)).any()
