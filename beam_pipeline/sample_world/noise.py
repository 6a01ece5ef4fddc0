"""Noise that is a function of the place alone: smooth fields for ground and clouds, and the sensor's noise.

Everything here is integer arithmetic or plain float additions and products, so that it gives the same bytes
on every machine; functions such as `exp`, whose last digit differs between processors, are left out.
"""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # Source: splitmix64, Steele, Lea and Flood 2014
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_BYTES_SUMMED = 4
_STD_OF_SUM = 147.8  # of four uniform bytes: 2 * sqrt((256 ** 2 - 1) / 12)


def _lattice(key: int, columns: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]) -> Array:
    """Returns (len(rows), len(columns)) float32 in [-1, 1): hashes of column, row and key."""
    with np.errstate(over="ignore"):
        mixed = np.uint64(key) + columns.astype(np.uint64)[None, :] * _GOLDEN
        for term in (rows.astype(np.uint64)[:, None] * _MIX_2, np.uint64(0)):
            mixed = (mixed ^ (mixed >> np.uint64(30))) * _MIX_1 + term
            mixed = (mixed ^ (mixed >> np.uint64(27))) * _MIX_2
            mixed = mixed ^ (mixed >> np.uint64(31))
    return (mixed >> np.uint64(40)).astype(np.float32) / np.float32(2**23) - np.float32(1)


def smooth_noise(key: int, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], step: float) -> Array:
    """Interpolates a lattice of random values.

    Args:
        key: Names the field, from `keyed_hash`.
        x: Eastings in metres of the sample world's plane, any shape.
        y: Northings, of the same shape.
        step: Spacing of the lattice in metres.

    Returns:
        float32 of the same shape in [-1, 1): the same place gives the same value, whatever is
        asked beside it.
    """
    u, v = x / step, y / step
    left, low = np.floor(u).astype(np.int64), np.floor(v).astype(np.int64)
    first_column, first_row = int(left.min()), int(low.min())
    values = _lattice(
        key, np.arange(first_column, int(left.max()) + 2), np.arange(first_row, int(low.max()) + 2)
    )
    fu, fv = (u - left).astype(np.float32), (v - low).astype(np.float32)
    fu, fv = fu * fu * (3 - 2 * fu), fv * fv * (3 - 2 * fv)
    width = values.shape[1]
    flat = values.ravel()
    index = (low - first_row) * width + (left - first_column)
    south = flat[index] * (1 - fu) + flat[index + 1] * fu
    north = flat[index + width] * (1 - fu) + flat[index + width + 1] * fu
    return np.asarray(south * (1 - fv) + north * fv, dtype=np.float32)


def fractal_noise(
    key: int, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], step: float, octaves: int
) -> Array:
    """Sums `octaves` smooth fields, each half as large and twice as fine as the one before.

    Args:
        key: Names the field.
        x: Eastings in metres, any shape.
        y: Northings, of the same shape.
        step: Spacing of the coarsest lattice in metres.
        octaves: How many fields.

    Returns:
        float32 of the same shape, within (-2, 2).
    """
    total = np.zeros(x.shape, np.float32)
    for octave in range(octaves):
        field = smooth_noise((key + octave * 7919) % 2**64, x, y, step / 2**octave)
        total += field * np.float32(0.5**octave)
    return total


def sensor_noise(key: int, shape: tuple[int, int]) -> Array:
    """Draws white noise of mean 0 and standard deviation 1, nearly Gaussian.

    Args:
        key: Names the image and band.
        shape: (H, W).

    Returns:
        (H, W) float32: sums of four uniform bytes.
    """
    count = shape[0] * shape[1] * _BYTES_SUMMED
    words = np.random.Philox(key=key).random_raw((count + 7) // 8)
    parts = words.astype("<u8", copy=False).view(np.uint8)[:count].reshape(_BYTES_SUMMED, *shape)
    total = np.zeros(shape, np.int16)
    for part in parts:
        total += part
    return (total - np.int16(510)).astype(np.float32) / np.float32(_STD_OF_SUM)
