"""The worth of the order of positives and negatives by score: ROC, AUC, average precision, best IoU."""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from model_tf.scores.bins import ScoreBins, Slots, to_scores

_CURVE_POINTS = 512
"""Points kept of a ROC curve, evenly spaced along it; a figure of the paper is about as many pixels wide."""


class Ranking:
    """Positives and negatives of one category in the order of their scores, from the highest to the lowest.

    Scores in the same slot of the bins count as equal. Where a slot lies within another, the outer one's scores
    are taken to lie in its middle.

    Args:
        positives: Scores of the positives, at least one.
        negatives: Scores of the negatives, at least one.
    """

    def __init__(self, positives: ScoreBins, negatives: ScoreBins) -> None:
        self._positives = positives.slots()
        self._negatives = negatives.slots()
        middles = [_middle(self._positives), _middle(self._negatives)]
        # Twice the middle of a slot is shared by no other slot, whatever their widths.
        groups, index = np.unique(-np.concatenate(middles), return_inverse=True)
        of_positives, of_negatives = np.split(index, [len(self._positives.low)])
        self._tp = np.cumsum(
            np.bincount(of_positives, self._positives.count, len(groups))
        )  # (G,) exact: < 2**53
        self._fp = np.cumsum(np.bincount(of_negatives, self._negatives.count, len(groups)))
        self._low = np.empty(len(groups), np.uint32)
        self._low[of_positives] = self._positives.low
        self._low[of_negatives] = self._negatives.low

    def auc(self) -> float:
        """Returns the area under the ROC curve: the share of pairs in the right order, ties as a half."""
        return float(np.trapezoid(_from_zero(self._tp), _from_zero(self._fp)) / (self._tp[-1] * self._fp[-1]))

    def average_precision(self) -> float:
        """Returns the mean of the precision over the positives, each at its own score as threshold."""
        steps = np.diff(self._tp, prepend=0.0)
        return float(np.sum(steps * self._tp / (self._tp + self._fp)) / self._tp[-1])

    def best_iou(self) -> tuple[float, float]:
        """Returns the highest intersection over union of any threshold, and that threshold (a logit)."""
        iou = self._tp / (self._tp[-1] + self._fp)
        best = int(np.argmax(iou))
        return float(iou[best]), float(to_scores(self._low[best : best + 1])[0])

    def roc(self) -> npt.NDArray[np.float64]:
        """Returns (2, K) false and true positive rates, from (0, 0) to (1, 1)."""
        curve = np.stack([_from_zero(self._fp) / self._fp[-1], _from_zero(self._tp) / self._tp[-1]])
        along = curve.sum(axis=0)  # 0 to 2: both rates only grow
        kept = np.searchsorted(along, np.linspace(0, 2, _CURVE_POINTS), side="right") - 1
        return curve[:, np.unique(np.append(kept, curve.shape[1] - 1))]

    def auc_error(self) -> float:
        """Returns the most by which `auc` can be off: every score is known only up to its slot."""
        highest = _auc_at(self._positives.high, self._negatives.low, self._positives, self._negatives)
        lowest = _auc_at(self._positives.low, self._negatives.high, self._positives, self._negatives)
        auc = self.auc()
        return max(highest - auc, auc - lowest, 0.0)

    def average_precision_error(self) -> float:
        """Returns the most by which `average_precision` can be off."""
        highest = self._precision_at(self._positives.high, self._negatives.low, worst=False)
        lowest = self._precision_at(self._positives.low, self._negatives.high, worst=True)
        precision = self.average_precision()
        return max(highest - precision, precision - lowest, 0.0)

    def _precision_at(
        self, positive_keys: npt.NDArray[np.uint32], negative_keys: npt.NDArray[np.uint32], worst: bool
    ) -> float:
        """Average precision with the scores of each slot at the given key."""
        order = np.argsort(positive_keys)[::-1]
        keys, count = positive_keys[order], self._positives.count[order].astype(np.float64)
        false = float(self._fp[-1]) - _below(negative_keys, self._negatives.count, keys, "left")
        true = _cumulated(count)
        # Slots may share a key: all of them are taken at it.
        last = np.searchsorted(-keys.astype(np.int64), -keys.astype(np.int64), side="right") - 1
        precision = true[last] / (true[last] + false)
        if worst:
            # Positives that differ come one by one. Precision is a concave function of how many came, so its
            # mean is at least that of the first and the last.
            first = true - count + 1
            one_by_one = (first / (first + false) + true / (true + false)) / 2
            exact = self._positives.high[order] == self._positives.low[order]
            precision = np.where(exact, precision, one_by_one)
        return float(np.sum(count * precision) / true[-1])


def _middle(slots: Slots) -> npt.NDArray[np.int64]:
    """Returns twice the middle of the keys that each slot can hold."""
    return slots.low.astype(np.int64) + slots.high


def _cumulated(counts: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    total: npt.NDArray[np.float64] = np.cumsum(counts, dtype=np.float64)
    return total


def _from_zero(counts: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    return np.concatenate([[0.0], counts])


def _below(
    keys: npt.NDArray[np.uint32],
    count: npt.NDArray[np.int64],
    limits: npt.NDArray[np.uint32],
    side: Literal["left", "right"],
) -> npt.NDArray[np.float64]:
    """Returns how many keys lie below each limit ("left"), or not above it ("right")."""
    order = np.argsort(keys)
    cumulated = _from_zero(_cumulated(count[order]))
    return cumulated[np.searchsorted(keys[order], limits, side)]


def _auc_at(
    positive_keys: npt.NDArray[np.uint32],
    negative_keys: npt.NDArray[np.uint32],
    positives: Slots,
    negatives: Slots,
) -> float:
    """AUC with the scores of each slot at the given key."""
    below = _below(negative_keys, negatives.count, positive_keys, "left")
    not_above = _below(negative_keys, negatives.count, positive_keys, "right")
    right = np.sum(positives.count * (below + not_above) / 2)
    return float(right / (positives.count.sum() * float(negatives.count.sum())))
