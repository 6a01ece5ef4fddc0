"""The serialised examples that an epoch shows, in order. No pixel is decoded here.

An epoch takes every cell once. The examples of a cell lie next to each other in one shard, so its year is chosen while
the shard is read, with one example kept back: memory does not grow with the shard. All years are read from the disk or
the bucket though, because a TFRecord file has no index.

Memory does not grow with the dataset: `SHUFFLE_EXAMPLES` serialised examples of about 0.55 MB, and at most
2 x `SHARDS_AT_ONCE` shards that are open, with a read buffer and a few examples each. That is about 400 MB, and
`python tests/benchmarks/input_pipeline.py` measures it together with the decoded batches.
"""

from collections.abc import Sequence

import tensorflow as tf

from beam_pipeline.runtime.keyed_draw import key_pair
from beam_pipeline.runtime.keyed_hash import keyed_hash
from model_tf.data.keyed_draw import draw_int64

SHARDS_AT_ONCE = 16
"""Shards that are read in turn, so that neighbours in an epoch are of many tiles. As many more are opened ahead."""

SHUFFLE_EXAMPLES = 512
"""Examples that are shuffled among each other."""

READ_BYTES = 1 << 20
"""Read buffer of a shard; a read from a bucket costs about as much as 1 MB takes to come."""

_NO_CELL = -1


def examples_in_order(paths: Sequence[str]) -> tf.data.Dataset:
    """Returns all examples of shards, one shard after the other.

    Args:
        paths: The shards.

    Returns:
        Of (serialised example, path of its shard), both () string.
    """
    return tf.data.Dataset.from_tensor_slices(list(paths)).flat_map(
        lambda path: _records(path).map(lambda payload: (payload, path))
    )


def shuffled_cells(paths: Sequence[str], seed: int, epoch: int) -> tf.data.Dataset:
    """Returns one example of each cell, in an order that (seed, epoch) decides.

    Args:
        paths: The shards.
        seed: The run's seed.
        epoch: The epoch.

    Returns:
        Of (serialised example, path of its shard), both () string.
    """

    def key(path: str) -> int:
        return keyed_hash(seed, "shard order", epoch, path.rpartition("/")[2])

    examples = tf.data.Dataset.from_tensor_slices(sorted(paths, key=key)).interleave(
        lambda path: one_year_a_cell(_records(path), seed, epoch).map(lambda payload: (payload, path)),
        cycle_length=SHARDS_AT_ONCE,
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    return _shuffle(examples, *key_pair(seed, "cell order", epoch))


def one_year_a_cell(records: tf.data.Dataset, seed: int, epoch: int) -> tf.data.Dataset:
    """Keeps one example of each cell, its year drawn by a keyed hash of (seed, epoch, cell).

    Args:
        records: Of () string, serialised examples; those of a cell are neighbours.
        seed: The run's seed.
        epoch: The epoch.

    Returns:
        Of () string.
    """

    def with_draw(payload: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        scalar = tf.io.FixedLenFeature([], tf.int64)
        ids = tf.io.parse_single_example(payload, {"cell_id": scalar, "year": scalar})
        cell_year = tf.strings.join([tf.strings.as_string(ids[name]) for name in ("cell_id", "year")], "/")
        return ids["cell_id"], draw_int64(cell_year, seed, "year", epoch), payload

    def keep_largest(
        best: tuple[tf.Tensor, tf.Tensor, tf.Tensor], following: tuple[tf.Tensor, tf.Tensor, tf.Tensor]
    ) -> tuple[tuple[tf.Tensor, tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
        cell, draw, payload = best
        next_cell, next_draw, next_payload = following
        is_complete = next_cell != cell
        better = is_complete | (next_draw > draw)
        kept = (next_cell, *tf.cond(better, lambda: (next_draw, next_payload), lambda: (draw, payload)))
        return kept, (is_complete & (cell != _NO_CELL), payload)

    nothing = (tf.constant(_NO_CELL, tf.int64), tf.constant(0, tf.int64), tf.constant(""))
    # A last element of no cell completes the last cell. Not `from_tensors`: where operations are deterministic,
    # TensorFlow takes that for one that is not, and makes the whole pipeline serial.
    end = tf.data.Dataset.from_tensor_slices(tf.nest.map_structure(lambda part: part[None], nothing))
    drawn = records.map(with_draw).concatenate(end)
    completed = drawn.scan(nothing, keep_largest)
    return completed.filter(lambda is_complete, _: is_complete).map(lambda _, payload: payload)


def _records(path: tf.Tensor) -> tf.data.Dataset:
    return tf.data.TFRecordDataset(path, buffer_size=READ_BYTES)


def _shuffle(examples: tf.data.Dataset, seed: int, seed2: int) -> tf.data.Dataset:
    """Shuffles as `Dataset.shuffle` does, but by these seeds alone.

    `Dataset.shuffle(seed=...)` does not serve. It shuffles by the pair (seed of `tf.random.set_seed`, its own), so the
    order of an epoch would depend on what else the process did. It gives no way to choose both halves of the pair
    either: runs that stopped within an epoch would go on in another order, show some cells twice and others never.
    """
    spec = examples.element_spec
    shuffled = tf.raw_ops.ShuffleDataset(
        input_dataset=tf.data.experimental.to_variant(examples),
        buffer_size=SHUFFLE_EXAMPLES,
        seed=seed,
        seed2=seed2,
        output_types=[part.dtype for part in spec],
        output_shapes=[part.shape for part in spec],
        reshuffle_each_iteration=False,
    )
    return tf.data.experimental.from_variant(shuffled, spec)
