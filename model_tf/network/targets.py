"""The targets of each category that a label gives: positive, negative or unknown."""

import itertools
from typing import Any

from keras import ops

from beam_pipeline.records.categories import CategoryTable
from beam_pipeline.records.schema import UNLABELED

Tensor = Any
"""A tensor of the Keras backend in use, or a numpy array."""


def targets_of_label(label: Tensor, categories: CategoryTable) -> tuple[Tensor, Tensor]:
    """Turns label channels into one binary map a category and a mask of what is known.

    A category of channel c counts at a pixel where c's label is not 255 (unknown). There it is positive where
    the pixel holds it, and negative where it holds another category of the channel or 254 (none of them).

    Args:
        label: (N, H, W, channels), uint8 or a float dtype that holds the same whole numbers; 254 = none,
            255 = unknown.
        categories: The C categories, by channel and value.

    Returns:
        (positive, known), each (N, H, W, C) of bool. What is not known is not positive either.
    """
    positive, known = [], []
    entries = zip(categories.channels, categories.values, strict=True)
    for channel, group in itertools.groupby(entries, key=lambda entry: entry[0]):
        values = [value for _, value in group]
        held = label[..., channel : channel + 1]  # (N, H, W, 1)
        positive.append(ops.equal(held, ops.cast(ops.array(values), held.dtype)))
        known.append(ops.repeat(ops.not_equal(held, UNLABELED), len(values), axis=-1))
    return ops.concatenate(positive, axis=-1), ops.concatenate(known, axis=-1)
