"""The eight symmetries of the square: rotations by 90 degrees and mirror images.

They are drawn once a pair and applied to both grids, both images and the label alike, so that pixels stay on top of
each other. `model_tf/data/augment.py` does the same inside a graph of TensorFlow.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from beam_pipeline.runtime.keyed_draw import keyed_draws

NUM_SYMMETRIES = 8

UNTURNED = 0
"""The symmetry that changes nothing."""


def draw_symmetries(cell_ids: Sequence[int], seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """Draws a symmetry for each cell by a keyed hash of (seed, epoch, cell).

    Args:
        cell_ids: N cells.
        seed: The run's seed.
        epoch: The epoch.

    Returns:
        (N,) int64, 0 to 7 with equal chance.
    """
    return keyed_draws(cell_ids, NUM_SYMMETRIES, seed, "symmetry", epoch)


def apply_symmetry(pixels: npt.NDArray[Any], symmetry: int) -> npt.NDArray[Any]:
    """Applies a symmetry: `np.rot90` k % 4 times, then for k >= 4 a mirror image of left and right.

    Args:
        pixels: (..., S, S, C), rows from the north.
        symmetry: k, 0 to 7.

    Returns:
        A view of the same shape.
    """
    turned = np.rot90(pixels, symmetry % 4, axes=(-3, -2))
    return np.flip(turned, axis=-2) if symmetry >= NUM_SYMMETRIES // 2 else turned
