"""Batches of image pairs from the shards of a dataset, for training and for scoring.

A batch is N = 2P images. They are the pairs of P cells, image k of pair p in row 2p + k, or one image of each of 2P
cells. Shapes never change: where there is no image
(an example with one, or the end of the last batch) the pixels are 0 and the label is 255 throughout, so that nothing
is learnt from it and nothing is scored.

The same arguments give the same batches, whatever the machine, the number of threads and `tf.random.set_seed`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from beam_pipeline.records.categories import CategoryTable
from beam_pipeline.records.schema import NUM_SLOTS
from beam_pipeline.records.shares import host_shares
from beam_pipeline.records.statistics import INPUT_BANDS, BandStatistics
from beam_pipeline.runtime.faults import InvalidInputError
from model_tf.data.augment import apply_symmetry, draw_symmetry
from model_tf.data.decoding import (
    check_label,
    decode_pair,
    ids_of_images,
    label_of_images,
    padding_payload,
    parse_example,
    standardise,
)
from model_tf.data.epoch import examples_in_order, shuffled_cells
from model_tf.data.info import DatasetInfo
from model_tf.data.keyed_draw import draw_int64

_BATCHES_AHEAD = 2


def steps_per_epoch(
    info: DatasetInfo,
    split: str,
    pairs_per_batch: int,
    epoch: int | None = None,
    hosts: int = 1,
    single_images: bool = False,
) -> int:
    """Returns the number of batches of `make_dataset`, the same for every host.

    Args:
        info: The dataset.
        split: "training", "validation" or "testing".
        pairs_per_batch: Pairs in a batch of all hosts together.
        epoch: None for every cell and year, else for every cell once.
        hosts: Number of hosts.
        single_images: As of `make_dataset`.

    Raises:
        InvalidInputError: The split has no examples, or the batch cannot be divided among the hosts.
    """
    cells = _cells_of_host(pairs_per_batch, hosts, single_images)
    info.require_examples(split)
    return -(-max(share.count for share in host_shares(info, split, epoch, hosts)) // cells)


def make_dataset(  # noqa: PLR0913 - named one by one: what is read, in which order, for which host
    info: DatasetInfo,
    split: str,
    *,
    pairs_per_batch: int,
    statistics: BandStatistics,
    seed: int = 0,
    epoch: int | None = None,
    augment: bool = False,
    single_images: bool = False,
    start_step: int = 0,
    hosts: int = 1,
    host: int = 0,
    with_ids: bool = False,
) -> tf.data.Dataset:
    """Makes batches of a split.

    Args:
        info: The dataset.
        split: "training", "validation" or "testing".
        pairs_per_batch: Pairs in a batch of all hosts together, P x hosts.
        statistics: By which images are standardised: of the training split, or those of the run.
        seed: The run's seed.
        epoch: None for every cell and year in the order of the shards; a number for every cell once, its year drawn by
            a keyed hash of (seed, epoch, cell), in an order that (seed, epoch) decides.
        augment: Whether to turn and mirror each pair, drawn by a keyed hash of (seed, epoch, cell).
        single_images: Whether to take one image of a cell, drawn by a keyed hash of (seed, epoch, cell), and twice as
            many cells in a batch.
        start_step: Batches to leave out at the beginning, as an epoch that was interrupted does; what is left out is
            read but not decoded.
        hosts: Number of hosts; each has shards of its own, and all have equally many batches.
        host: Index of this host.
        with_ids: Whether to give ids too, for scoring. Not for `model.fit`, which takes a third part for weights.

    Returns:
        Of (x, y) or (x, y, ids). x is {"gsd_10": (2P, 192, 192, 4), "gsd_20": (2P, 96, 96, 6)} float32, standardised
        reflectance, 0 where there is no data. y is (2P, 192, 192, 3) uint8, the label, 255 where there is no data at
        10 m. ids is {"cell_id", "year", "slot"}, each (2P,) int64, -1 where there is no image.

    Raises:
        InvalidInputError: The split has no examples, or an argument does not fit the others.
    """
    steps = steps_per_epoch(info, split, pairs_per_batch, epoch, hosts, single_images)
    if not 0 <= host < hosts:
        raise InvalidInputError(f"host must be from 0 to hosts - 1. Received: host={host}, hosts={hosts}")
    if not 0 <= start_step <= steps:
        raise InvalidInputError(
            f"start_step must be from 0 to {steps}, the batches of the epoch. Received: {start_step}"
        )
    if (augment or single_images) and epoch is None:
        raise InvalidInputError(
            "augment and single_images need an epoch, by which they are drawn. Received: epoch=None"
        )
    cells = _cells_of_host(pairs_per_batch, hosts, single_images)
    share = host_shares(info, split, epoch, hosts)[host]
    examples = tf.data.Dataset.from_tensors((padding_payload(), "padding")).repeat(
        steps * cells - share.count
    )
    if share.paths:
        shown = examples_in_order(share.paths) if epoch is None else shuffled_cells(share.paths, seed, epoch)
        examples = shown.apply(tf.data.experimental.assert_cardinality(share.count)).concatenate(examples)

    def to_tensors(payload: tf.Tensor, shard: tf.Tensor) -> tuple[tf.Tensor, ...]:
        drawn_by = None if epoch is None else (seed, epoch)
        parts = _pair_tensors(
            payload, shard, info.categories, statistics, drawn_by if augment else None, with_ids
        )
        return _one_image(payload, parts, *drawn_by) if single_images and drawn_by is not None else parts

    def to_images(*parts: tf.Tensor) -> Any:
        return tf.nest.map_structure(
            lambda part: tf.reshape(part, (part.shape[0] * part.shape[1], *part.shape[2:])), parts
        )

    batches = (
        examples.skip(start_step * cells)
        .map(to_tensors, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(cells, drop_remainder=True)
        .map(to_images)
        .apply(tf.data.experimental.assert_cardinality(steps - start_step))
        .prefetch(_BATCHES_AHEAD)
    )
    options = tf.data.Options()
    options.deterministic = True
    # The shards are dealt to hosts above; tf.distribute must not deal them again.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return batches.with_options(options)


def _pair_tensors(
    payload: tf.Tensor,
    shard: tf.Tensor,
    categories: CategoryTable,
    statistics: BandStatistics,
    symmetry: tuple[int, int] | None,
    with_ids: bool,
) -> tuple[tf.Tensor, ...]:
    """Decodes, checks, turns and standardises a pair; `symmetry` is (seed, epoch) or None for none."""
    pair = decode_pair(parse_example(payload))
    check_label(pair, shard, categories)
    if symmetry is not None:
        drawn = draw_symmetry(pair["cell_id"], *symmetry)
        # DN are half as many bytes as what they are standardised to.
        pair |= {name: apply_symmetry(pair[name], drawn) for name in (*INPUT_BANDS, "label")}
    x = {grid: standardise(pair[grid], pair["boa_add_offset"], statistics, grid) for grid in INPUT_BANDS}
    y = label_of_images(pair["label"], pair["gsd_10"])
    return (x, y, ids_of_images(pair)) if with_ids else (x, y)


def _one_image(payload: tf.Tensor, pair: Any, seed: int, epoch: int) -> Any:
    """Takes one image of a pair, drawn among those that are there; the arrays keep their first axis."""
    counts = tf.io.parse_single_example(
        payload, {name: tf.io.FixedLenFeature([], tf.int64) for name in ("cell_id", "num_images")}
    )
    drawn = draw_int64(counts["cell_id"], seed, "image", epoch)
    slot = drawn % tf.maximum(counts["num_images"], 1)

    def taken(part: tf.Tensor) -> tf.Tensor:
        return tf.ensure_shape(part[slot : slot + 1], (1, *part.shape[1:]))

    return tf.nest.map_structure(taken, pair)


def _cells_of_host(pairs_per_batch: int, hosts: int, single_images: bool) -> int:
    """The cells in a batch of one host."""
    if pairs_per_batch < 1 or hosts < 1 or pairs_per_batch % hosts:
        raise InvalidInputError(
            "pairs_per_batch must be a multiple of hosts, and both at least 1. Received: "
            f"pairs_per_batch={pairs_per_batch}, hosts={hosts}"
        )
    return pairs_per_batch // hosts * (NUM_SLOTS if single_images else 1)


Images = Mapping[str, npt.NDArray[np.float32]]
