"""Group normalisation and the rule for its groups."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from model_tf.network.hrnet import WIDTHS
from model_tf.network.layers import EPSILON, EXPANSION, GroupNorm, num_groups


def built(layer: keras.layers.GroupNormalization, shape: tuple[int, ...]) -> keras.layers.GroupNormalization:
    layer.build(shape)
    rng = np.random.default_rng(1)
    layer.set_weights([rng.normal(1, 0.5, shape[-1]), rng.normal(0, 0.5, shape[-1])])
    return layer


def normalised(x: np.ndarray, layer: keras.layers.GroupNormalization) -> np.ndarray:
    """The definition, in float64."""
    gamma, beta = (np.asarray(w, np.float64) for w in layer.get_weights())
    grouped = x.astype(np.float64).reshape(*x.shape[:3], layer.groups, -1)
    mean = grouped.mean(axis=(1, 2, 4), keepdims=True)
    variance = grouped.var(axis=(1, 2, 4), keepdims=True)
    return ((grouped - mean) / np.sqrt(variance + EPSILON)).reshape(x.shape) * gamma + beta


def test_groups_divide_every_width():
    used = {EXPANSION * s.stem_width for s in WIDTHS.values()} | {s.stem_width for s in WIDTHS.values()}
    used |= {width for sizes in WIDTHS.values() for width in sizes.branch_widths}
    for channels in used:
        groups = num_groups(channels)
        assert channels % groups == 0
        assert groups <= 32
        assert channels // groups >= 8


@pytest.mark.parametrize(
    ("channels", "groups"),
    [(1, 1), (7, 1), (15, 1), (16, 2), (17, 1), (18, 2), (36, 4), (64, 8), (72, 9), (256, 32), (512, 32)],
)
def test_groups_of_a_width(channels, groups):
    assert num_groups(channels) == groups


@pytest.mark.parametrize("offset", [0.0, 30.0])
@pytest.mark.parametrize("shape", [(3, 12, 20, 18), (1, 5, 7, 8), (2, 1, 1, 36)])
def test_group_norm_is_its_definition(shape, offset):
    # The offset is 30 deviations: the variance is a small difference of large squares.
    x = np.random.default_rng(0).normal(offset, 1, shape).astype(np.float32)
    layer = built(GroupNorm(num_groups(shape[-1]), epsilon=EPSILON), shape)
    np.testing.assert_allclose(layer(x), normalised(x, layer), atol=2e-5 * (1 + offset))


def test_group_norm_and_its_gradients_are_those_of_keras():
    shape = (2, 6, 9, 16)
    rng = np.random.default_rng(0)
    x, weighting = (tf.constant(rng.normal(0.3, 2, shape), tf.float32) for _ in range(2))
    results = []
    for kind in (GroupNorm, keras.layers.GroupNormalization):
        layer = built(kind(2, epsilon=EPSILON), shape)
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(layer(x) * weighting)
        variables = [weight.value for weight in layer.trainable_weights]
        results.append([layer(x), *tape.gradient(total, [x, *variables])])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_statistics_of_bfloat16_are_float32():
    # In bfloat16, with its 8 bits, a mean of 64 swallows the deviation, and a sum of 4096 ones stops at 256.
    shape = (2, 64, 64, 16)
    x = tf.cast(np.random.default_rng(0).normal(64, 2, shape), tf.bfloat16)
    layer = built(GroupNorm(2, epsilon=EPSILON, dtype="mixed_bfloat16"), shape)
    result = layer(x)
    assert result.dtype == tf.bfloat16
    assert {weight.dtype for weight in layer.weights} == {"float32"}
    expected = normalised(tf.cast(x, tf.float64).numpy(), layer)
    # Nothing but the rounding of the result to 8 bits is left.
    np.testing.assert_allclose(tf.cast(result, tf.float64), expected, rtol=2**-8, atol=1e-2)


def test_a_constant_image_gives_beta_and_finite_gradients():
    # As for a missing second image, which is zero everywhere.
    for value in (0.0, 1000.1):
        x = tf.fill((1, 8, 8, 8), value)
        layer = built(GroupNorm(1, epsilon=EPSILON), (1, 8, 8, 8))
        with tf.GradientTape() as tape:
            tape.watch(x)
            result = layer(x)
        assert np.isfinite(tape.gradient(result, x)).all()
        if value == 0:
            np.testing.assert_allclose(result[0, 0, 0], layer.beta, atol=1e-6)
        assert np.isfinite(result).all()


def test_images_of_a_batch_do_not_mix():
    x = np.random.default_rng(0).normal(size=(3, 6, 6, 16)).astype(np.float32) * [
        [[[1.0]]],
        [[[5.0]]],
        [[[0.1]]],
    ]
    layer = built(GroupNorm(2, epsilon=EPSILON), x.shape)
    together = layer(x)
    for index in range(3):
        np.testing.assert_allclose(together[index], layer(x[index : index + 1])[0], atol=1e-6)
