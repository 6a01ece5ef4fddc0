"""Places on a curve through the whole world: near places lie near on it, so that a box meets few row groups."""

import numpy as np
import numpy.typing as npt

ORDER = 14
"""Binary digits of a place on each axis: at the equator a square of the curve is 2.4 km wide and 1.2 km high."""

_SIDE = 1 << ORDER


def along_curve(
    longitudes: npt.NDArray[np.floating], latitudes: npt.NDArray[np.floating]
) -> npt.NDArray[np.int64]:
    """Returns where places lie on Hilbert's curve.

    Source: https://en.wikipedia.org/wiki/Hilbert_curve ("xy2d").

    Args:
        longitudes: (N,) degrees; beyond 180 the curve begins anew.
        latitudes: (N,) degrees.

    Returns:
        (N,) int64. Places in one square have the same.
    """
    x = (np.floor((longitudes.astype(np.float64) + 180.0) / 360.0 * _SIDE) % _SIDE).astype(np.int64)
    y = np.floor((latitudes.astype(np.float64) + 90.0) / 180.0 * _SIDE).clip(0, _SIDE - 1).astype(np.int64)
    found = np.zeros(len(x), np.int64)
    for digit in reversed(range(ORDER)):
        side = 1 << digit
        right, upper = (x & side) > 0, (y & side) > 0
        found += side * side * ((3 * right) ^ upper)
        x, y = x & (side - 1), y & (side - 1)
        turned = right & ~upper
        x, y = np.where(turned, side - 1 - x, x), np.where(turned, side - 1 - y, y)
        x, y = np.where(upper, x, y), np.where(upper, y, x)
    return found
