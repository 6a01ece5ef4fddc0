"""The learning rate at the boundaries of its parts, and in between."""

import math

import keras
import numpy as np
import pytest

from model_tf.network.schedules import WarmupCosine

PEAK, FINAL = 0.01, 0.0001
WARMUP, TOTAL = 10 * 7, 225 * 7


def expected(step: int) -> float:
    if step < WARMUP:
        return PEAK * step / WARMUP
    progress = min((step - WARMUP) / (TOTAL - 1 - WARMUP), 1.0)
    return FINAL + (PEAK - FINAL) * (1 + math.cos(math.pi * progress)) / 2


def test_every_step() -> None:
    schedule = WarmupCosine(PEAK, FINAL, WARMUP, TOTAL)
    rates = np.asarray(schedule(np.arange(TOTAL + 10)))
    np.testing.assert_allclose(rates, [expected(step) for step in range(TOTAL + 10)], rtol=1e-5, atol=1e-9)


def test_boundaries() -> None:
    schedule = WarmupCosine(PEAK, FINAL, WARMUP, TOTAL)
    rates = {step: float(schedule(step)) for step in (0, 1, WARMUP - 1, WARMUP, WARMUP + 1, TOTAL - 1, TOTAL)}
    assert rates[0] == 0
    assert rates[1] == pytest.approx(PEAK / WARMUP)
    assert rates[WARMUP - 1] == pytest.approx(PEAK * (WARMUP - 1) / WARMUP)
    assert rates[WARMUP] == np.float32(PEAK)
    assert FINAL < rates[WARMUP + 1] < PEAK
    assert rates[TOTAL - 1] == pytest.approx(FINAL, rel=1e-6)
    assert rates[TOTAL] == rates[TOTAL - 1]


def test_the_paper_s_run_is_smooth_in_float32() -> None:
    """110,000 cells, 16 pairs a step: 1.5 million steps, none of which raises the rate after the warm-up."""
    steps = 6875
    schedule = WarmupCosine(PEAK, FINAL, 10 * steps, 225 * steps)
    rates = np.asarray(schedule(np.arange(10 * steps, 225 * steps, 997)))
    assert (np.diff(rates) <= 1e-9).all()


def test_no_warm_up_begins_at_the_peak() -> None:
    assert float(WarmupCosine(PEAK, FINAL, 0, 5)(0)) == np.float32(PEAK)


def test_one_step_is_a_run() -> None:
    assert np.isfinite(float(WarmupCosine(PEAK, FINAL, 0, 1)(0)))


def test_a_warm_up_as_long_as_the_run_is_refused() -> None:
    with pytest.raises(ValueError, match="warmup_steps=5, total_steps=5"):
        WarmupCosine(PEAK, FINAL, 5, 5)


def test_the_optimizer_asks_by_updates_done() -> None:
    optimizer = keras.optimizers.SGD(WarmupCosine(PEAK, FINAL, 2, 4))
    weight = keras.Variable([0.0])
    steps = []
    for _ in range(5):
        before = float(np.asarray(weight)[0])
        optimizer.apply([keras.ops.ones(1)], [weight])
        steps.append(before - float(np.asarray(weight)[0]))
    assert steps == pytest.approx([0, PEAK / 2, PEAK, FINAL, FINAL], rel=1e-4)


def test_config_round_trips() -> None:
    content = keras.saving.serialize_keras_object(WarmupCosine(PEAK, FINAL, WARMUP, TOTAL))
    again = keras.saving.deserialize_keras_object(content)
    assert float(again(123)) == float(WarmupCosine(PEAK, FINAL, WARMUP, TOTAL)(123))
