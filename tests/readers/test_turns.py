import numpy as np
import tensorflow as tf

from beam_pipeline.readers.turns import NUM_SYMMETRIES, UNTURNED, apply_symmetry, draw_symmetries
from model_tf.data import augment


def test_symmetries_are_those_of_model_tf():
    for shape, dtype in (((4, 4, 3), np.uint8), ((2, 6, 6, 5), np.uint16)):
        pixels = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
        turned = [apply_symmetry(pixels, symmetry) for symmetry in range(NUM_SYMMETRIES)]
        assert len({one.tobytes() for one in turned}) == NUM_SYMMETRIES == augment.NUM_SYMMETRIES
        np.testing.assert_array_equal(turned[UNTURNED], pixels)
        for symmetry, one in enumerate(turned):
            np.testing.assert_array_equal(
                one, augment.apply_symmetry(tf.constant(pixels), tf.constant(symmetry))
            )


def test_draws_are_those_of_model_tf():
    cells = [0, 5, 82543044, 2**40]
    for seed, epoch in ((0, 0), (7, 225)):
        expected = augment.draw_symmetry(tf.constant(cells, tf.int64), seed, epoch)
        np.testing.assert_array_equal(draw_symmetries(cells, seed, epoch), expected)
