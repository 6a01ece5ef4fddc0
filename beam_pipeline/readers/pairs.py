"""From a serialised example to the arrays of a pair of images.

These functions say what a network sees; `model_tf/data/decoding.py` does the same in operations of TensorFlow. Only
what the network sees is decoded: gsd_60 and scl stay bytes.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from beam_pipeline.imagery.image import over_bands
from beam_pipeline.readers.turns import apply_symmetry
from beam_pipeline.records.categories import CategoryTable
from beam_pipeline.records.example_proto import Example
from beam_pipeline.records.png import decode_png
from beam_pipeline.records.schema import (
    CHANNELS,
    FEATURES,
    NUM_SLOTS,
    REFLECTANCE_SCALE,
    UNLABELED,
    slot_prefix,
)
from beam_pipeline.records.statistics import INPUT_BANDS, BandStatistics
from beam_pipeline.runtime.faults import Fault, PermanentFault

NO_ID = -1
"""Stands for an id where there is no image."""

_SLOTS = tuple(slot_prefix(slot) for slot in range(NUM_SLOTS))
_VALUES = 256  # of uint8

Dn = npt.NDArray[np.uint16]
Label = npt.NDArray[np.uint8]


@dataclasses.dataclass(frozen=True)
class StoredPair:
    """The part of an example that a network sees, as it is stored.

    Attributes:
        cell_id: The cell; `NO_ID` for a pair that only fills up.
        year: The year; `NO_ID` likewise.
        num_images: 1 or 2; 0 likewise.
        dn: By grid: "gsd_10" (2, 192, 192, 4) and "gsd_20" (2, 96, 96, 6) uint16 DN, 0 = no data.
        boa_add_offset: (2,) int64, in DN.
        label: (192, 192, 3) uint8.
    """

    cell_id: int
    year: int
    num_images: int
    dn: dict[str, Dn]
    boa_add_offset: npt.NDArray[np.int64]
    label: Label


def decode_pair(payload: bytes) -> StoredPair:
    """Decodes what the network sees of an example.

    Args:
        payload: A serialised example.

    Returns:
        What is stored.

    Raises:
        PermanentFault: "corrupt_example" or "corrupt_png": damaged, or of another schema. Names the feature.
    """
    try:
        features = Example.FromString(payload).features.feature
    except DecodeError as error:
        raise PermanentFault("corrupt_example", f"{len(payload)} bytes are no example: {error}") from error
    num_images = _int64(features, "num_images")
    if not 1 <= num_images <= NUM_SLOTS:
        raise PermanentFault("corrupt_example", f"num_images is {num_images}")
    return StoredPair(
        cell_id=_int64(features, "cell_id"),
        year=_int64(features, "year"),
        num_images=num_images,
        dn={grid: np.stack([_pixels(features, slot + grid) for slot in _SLOTS]) for grid in INPUT_BANDS},
        boa_add_offset=np.array([_int64(features, f"{slot}boa_add_offset") for slot in _SLOTS]),
        label=_pixels(features, "label"),
    )


def padding_pair() -> StoredPair:
    """Returns a pair without images, whose label is unknown throughout; it fills up what must be equally long."""
    return StoredPair(
        cell_id=NO_ID,
        year=NO_ID,
        num_images=0,
        dn={
            grid: np.zeros((NUM_SLOTS, *FEATURES[_SLOTS[0] + grid].shape), np.uint16) for grid in INPUT_BANDS
        },
        boa_add_offset=np.zeros(NUM_SLOTS, np.int64),
        label=np.full(FEATURES["label"].shape, UNLABELED, np.uint8),
    )


def turn_pair(pair: StoredPair, symmetry: int) -> StoredPair:
    """Turns both grids, both images and the label alike, as `apply_symmetry`."""
    return dataclasses.replace(
        pair,
        dn={grid: apply_symmetry(dn, symmetry) for grid, dn in pair.dn.items()},
        label=apply_symmetry(pair.label, symmetry),
    )


class Standardiser:
    """Turns DN into standardised reflectance: ((DN + offset) / 10000 - mean) / sqrt(variance).

    Args:
        statistics: Mean and variance of each band's reflectance.
    """

    def __init__(self, statistics: BandStatistics) -> None:
        self._scale: dict[str, npt.NDArray[np.float32]] = {}
        self._mean: dict[str, npt.NDArray[np.float32]] = {}
        for grid, bands in INPUT_BANDS.items():
            deviation = np.sqrt([statistics.variance[band] for band in bands])
            self._scale[grid] = (1 / (REFLECTANCE_SCALE * deviation)).astype(np.float32)
            mean = np.array([statistics.mean[band] for band in bands])
            self._mean[grid] = (mean / deviation).astype(np.float32)

    def __call__(self, dn: Dn, boa_add_offset: npt.NDArray[np.int64], grid: str) -> npt.NDArray[np.float32]:
        """Standardises the images of a pair.

        Args:
            dn: (2, S, S, bands) uint16.
            boa_add_offset: (2,) int64, in DN.
            grid: "gsd_10" or "gsd_20".

        Returns:
            (2, S, S, bands) float32, whose bands lie one after the other in memory. A pixel without data (DN 0 in
            every band) is 0, the mean: the network sees nothing unusual there.
        """
        slots, rows, cols, bands = dn.shape
        scale = self._scale[grid]
        shift = boa_add_offset.astype(np.float32)[:, None] * scale - self._mean[grid]  # (2, bands)
        values = np.empty((slots, bands, rows, cols), np.float32)
        for slot in range(slots):
            for band in range(bands):
                of_band = values[slot, band]
                np.multiply(dn[slot, ..., band], scale[band], out=of_band, dtype=np.float32)
                of_band += shift[slot, band]
        if not dn.all():
            values *= has_data(dn)[:, None]
        return np.moveaxis(values, 1, -1)


def has_data(dn: Dn) -> npt.NDArray[np.bool_]:
    """Tells which pixels have data: (..., bands) DN -> (...)."""
    return over_bands(np.maximum, dn) > 0


def label_of_images(label: Label, gsd_10: Dn) -> Label:
    """Gives each image of a pair its label; nothing is known where an image has no data at 10 m.

    Args:
        label: (192, 192, 3) uint8.
        gsd_10: (2, 192, 192, 4) uint16 DN, 0 = no data.

    Returns:
        (2, 192, 192, 3) uint8, whose channels lie one after the other in memory; 255 throughout for an image that is
        missing.
    """
    rows, cols, channels = label.shape
    labels = np.empty((NUM_SLOTS, channels, rows, cols), np.uint8)
    labels[:] = np.moveaxis(label, -1, 0)
    if not gsd_10.all():
        np.copyto(labels, np.uint8(UNLABELED), where=~has_data(gsd_10)[:, None])
    return np.moveaxis(labels, 1, -1)


class LabelCheck:
    """Sees to it that labels hold only values of the ontology.

    Args:
        categories: The ontology.
    """

    def __init__(self, categories: CategoryTable) -> None:
        self._valid = np.zeros((CHANNELS, _VALUES), bool)
        for channel in range(CHANNELS):
            self._valid[channel, list(categories.valid_values(channel))] = True

    def __call__(self, label: Label) -> None:
        """Checks a label.

        Args:
            label: (H, W, 3) uint8.

        Raises:
            PermanentFault: "wrong_label": names value and channel.
        """
        for channel, valid in enumerate(self._valid):
            wrong = np.flatnonzero((np.bincount(label[..., channel].ravel(), minlength=_VALUES) > 0) & ~valid)
            if wrong.size:
                raise PermanentFault(
                    "wrong_label",
                    "label must hold values of the ontology in dataset.json, and "
                    f"holds {wrong[0]} in channel {channel}",
                )


def ids_of_images(pair: StoredPair) -> dict[str, npt.NDArray[np.int64]]:
    """Returns cell_id, year and slot, each (2,) int64, -1 where there is no image."""
    slots = np.arange(NUM_SLOTS)
    there = slots < pair.num_images
    ids: dict[str, Any] = {"cell_id": pair.cell_id, "year": pair.year, "slot": slots}
    return {name: np.where(there, value, NO_ID).astype(np.int64) for name, value in ids.items()}


def _int64(features: Any, name: str) -> int:
    values: Sequence[int] = features[name].int64_list.value if name in features else ()
    if len(values) != 1:
        raise PermanentFault(
            "corrupt_example", f"{name} must be one whole number, and {len(values)} are there"
        )
    return values[0]


def _pixels(features: Any, name: str) -> Any:
    spec = FEATURES[name]
    values: Sequence[bytes] = features[name].bytes_list.value if name in features else ()
    if len(values) != 1:
        raise PermanentFault("corrupt_example", f"{name} must be one PNG, and {len(values)} are there")
    try:
        pixels = decode_png(values[0])
    except Fault as fault:
        raise PermanentFault(fault.reason, f"{name}: {fault.detail}") from fault
    if pixels.shape != spec.png_shape or pixels.dtype != spec.dtype:
        raise PermanentFault("corrupt_png", f"{name} is {pixels.shape} {pixels.dtype}")
    return pixels.reshape(spec.shape)
