"""Draws inside a graph, keyed like `beam_pipeline.runtime.keyed_hash`: by (seed, what is drawn, for whom)."""

import tensorflow as tf

from beam_pipeline.runtime.keyed_hash import keyed_hash

_INT64_MAX = 2**63 - 1


def keyed_draw(whom: tf.Tensor, num_values: int, seed: int, purpose: str, *keys: int | str) -> tf.Tensor:
    """Draws a number that depends on the arguments only.

    `runtime.keyed_hash` makes the key, SipHash keyed with it the draw: that one is an operation of TensorFlow.

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


def key_pair(seed: int, purpose: str, *keys: int | str) -> tuple[int, int]:
    """Returns two uniform integers in [0, 2**63), the range that TensorFlow's attributes and seeds hold."""
    high, low = (keyed_hash(seed, purpose, *keys, half) & _INT64_MAX for half in (0, 1))
    return high, low


def draw_int64(whom: tf.Tensor, seed: int, purpose: str, *keys: int | str) -> tf.Tensor:
    """Returns `keyed_draw` from all of [0, 2**63 - 1): ties are as good as excluded."""
    return keyed_draw(whom, _INT64_MAX, seed, purpose, *keys)
