import numpy as np
import pytest
import tensorflow as tf

from model_tf.data.augment import NUM_SYMMETRIES, apply_symmetry, draw_symmetry


def turned(pixels: np.ndarray, symmetry: int) -> np.ndarray:
    """Returns what numpy gives for (..., S, S, C)."""
    pixels = np.rot90(pixels, symmetry % 4, axes=(-3, -2))
    return np.flip(pixels, -2) if symmetry >= 4 else pixels


@pytest.mark.parametrize("shape", [(4, 4, 3), (2, 6, 6, 5)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_symmetries_are_those_of_numpy(shape, dtype):
    pixels = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    apply = tf.function(apply_symmetry)
    results = [apply(tf.constant(pixels), tf.constant(k, tf.int64)).numpy() for k in range(NUM_SYMMETRIES)]
    for symmetry, result in enumerate(results):
        np.testing.assert_array_equal(result, turned(pixels, symmetry))
    assert len({result.tobytes() for result in results}) == 8  # all of them, each once


def test_draws_are_uniform_and_keyed():
    cells = tf.range(8000, dtype=tf.int64)
    draws = {key: draw_symmetry(cells, *key).numpy() for key in [(0, 0), (0, 1), (1, 0)]}
    for drawn in draws.values():
        # Chi squared with 7 degrees of freedom is below 24.3 in 999 of 1000 cases.
        assert (np.square(np.bincount(drawn, minlength=8) - 1000) / 1000).sum() < 24.3
    np.testing.assert_array_equal(draws[0, 0], draw_symmetry(cells, 0, 0).numpy())
    for other in [(0, 1), (1, 0)]:
        assert 0.1 < np.mean(draws[0, 0] == draws[other]) < 0.15  # 1/8 by chance
