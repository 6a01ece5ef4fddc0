"""`beam_pipeline.runtime.keyed_draw` inside a graph of TensorFlow."""

import tensorflow as tf

from beam_pipeline.runtime.keyed_draw import MOST_VALUES, key_pair


def keyed_draw(whom: tf.Tensor, num_values: int, seed: int, purpose: str, *keys: int | str) -> tf.Tensor:
    """Draws what `runtime.keyed_draw.keyed_draws` draws.

    Args:
        whom: For whom it is drawn, integers or strings of any shape.
        num_values: Number of values to draw from, at most 2**63 - 1.
        seed: The run's seed.
        purpose: What is drawn; different purposes are independent.
        *keys: What it is drawn for, as far as it is known when the graph is built.

    Returns:
        int64 of the shape of `whom`, 0 to num_values - 1 with equal chance.
    """
    text = whom if whom.dtype == tf.string else tf.strings.as_string(whom)
    return tf.strings.to_hash_bucket_strong(text, num_values, key=key_pair(seed, purpose, *keys))


def draw_int64(whom: tf.Tensor, seed: int, purpose: str, *keys: int | str) -> tf.Tensor:
    """Returns `keyed_draw` from all of [0, 2**63 - 1): ties are as good as excluded."""
    return keyed_draw(whom, MOST_VALUES, seed, purpose, *keys)
