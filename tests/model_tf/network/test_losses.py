"""The masked loss, against loops over entries, and its gradients against differences."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from model_tf.network.losses import MaskedBinaryCrossentropy
from tests.model_tf.network.test_targets import CATEGORIES, brute_force, random_label


def brute_force_loss(label: np.ndarray, logits: np.ndarray, weights: dict[str, float]) -> float:
    """The mean over known entries, an entry at a time, in float64."""
    positive, known = brute_force(label, CATEGORIES)
    total = count = 0.0
    for index in np.ndindex(known.shape):
        if known[index]:
            weight = weights.get(CATEGORIES.names[index[-1]], 1.0)
            probability = 1 / (1 + math.exp(-float(logits[index])))
            total -= weight * math.log(probability if positive[index] else 1 - probability)
            count += weight
    return total / count if count else 0.0


def random_logits(seed: int, label: np.ndarray, scale: float = 3.0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return draw.normal(0, scale, (*label.shape[:3], len(CATEGORIES.names))).astype(np.float32)


@pytest.mark.parametrize("weights", [{}, {"road": 4.0, "wooded": 0.25}, {"water": 0.0}])
@pytest.mark.parametrize("unknown", [0.0, 0.4, 0.97])
def test_loss_is_the_mean_over_known_entries(weights: dict[str, float], unknown: float) -> None:
    label = random_label(1, unknown=unknown)
    logits = random_logits(2, label)
    loss = MaskedBinaryCrossentropy(CATEGORIES, weights)(label, logits)
    assert float(loss) == pytest.approx(brute_force_loss(label, logits, weights), rel=1e-5)


def gradient(label: np.ndarray, logits: np.ndarray) -> tuple[float, np.ndarray]:
    variable = tf.Variable(logits)
    with tf.GradientTape() as tape:
        loss = MaskedBinaryCrossentropy(CATEGORIES)(label, variable)
    return float(loss), tape.gradient(loss, variable).numpy()


def test_gradient_is_sigmoid_minus_target_over_the_known_count() -> None:
    label = random_label(3)
    logits = random_logits(4, label)
    positive, known = brute_force(label, CATEGORIES)
    expected = np.where(known, 1 / (1 + np.exp(-logits.astype(np.float64))) - positive, 0) / known.sum()
    _, actual = gradient(label, logits)
    np.testing.assert_allclose(actual, expected, atol=1e-8)


def test_nothing_known_gives_zero_and_no_gradient() -> None:
    label = np.full((2, 4, 4, 3), 255, np.uint8)
    loss, slope = gradient(label, random_logits(5, label))
    assert loss == 0.0
    assert not slope.any()


def test_what_is_unknown_has_no_say_whatever_its_logit() -> None:
    label = random_label(6, unknown=0.5)
    _, known = brute_force(label, CATEGORIES)
    logits = random_logits(7, label)
    wild = np.where(known, logits, np.resize([np.nan, np.inf, -np.inf], logits.shape)).astype(np.float32)
    loss, slope = gradient(label, wild)
    plain_loss, plain_slope = gradient(label, logits)
    assert loss == plain_loss
    np.testing.assert_array_equal(slope, plain_slope)


def test_extreme_logits_stay_finite() -> None:
    label = random_label(8, unknown=0.0)
    logits = np.where(brute_force(label, CATEGORIES)[0], -1e4, 1e4).astype(np.float32)
    loss, slope = gradient(label, logits)
    assert loss == pytest.approx(1e4)
    assert np.isfinite(slope).all()


def test_padding_changes_nothing() -> None:
    """Rows whose label is unknown everywhere pad the last batch."""
    label = random_label(9)
    logits = random_logits(10, label)
    padded = np.concatenate([label, np.full_like(label, 255)])
    loss = MaskedBinaryCrossentropy(CATEGORIES)
    assert float(loss(padded, np.concatenate([logits, logits]))) == pytest.approx(float(loss(label, logits)))


def test_sums_of_parts_add_up_to_the_whole_batch() -> None:
    """Parts that know very different shares: a mean of their means would be another number."""
    label = np.concatenate([random_label(11, unknown=0.05), random_label(12, unknown=0.9)])
    logits = random_logits(13, label)
    loss = MaskedBinaryCrossentropy(CATEGORIES, {"road": 3.0})
    parts = [loss.sums(label[part], logits[part]) for part in (slice(0, 3), slice(3, 6))]
    totals, counts = (sum(map(float, values)) for values in zip(*parts, strict=True))
    assert totals / counts == pytest.approx(float(loss(label, logits)), rel=1e-6)
    assert sum(float(total / count) for total, count in parts) / 2 != pytest.approx(totals / counts, rel=1e-3)


def test_config_round_trips_through_json() -> None:
    loss = MaskedBinaryCrossentropy(CATEGORIES, {"road": 4.0})
    content = keras.saving.serialize_keras_object(loss)
    again = keras.saving.deserialize_keras_object(content)
    label = random_label(14)
    logits = random_logits(15, label)
    assert float(again(label, logits)) == float(loss(label, logits))
