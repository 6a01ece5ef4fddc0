"""From a serialised example to the tensors of a pair of images.

Only what the network sees is decoded: gsd_60 and scl stay bytes.
"""

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from beam_pipeline.records.categories import CategoryTable
from beam_pipeline.records.example_proto import Example
from beam_pipeline.records.png import encode_png
from beam_pipeline.records.schema import (
    CHANNELS,
    FEATURES,
    NUM_SLOTS,
    REFLECTANCE_SCALE,
    UNLABELED,
    slot_prefix,
)
from beam_pipeline.records.statistics import INPUT_BANDS, BandStatistics

NO_ID = -1
"""Stands for an id where there is no image."""

_SLOTS = tuple(slot_prefix(slot) for slot in range(NUM_SLOTS))
_OFFSET = "boa_add_offset"
_READ = (
    *("cell_id", "year", "num_images", "label"),
    *(slot + name for slot in _SLOTS for name in (*INPUT_BANDS, _OFFSET)),
)
"""Names of the features that are read."""

WRONG_LABEL = "must hold values of the ontology in dataset.json"
"""Part of the message of `check_label`, by which it is known."""

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_HEAD = struct.Struct(">8sI4sII")  # signature, length and name of the first chunk, width, height
_IHDR_BYTES = 13

_VALUES = 256  # of uint8


def parse_example(payload: tf.Tensor) -> dict[str, tf.Tensor]:
    """Takes an example apart.

    Args:
        payload: () string, a serialised example.

    Returns:
        The features that are read, by name: () int64, and () string PNGs.
    """
    dtypes = {"png": tf.string, "int64": tf.int64}
    parsed: dict[str, tf.Tensor] = tf.io.parse_single_example(
        payload, {name: tf.io.FixedLenFeature([], dtypes[FEATURES[name].kind]) for name in _READ}
    )
    return parsed


