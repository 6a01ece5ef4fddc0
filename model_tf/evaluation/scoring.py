"""Scores a net on a split, batch by batch, and keeps what the panel shows."""

import concurrent.futures
import dataclasses
import os
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from beam_pipeline.records.statistics import BandStatistics
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.progress import Progress
from model_tf.data.batches import Images, make_dataset
from model_tf.data.decoding import NO_ID
from model_tf.data.faults import explain_data_faults
from model_tf.data.info import DatasetInfo
from model_tf.scores.finite import require_finite_logits
from model_tf.scores.histogram import ScoreHistogram
from model_tf.scores.panel import PanelCells
from model_tf.scores.plots import Prediction

_COUNTING_THREADS = max(1, (os.cpu_count() or 1) // 2)
"""The other half of the cores decode images. On a CPU the net uses them all, and takes most of the time."""

_OTHER_CHECKPOINT = (
    "Its weights are too large: give another --checkpoint, or train again with a lower --peak_rate."
)


@dataclasses.dataclass(frozen=True)
class SplitScores:
    """The counts, and what was kept, of a split.

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
    net: str = "The net",
) -> SplitScores:
    """Scores a net over all cells, years and images of a split.

    Args:
        predict: From a batch of images to logits (N, H, W, C).
        info: The dataset.
        split: "training", "validation" or "testing".
        statistics: By which images are standardised: those that the net was trained with.
        pairs_per_batch: Pairs of images at once.
        cells: Ids of the panel's cells; by default those of the split that hold most categories.
        net: Where the net is from, for messages.

    Returns:
        The scores' histogram and the panel's predictions.

    Raises:
        InvalidInputError: The split has no examples, a shard is damaged, or a logit is NaN or infinite; the net is
            not asked again after that.
    """
    batches = make_dataset(
        info, split, pairs_per_batch=pairs_per_batch, statistics=statistics, epoch=None, with_ids=True
    )
    histogram = ScoreHistogram(info.categories, threads=_COUNTING_THREADS)
    panel = PanelCells(info.categories, statistics, cells)
    images = 0
    with (
        explain_data_faults(info),
        Progress(info.examples[split], f"scoring {split}", "pairs") as progress,
        # Scores are counted while the net is at the next batch.
        concurrent.futures.ThreadPoolExecutor(1) as counting,
    ):
        counted: concurrent.futures.Future[None] | None = None
        for x, y, ids in batches.as_numpy_iterator():
            logits = predict(x)
            require_finite_logits(logits, ids, net, _OTHER_CHECKPOINT)
            if counted is not None:
                counted.result()
            counted = counting.submit(histogram.update, logits, y, ids["cell_id"])
            panel.offer(x, y, ids, logits)
            is_image = ids["cell_id"] != NO_ID
            images += int(is_image.sum())
            progress.update(int((is_image & (ids["slot"] == 0)).sum()))
        if counted is not None:
            counted.result()
    return SplitScores(histogram, images, panel.predictions())


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
