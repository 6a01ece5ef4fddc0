"""Keeps what the panel shows."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from beam_pipeline.records.categories import CategoryTable
from beam_pipeline.records.statistics import BandStatistics
from model_tf.data.batches import Images
from model_tf.data.decoding import NO_ID
from model_tf.scores.plots import Prediction, image_of, probabilities_of

PANEL_CELLS = 3
"""Cells on the panel where none are asked for."""


_ORDINALS = ("first", "second")


@dataclasses.dataclass(frozen=True)
class _Kept:
    rank: tuple[int, int]  # of the cell; lower is better
    white: float  # share of the image
    prediction: Prediction


class PanelCells:
    """Keeps predictions for the panel, of one image a cell: the one that is white in the fewest pixels.

    No score decides what is kept, so it is the same for every net.

    Args:
        categories: Of the labels.
        statistics: By which images are standardised.
        cells: The cells to keep, in this order. If there are none, the `PANEL_CELLS` cells whose labels hold most
            categories, of equal ones those with the lowest ids.
    """

    def __init__(
        self, categories: CategoryTable, statistics: BandStatistics, cells: Sequence[int] = ()
    ) -> None:
        self._categories = categories
        self._statistics = statistics
        self._cells = tuple(cells)
        self._kept: dict[int, _Kept] = {}

    def offer(
        self,
        x: Images,
        y: npt.NDArray[np.uint8],
        ids: Mapping[str, npt.NDArray[np.int64]],
        logits: npt.NDArray[np.float32],
    ) -> None:
        """Shows a batch of the split."""
        for row in np.flatnonzero(ids["cell_id"] != NO_ID):
            cell = int(ids["cell_id"][row])
            rank = self._rank(cell, y[row])
            if not self._wants(cell, rank):
                continue
            image = image_of(x["gsd_10"][row], self._statistics)
            white = float((image == 255).all(axis=-1).mean())
            if cell in self._kept and self._kept[cell].white <= white:
                continue
            title = f"cell {cell}, {ids['year'][row]}, {_ORDINALS[int(ids['slot'][row])]} image"
            prediction = Prediction(title, image, y[row].copy(), probabilities_of(logits[row]))
            self._kept[cell] = _Kept(rank, white, prediction)
            if not self._cells and len(self._kept) > PANEL_CELLS:
                del self._kept[max(self._kept, key=lambda kept: self._kept[kept].rank)]

    def predictions(self) -> tuple[Prediction, ...]:
        """Returns what is kept, in the order asked for or with most categories first."""
        order = self._cells or sorted(self._kept, key=lambda cell: self._kept[cell].rank)
        return tuple(self._kept[cell].prediction for cell in order if cell in self._kept)

    def _wants(self, cell: int, rank: tuple[int, int]) -> bool:
        if self._cells:
            return cell in self._cells
        return (
            cell in self._kept
            or len(self._kept) < PANEL_CELLS
            or rank < max(kept.rank for kept in self._kept.values())
        )

    def _rank(self, cell: int, label: npt.NDArray[np.uint8]) -> tuple[int, int]:
        channels = zip(self._categories.channels, self._categories.values, strict=True)
        held = [np.bincount(values, minlength=256) for values in label.reshape(-1, label.shape[-1]).T]
        return -sum(int(held[channel][value] > 0) for channel, value in channels), cell
