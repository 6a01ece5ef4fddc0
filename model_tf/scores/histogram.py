"""Scores of every category over known pixels, counted in one pass: ROC, AUC, average precision and IoU."""

import concurrent.futures
import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from beam_pipeline.records.categories import CategoryTable
from beam_pipeline.records.schema import UNLABELED
from beam_pipeline.runtime.faults import InvalidInputError
from model_tf.scores.bins import ScoreBins, to_keys
from model_tf.scores.ranking import Ranking

_IMAGES_AT_ONCE = 8  # 18 MB of keys; more at once is not faster


@dataclasses.dataclass(frozen=True)
class ClassScore:
    """The quality with which one category, or a group of them, is told apart from the rest.

    A category without positives or without negatives is not scored: `reason` says so, the scores are None.

    Attributes:
        name: The category's.
        positives: Known pixels that hold it. A pixel counts once for every image.
        negatives: Known pixels that hold another category of its channel, or none.
        cells: Cells with at least one positive; None where cells were not told.
        reason: Why it is not scored; None where it is.
        auc: Area under the ROC curve.
        auc_error: The most by which `auc` is off because close scores were counted together.
        average_precision: As scikit-learn defines it: precision, weighted by the steps of recall.
        average_precision_error: As `auc_error`.
        iou: Intersection over union at `threshold`.
        threshold: The logit from which on a pixel counts as positive. It is the one with the highest IoU on these
            very pixels, so `iou` is an upper bound of what a threshold chosen elsewhere gives.
        roc: (2, K) false and true positive rates along the curve, from (0, 0) to (1, 1), thinned for drawing.
    """

    name: str
    positives: int
    negatives: int
    cells: int | None = None
    reason: str | None = None
    auc: float | None = None
    auc_error: float | None = None
    average_precision: float | None = None
    average_precision_error: float | None = None
    iou: float | None = None
    threshold: float | None = None
    roc: npt.NDArray[np.float64] | None = dataclasses.field(default=None, repr=False)

    def to_json(self) -> dict[str, Any]:
        """Returns everything but the curve, for `json.dump`."""
        content = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del content["roc"]
        return content


