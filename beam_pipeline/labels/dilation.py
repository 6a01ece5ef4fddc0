"""Grows masks of pixels by a distance."""

import math

import numpy as np
import numpy.typing as npt

from beam_pipeline.labels.label_image import PIXEL_M

Mask = npt.NDArray[np.bool_]


def dilate(lit: Mask, radius_m: float) -> Mask:
    """Grows a mask by a Euclidean distance.

    Args:
        lit: (H, W) bool, pixels of 10 m.
        radius_m: The distance in metres.

    Returns:
        (H, W) bool: the pixels whose centre is within `radius_m` of the centre of a lit pixel.
    """
    radius = radius_m / PIXEL_M
    height, width = lit.shape
    reach = min(math.floor(radius), height - 1)
    # A disc is a run in each of its rows. From its top row to its middle the runs only widen, so one mask is
    # widened step by step, and each row's is laid on the result above and below.
    widened, half = lit.copy(), 0
    grown = lit.copy()
    for up in range(reach, -1, -1):
        run = min(math.floor(math.sqrt(radius * radius - up * up)), width - 1)
        while half < run:
            half += 1
            widened[:, : width - half] |= lit[:, half:]
            widened[:, half:] |= lit[:, : width - half]
        grown[: height - up] |= widened[up:]
        grown[up:] |= widened[: height - up]
    return grown


def crop(mask: Mask, side: int) -> Mask:
    """Returns a view of the (side, side) pixels in the middle of a square mask; the two differ by an even number."""
    edge = (len(mask) - side) // 2
    return mask[edge : edge + side, edge : edge + side]
