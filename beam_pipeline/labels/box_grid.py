"""Finds the boxes of a fixed set that small boxes meet, without an object for each as a tree of geometries needs."""

import numpy as np
import numpy.typing as npt

from beam_pipeline.labels.chip_boxes import Boxes

_STEP_DEG = 0.02
_ROWS = 1 << 20  # more than there are squares from pole to pole

Indices = npt.NDArray[np.int64]


class BoxGrid:
    """Boxes by the squares of a grid that they lie in.

    Args:
        boxes: (M, 4) west, south, east and north in degrees; of some squares each.
    """

    def __init__(self, boxes: Boxes) -> None:
        self._boxes = boxes
        owners, squares = _squares(boxes)
        order = np.argsort(squares, kind="stable")
        self._owners, self._squares = owners[order], squares[order]

    def query(self, bounds: Boxes) -> tuple[Indices, Indices]:
        """Finds the pairs that meet, in an edge or corner too.

        Args:
            bounds: (N, 4) as `boxes`, finite.

        Returns:
            (P,) indices of `bounds`, and (P,) of boxes; in no order, some more than once.
        """
        rows, squares = _squares(bounds)
        first = np.searchsorted(self._squares, squares, side="left")
        counts = np.searchsorted(self._squares, squares, side="right") - first
        rows = np.repeat(rows, counts)
        boxes = self._owners[_runs(first, counts)]
        meet = np.ones(len(rows), np.bool_)
        for axis in (0, 1):
            meet &= bounds[rows, axis] <= self._boxes[boxes, axis + 2]
            meet &= bounds[rows, axis + 2] >= self._boxes[boxes, axis]
        return rows[meet], boxes[meet]


def _squares(boxes: Boxes) -> tuple[Indices, Indices]:
    """Returns the pairs of boxes and squares of the grid that meet: indices of boxes, and numbers of squares."""
    ends = np.floor(boxes / _STEP_DEG).astype(np.int64)
    wide, high = ends[:, 2] - ends[:, 0] + 1, ends[:, 3] - ends[:, 1] + 1
    counts = wide * high
    owners = np.repeat(np.arange(len(boxes)), counts)
    places = _runs(np.zeros(len(boxes), np.int64), counts)
    columns = ends[owners, 0] + places // high[owners]
    return owners, columns * _ROWS + ends[owners, 1] + places % high[owners]


def _runs(firsts: Indices, counts: Indices) -> Indices:
    """Returns runs of numbers, one behind the other, by the first of each and how many it has."""
    numbers: Indices = np.repeat(firsts - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
    return numbers
