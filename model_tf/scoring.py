"""Scores a net on a split, batch by batch, and keeps what the panel shows."""

import concurrent.futures
import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tqdm import tqdm

from beam_pipeline.faults import InvalidInputError
from model_tf.categories import CategoryTable
from model_tf.data_faults import explain_data_faults
from model_tf.dataset import make_dataset
from model_tf.dataset_info import BandStatistics, DatasetInfo
from model_tf.decoding import NO_ID
from model_tf.devices import Images
from model_tf.plots import Prediction, image_of, probabilities_of
from model_tf.scores import ScoreHistogram

PANEL_CELLS = 3
"""Cells on the panel where none are asked for."""

_COUNTING_THREADS = max(1, (os.cpu_count() or 1) // 2)
"""The other half of the cores decode images. On a CPU the net uses them all, and takes most of the time."""

_ORDINALS = ("first", "second")


@dataclasses.dataclass(frozen=True)
class SplitScores:
    """What was counted and kept of a split.

    Attributes:
        histogram: Counts of all scores.
        images: Number of images.
        predictions: For the panel.
    """

    histogram: ScoreHistogram
    images: int
    predictions: tuple[Prediction, ...]


def score_split(
    predict: Callable[[Images], npt.NDArray[np.float32]],
    info: DatasetInfo,
    split: str,
    *,
    statistics: BandStatistics,
    pairs_per_batch: int,
    cells: Sequence[int] = (),
) -> SplitScores:
    """Scores a net over all cells, years and images of a split.

    Args:
        predict: From a batch of images to logits (N, H, W, C).
        info: The dataset.
        split: "training", "validation" or "testing".
        statistics: By which images are standardised: those that the net was trained with.
        pairs_per_batch: Pairs of images at once.
        cells: Ids of the panel's cells; by default those of the split that hold most categories.

    Returns:
        The scores' histogram and the panel's predictions.

    Raises:
        InvalidInputError: The split has no examples, or a shard is damaged.
    """
    batches = make_dataset(
        info, split, pairs_per_batch=pairs_per_batch, statistics=statistics, epoch=None, with_ids=True
    )
    histogram = ScoreHistogram(info.categories, threads=_COUNTING_THREADS)
    panel = PanelCells(info.categories, statistics, cells)
    images = 0
    with (
        explain_data_faults(info),
        tqdm(desc=f"scoring {split}", total=info.examples[split], unit="pair") as bar,
        # Scores are counted while the net is at the next batch.
        concurrent.futures.ThreadPoolExecutor(1) as counting,
    ):
        counted: concurrent.futures.Future[None] | None = None
        for x, y, ids in batches.as_numpy_iterator():
            logits = predict(x)
            if counted is not None:
                counted.result()
            counted = counting.submit(histogram.update, logits, y, ids["cell_id"])
            panel.offer(x, y, ids, logits)
            is_image = ids["cell_id"] != NO_ID
            images += int(is_image.sum())
            bar.update(int((is_image & (ids["slot"] == 0)).sum()))
        if counted is not None:
            counted.result()
    return SplitScores(histogram, images, panel.predictions())


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


def require_cells(info: DatasetInfo, split: str, cells: Sequence[int]) -> None:
    """Checks that cells have examples in a split, before anything is computed.

    Only ids are decoded, and reading ends where all are found.

    Raises:
        InvalidInputError: They have none.
    """
    missing, some = set(cells), []
    feature = {"cell_id": tf.io.FixedLenFeature([], tf.int64)}
    info.require_examples(split)
    with explain_data_faults(info):
        payloads = tf.data.TFRecordDataset(list(info.shards[split]), num_parallel_reads=4).batch(16)
        for ids in payloads.map(lambda payload: tf.io.parse_example(payload, feature)["cell_id"]):
            missing.difference_update(ids.numpy().tolist())
            some.append(int(ids[0]))
            if not missing:
                return
    raise InvalidInputError(
        f"--cells must be cells with examples in the {split} split of {info.folder}. Received: "
        f"{', '.join(map(str, sorted(missing)))}. There are for example {', '.join(map(str, sorted(set(some))[:5]))}."
    )