def decode_pair(stored: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Decodes what the network sees of an example.

    Args:
        stored: What `parse_example` gives.

    Returns:
        gsd_10 (2, 192, 192, 4) and gsd_20 (2, 96, 96, 6) uint16 DN, 0 = no data; boa_add_offset (2,) int64 DN; label
        (192, 192, 3) uint8; cell_id, year and num_images () int64.
    """

    def pixels(name: str) -> tf.Tensor:
        spec = FEATURES[name]
        height, width, _ = spec.png_shape
        # A small file may say that it is huge, and decode_png makes room for what it says.
        head = _PNG_HEAD.pack(_PNG_SIGNATURE, _IHDR_BYTES, b"IHDR", width, height)
        right = tf.equal(tf.strings.substr(stored[name], 0, len(head)), head)
        known = tf.where(right, stored[name], "of another size")
        png = tf.io.decode_png(known, channels=spec.png_shape[-1], dtype=spec.dtype)
        return tf.reshape(tf.ensure_shape(png, spec.png_shape), spec.shape)

    return {
        **{grid: tf.stack([pixels(slot + grid) for slot in _SLOTS]) for grid in INPUT_BANDS},
        _OFFSET: tf.stack([stored[slot + _OFFSET] for slot in _SLOTS]),
        "label": pixels("label"),
        **{name: stored[name] for name in ("cell_id", "year", "num_images")},
    }


def standardise(dn: tf.Tensor, boa_add_offset: tf.Tensor, statistics: BandStatistics, grid: str) -> tf.Tensor:
    """Turns DN into standardised reflectance: ((DN + offset) / 10000 - mean) / sqrt(variance).

    Args:
        dn: (2, S, S, bands) uint16.
        boa_add_offset: (2,) int64, in DN.
        statistics: Mean and variance of each band's reflectance.
        grid: "gsd_10" or "gsd_20".

    Returns:
        (2, S, S, bands) float32. A pixel without data (DN 0 in every band) is 0, the mean: the network sees nothing
        unusual there.
    """
    _, _, size, bands = dn.shape
    mean = np.array([statistics.mean[band] for band in INPUT_BANDS[grid]])
    deviation = np.sqrt([statistics.variance[band] for band in INPUT_BANDS[grid]])
    scale = 1 / (REFLECTANCE_SCALE * deviation)
    # One multiplication and one addition a sample. They go row by row, because broadcasting along an axis of 4 or 6
    # bands costs TensorFlow three times as much.
    shift = tf.cast(boa_add_offset, tf.float32)[:, None] * scale.astype(np.float32)
    shift -= (mean / deviation).astype(np.float32)  # (2, bands)
    rows = tf.reshape(tf.cast(dn, tf.float32), (NUM_SLOTS, size, size * bands))
    rows = rows * np.tile(scale.astype(np.float32), size) + tf.tile(shift, (1, size))[:, None]
    values = tf.reshape(rows, dn.shape)

    def without_no_data() -> tf.Tensor:
        return values * tf.cast(_has_data(dn), tf.float32)

    return tf.cond(_is_complete(dn), lambda: values, without_no_data)


def label_of_images(label: tf.Tensor, gsd_10: tf.Tensor) -> tf.Tensor:
    """Gives each image of a pair its label; nothing is known where an image has no data at 10 m.

    Args:
        label: (192, 192, 3) uint8.
        gsd_10: (2, 192, 192, 4) uint16 DN, 0 = no data.

    Returns:
        (2, 192, 192, 3) uint8, 255 throughout for an image that is missing.
    """
    labels = tf.stack([label] * NUM_SLOTS)
    unlabeled = tf.constant(UNLABELED, tf.uint8)
    return tf.cond(
        _is_complete(gsd_10), lambda: labels, lambda: tf.where(_has_data(gsd_10), labels, unlabeled)
    )


def check_label(pair: Mapping[str, tf.Tensor], shard: tf.Tensor, categories: CategoryTable) -> None:
    """Asserts that a label holds only values of the ontology; the message names shard, cell and channel.

    Args:
        pair: What `decode_pair` gives.
        shard: () string, path of the shard.
        categories: The ontology.
    """
    valid = np.zeros((CHANNELS, _VALUES), bool)
    for channel in range(CHANNELS):
        valid[channel, list(categories.valid_values(channel))] = True
    label = tf.cast(pair["label"], tf.int32)
    # Counting is two to three times as fast as looking up each pixel.
    counts = tf.stack(
        [
            tf.math.bincount(tf.reshape(label[..., channel], [-1]), minlength=_VALUES, maxlength=_VALUES)
            for channel in range(CHANNELS)
        ]
    )
    is_wrong = (counts > 0) & ~valid

    def fail() -> tf.Operation:
        channel, value = tf.unstack(tf.strings.as_string(tf.where(is_wrong)[0]))
        cell, year = (tf.strings.as_string(pair[name]) for name in ("cell_id", "year"))
        message = tf.strings.join(
            [
                shard,
                ": label of cell ",
                cell,
                ", year ",
                year,
                f", {WRONG_LABEL}. Received: ",
                value,
                " in channel ",
                channel,
                ". Shards and dataset.json are of different builds: copy the dataset again.",
            ]
        )
        return tf.debugging.Assert(False, [message])

    tf.cond(tf.reduce_any(is_wrong), fail, tf.no_op)


def ids_of_images(pair: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Returns cell_id, year and slot, each (2,) int64, -1 where there is no image."""
    slots = tf.range(NUM_SLOTS, dtype=tf.int64)
    there = slots < pair["num_images"]
    ids = {"cell_id": pair["cell_id"], "year": pair["year"], "slot": slots}
    return {name: tf.where(there, value, tf.constant(NO_ID, tf.int64)) for name, value in ids.items()}


def padding_payload() -> bytes:
    """Returns a serialised example without images, whose label is unknown throughout; it fills the last batch."""
    message = Example()
    features: Any = message.features.feature
    for name in _READ:
        spec = FEATURES[name]
        if spec.kind == "png":
            value = UNLABELED if name == "label" else 0
            features[name].bytes_list.value.append(encode_png(np.full(spec.png_shape, value, spec.dtype)))
        else:
            features[name].int64_list.value.append(NO_ID if name in ("cell_id", "year") else 0)
    payload: bytes = message.SerializeToString(deterministic=True)
    return payload


def _is_complete(dn: tf.Tensor) -> tf.Tensor:
    """Tells cheaply that no sample is 0, as is nearly always so."""
    return tf.reduce_min(dn) > 0


def _has_data(dn: tf.Tensor) -> tf.Tensor:
    """(..., bands) DN -> (..., 1) bool."""
    return tf.reduce_any(dn > 0, axis=-1, keepdims=True)