class ScoreHistogram:
    """Counts the logits of every category at known pixels. Of the scores nothing else is kept.

    Args:
        categories: What the logits and the label's values mean.
        threads: Categories that are counted at once; numpy lets threads run side by side.
    """

    def __init__(self, categories: CategoryTable, threads: int = 1) -> None:
        self.categories = categories
        self._threads = threads
        self._positives = [ScoreBins() for _ in categories.names]
        self._negatives = [ScoreBins() for _ in categories.names]
        self._cells: list[set[int]] = [set() for _ in categories.names]
        self._cells_told = True

    @property
    def num_bytes(self) -> int:
        """Memory of the counts."""
        return sum(bins.num_bytes for bins in (*self._positives, *self._negatives))

    def update(
        self,
        logits: npt.NDArray[Any],
        label: npt.NDArray[np.uint8],
        cells: npt.NDArray[np.int64] | None = None,
    ) -> None:
        """Counts a batch.

        Args:
            logits: (N, H, W, C), any float dtype; counted as float32.
            label: (N, H, W, 3) uint8; 254 = none, 255 = unknown, which is not counted.
            cells: (N,) cell ids, to count the cells that hold a category.

        Raises:
            InvalidInputError: The label holds a value that is no category's.
            ValueError: The shapes do not fit, or a logit is NaN or infinite.
        """
        expected = (*label.shape[:-1], len(self.categories))
        if logits.shape != expected or label.shape[-1] != len(self.categories.channel_names):
            raise ValueError(
                f"logits must be (N, H, W, {len(self.categories)}) and label (N, H, W, "
                f"{len(self.categories.channel_names)}). Received: {logits.shape} and {label.shape}"
            )
        self._cells_told &= cells is not None
        for first in range(0, len(label), _IMAGES_AT_ONCE):
            part = slice(first, first + _IMAGES_AT_ONCE)
            self._count(
                np.asarray(logits[part], np.float32), label[part], None if cells is None else cells[part]
            )

    def merge(self, other: Self) -> None:
        """Adds what another histogram of the same categories counted.

        Raises:
            ValueError: The categories differ.
        """
        if other.categories != self.categories:
            raise ValueError(f"categories must agree. Received: {self.categories} and {other.categories}")
        for mine, theirs in zip(
            self._positives + self._negatives, other._positives + other._negatives, strict=True
        ):
            mine.merge(theirs)
        for cells, others in zip(self._cells, other._cells, strict=True):
            cells |= others
        self._cells_told &= other._cells_told

    def scores(self) -> dict[str, ClassScore]:
        """Returns the scores by category, in the order of the logits."""
        return {
            name: _score(
                name,
                self._positives[index],
                self._negatives[index],
                len(self._cells[index]) if self._cells_told else None,
            )
            for index, name in enumerate(self.categories.names)
        }

    def pooled(self, name: str, names: Iterable[str]) -> ClassScore:
        """Scores categories as one: the micro average, over all pairs of a pixel and a category.

        Args:
            name: Of the result.
            names: The categories. Those that are not scored by themselves are left out.
        """
        positives, negatives = ScoreBins(), ScoreBins()
        cells: set[int] = set()
        for index in map(self.categories.names.index, names):
            if self._positives[index].total and self._negatives[index].total:
                positives.merge(self._positives[index])
                negatives.merge(self._negatives[index])
                cells |= self._cells[index]
        return _score(name, positives, negatives, len(cells) if self._cells_told else None)

    def _count(
        self,
        logits: npt.NDArray[np.float32],
        label: npt.NDArray[np.uint8],
        cells: npt.NDArray[np.int64] | None,
    ) -> None:
        if not np.isfinite(logits).all():
            raise ValueError("logits must be finite: the network's weights or its input are broken")
        # (C, n): the scores of a category side by side.
        keys = np.ascontiguousarray(to_keys(logits).reshape(-1, len(self.categories)).T)
        values = np.ascontiguousarray(label.reshape(-1, label.shape[-1]).T)  # (channels, n)
        self._require_valid(values)
        known = values != UNLABELED

        def count(index: int) -> None:
            channel = self.categories.channels[index]
            positive = values[channel] == self.categories.values[index]
            self._positives[index].add(keys[index, positive])
            self._negatives[index].add(keys[index, known[channel] & ~positive])
            if cells is not None:
                holds = positive.reshape(len(label), -1).any(axis=1)
                self._cells[index].update(cells[holds].tolist())

        with concurrent.futures.ThreadPoolExecutor(self._threads) as pool:
            list(pool.map(count, range(len(self.categories))))

    def _require_valid(self, values: npt.NDArray[np.uint8]) -> None:
        for channel, name in enumerate(self.categories.channel_names):
            valid = self.categories.valid_values(channel)
            found = np.flatnonzero(np.bincount(values[channel], minlength=256))
            wrong = np.setdiff1d(found, valid)
            if len(wrong):
                raise InvalidInputError(
                    f"label: channel {channel} ({name}) must hold only {valid}. Received: {wrong.tolist()}. "
                    "The labels were made with another ontology than dataset.json names: build the dataset again."
                )


def mean_auc(scores: Mapping[str, ClassScore]) -> float | None:
    """Returns the mean AUC of the categories that are scored, None where there are none."""
    return mean_of(score.auc for score in scores.values())


def mean_of(values: Iterable[float | None]) -> float | None:
    """Returns the mean of what is not None, None where nothing is."""
    numbers = [value for value in values if value is not None]
    return sum(numbers) / len(numbers) if numbers else None


def _score(name: str, positives: ScoreBins, negatives: ScoreBins, cells: int | None) -> ClassScore:
    missing = [kind for kind, bins in (("positives", positives), ("negatives", negatives)) if not bins.total]
    if missing:
        reason = f"no {' and no '.join(missing)} among the known pixels"
        return ClassScore(name, positives.total, negatives.total, cells, reason)
    ranking = Ranking(positives, negatives)
    iou, threshold = ranking.best_iou()
    return ClassScore(
        name,
        positives.total,
        negatives.total,
        cells,
        auc=ranking.auc(),
        auc_error=ranking.auc_error(),
        average_precision=ranking.average_precision(),
        average_precision_error=ranking.average_precision_error(),
        iou=iou,
        threshold=threshold,
        roc=ranking.roc(),
    )
