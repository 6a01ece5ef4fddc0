"""The eight symmetries of the square: rotations by 90 degrees and mirror images.

They are drawn once a pair and applied to both grids, both images and the label alike, so that pixels stay on top of
each other. A cell seen from another side is as good a cell: the network learns no direction.
"""

import tensorflow as tf

from model_tf.data.keyed_draw import keyed_draw

NUM_SYMMETRIES = 8

# Symmetry k is np.rot90 k % 4 times, then for k >= 4 a mirror image of left and right. A rotation is a swap of rows
# and columns, and a reversal of one of the two; so each symmetry is a swap or none, then reversed rows or not, then
# reversed columns or not.
_SWAPPED = (False, True, False, True) * 2
_ROWS_REVERSED = (False, True, True, False) * 2
_COLUMNS_REVERSED = (False, False, True, True, True, True, False, False)


def draw_symmetry(cell_id: tf.Tensor, seed: int, epoch: int) -> tf.Tensor:
    """Draws a symmetry by a keyed hash of (seed, epoch, cell), whatever the order in which cells come.

    Args:
        cell_id: () int64.
        seed: The run's seed.
        epoch: The epoch.

    Returns:
        () int64, 0 to 7 with equal chance.
    """
    return keyed_draw(cell_id, NUM_SYMMETRIES, seed, "symmetry", epoch)


def apply_symmetry(pixels: tf.Tensor, symmetry: tf.Tensor) -> tf.Tensor:
    """Applies a symmetry: `np.rot90` k % 4 times, then for k >= 4 a mirror image of left and right.

    Args:
        pixels: (..., S, S, C), rows from the north.
        symmetry: () integer k, 0 to 7.

    Returns:
        The same shape and dtype.
    """
    rank = pixels.shape.rank
    rows, columns = rank - 3, rank - 2
    order = [*range(rows), columns, rows, rank - 1]
    swapped = tf.cond(
        tf.gather(_SWAPPED, symmetry), lambda: tf.transpose(pixels, order), lambda: tf.identity(pixels)
    )
    is_reversed = tf.stack([tf.gather(_ROWS_REVERSED, symmetry), tf.gather(_COLUMNS_REVERSED, symmetry)])
    return tf.ensure_shape(tf.reverse(swapped, tf.boolean_mask([rows, columns], is_reversed)), pixels.shape)
