"""The report of a split's scores: `scores.json`, a table for people, and which categories share a figure."""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from beam_pipeline.records.categories import CategoryTable
from model_tf.scores.bins import AUC_ERROR
from model_tf.scores.histogram import ScoreHistogram, mean_of
from model_tf.scores.plots import probabilities_of, readable

DEFINITIONS = {
    "positives": "Known pixels that hold the category, counted once for every image and year.",
    "negatives": "Known pixels that hold another category of its channel, or none.",
    "cells": "Cells with at least one positive.",
    "reason": "Why a category is not scored; null where it is.",
    "auc": "Area under the ROC curve, ties counted as a half.",
    "auc_error": f"The most by which auc is off, as close scores are counted together; at most {AUC_ERROR:.1e}.",
    "average_precision": "Precision, weighted by the steps of recall, as in scikit-learn.",
    "average_precision_error": "The most by which average_precision is off, as close scores are counted together.",
    "iou": "Intersection over union at threshold.",
    "threshold": "The logit from which on a pixel counts as positive. It is chosen for the highest iou on these very "
    "pixels, so iou is what the best threshold gives, not what one chosen beforehand would.",
    "macro": "Mean over the scored categories.",
    "micro": "Over all pairs of a known pixel and a scored category, taken as one.",
}
"""The meaning of the keys of `scores.json`; a copy goes into the file."""

_MOST_KEY_CHARS = 60

_MOST_NAMES = 4
"""Categories that a figure is named after; of more it is called "other"."""


@dataclasses.dataclass(frozen=True)
class Group:
    """Categories that are drawn and averaged together.

    Attributes:
        key: In `scores.json` and file names.
        title: For people.
        names: The categories.
    """

    key: str
    title: str
    names: tuple[str, ...]


def groups_of(categories: CategoryTable) -> tuple[Group, ...]:
    """Groups the categories as the paper's figures 8 and 7 do: land use, which is channel 0, and all others."""
    first = tuple(categories.names[index] for index in categories.of_channel(0))
    others = tuple(name for name in categories.names if name not in first)
    title = readable(categories.channel_names[0])
    groups = [Group(_key(title, "all"), title.capitalize(), first)]
    if len(others) <= _MOST_NAMES:
        key = _key("_".join(others), "all", groups[0].key)
        groups.append(Group(key, ", ".join(map(readable, others)).capitalize(), others))
    else:
        groups.append(Group(_key("other", groups[0].key), "Other categories", others))
    return tuple(group for group in groups if group.names)


def _key(title: str, *taken: str) -> str:
    """Returns what of a name may be part of a file's name: an ontology's may be any text."""
    key = re.sub(r"[^A-Za-z0-9]+", "_", title).strip("_")[:_MOST_KEY_CHARS] or "categories"
    return f"{key}_2" if key in taken else key


class ScoreReport:
    """The scores of a split.

    Args:
        histogram: Their counts.

    Attributes:
        scores: By category.
        groups: Categories that share a figure.
        averages: By key of a group, and "all".
    """

    def __init__(self, histogram: ScoreHistogram) -> None:
        self._histogram = histogram
        self.scores = histogram.scores()
        self.groups = groups_of(histogram.categories)
        self.averages = {group.key: self._averages(group.names) for group in self.groups}
        self.averages["all"] = self._averages(histogram.categories.names)

    def to_json(self) -> dict[str, Any]:
        """Returns the part of `scores.json` that holds scores."""
        return {
            "categories": {name: score.to_json() for name, score in self.scores.items()},
            "averages": self.averages,
            "definitions": DEFINITIONS,
        }

    def curves(self) -> dict[str, dict[str, list[float]]]:
        """Returns what `roc_curves.json` holds: points of the curve of every category that is scored."""
        return {
            name: {
                "false_positive_rate": np.round(score.roc[0], 6).tolist(),
                "true_positive_rate": np.round(score.roc[1], 6).tolist(),
            }
            for name, score in self.scores.items()
            if score.roc is not None
        }

    def table(self) -> str:
        """Returns the scores as a table for people."""
        width = max(len(name) for name in [*self.scores, *self.averages]) + 9
        lines = [
            f"{'':{width}}{'AUC':>7}{'AP':>8}{'chance':>8}{'IoU':>8}{'at p >=':>9}{'positives':>14}{'cells':>7}"
        ]
        for name, score in self.scores.items():
            support = f"{score.positives:>14,}{'' if score.cells is None else score.cells:>7}"
            if score.reason is not None or score.threshold is None:
                lines.append(f"{name:{width}}{'not scored: ' + str(score.reason)}")
                continue
            chance = score.positives / (score.positives + score.negatives)
            probability = probabilities_of(np.array([score.threshold]))[0]
            lines.append(
                f"{name:{width}}{score.auc:>7.4f}{score.average_precision:>8.4f}{chance:>8.4f}{score.iou:>8.4f}"
                f"{probability:>9.2g}{support}"
            )
        for key, of_group in self.averages.items():
            macro, micro = of_group["macro"], of_group["micro"]
            if macro["auc"] is not None:
                lines += [
                    f"{key + ' (macro)':{width}}{macro['auc']:>7.4f}{macro['average_precision']:>8.4f}{'':8}"
                    f"{macro['iou']:>8.4f}",
                    f"{key + ' (micro)':{width}}{micro['auc']:>7.4f}{micro['average_precision']:>8.4f}",
                ]
        return "\n".join(lines)

    def _averages(self, names: Sequence[str]) -> dict[str, Any]:
        scored = [self.scores[name] for name in names if self.scores[name].reason is None]
        pooled = self._histogram.pooled("micro", [score.name for score in scored])
        return {
            "categories": [score.name for score in scored],
            "macro": {
                "auc": mean_of(score.auc for score in scored),
                "average_precision": mean_of(score.average_precision for score in scored),
                "iou": mean_of(score.iou for score in scored),
            },
            "micro": {"auc": pooled.auc, "average_precision": pooled.average_precision},
        }
