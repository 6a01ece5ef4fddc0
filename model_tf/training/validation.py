"""Scores a net on the validation split while it is trained."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from model_tf.data.batches import Images, make_dataset, steps_per_epoch
from model_tf.data.info import DatasetInfo
from model_tf.network.losses import MaskedBinaryCrossentropy, mean_or_none
from model_tf.scores.finite import require_finite_logits
from model_tf.scores.histogram import ScoreHistogram, mean_auc
from model_tf.scores.panel import PanelCells
from model_tf.scores.plots import Prediction
from model_tf.training.settings import TrainSettings

_SPLIT = "validation"
_SAMPLE = 0
"""The epoch whose order and years make the sample of `validation_pairs`: the same whenever it is drawn."""

_DIVERGED = (
    "Training diverged. Begin a new run in another --output, with a lower --peak_rate or a longer "
    "--warmup_epochs."
)


@dataclasses.dataclass(frozen=True)
class ValidationResult:
    """Scores of one validation.

    Attributes:
        loss: The training's loss over all known entries at once; None where nothing is known.
        auc: AUC by name of category, None where it has no positives or no negatives.
        mean_auc: Mean of those that are scored, None where none is.
        predictions: Of a few cells, to look at.
    """

    loss: float | None
    auc: dict[str, float | None]
    mean_auc: float | None
    predictions: tuple[Prediction, ...] = dataclasses.field(default=(), repr=False)


@dataclasses.dataclass(frozen=True)
class Validation:
    """The validation split, or a fixed sample of it, as a run sees it.

    Attributes:
        info: The dataset.
        settings: The run's.
    """

    info: DatasetInfo
    settings: TrainSettings

    @functools.cached_property
    def batches(self) -> Any:
        """A `tf.data.Dataset` of (x, y, ids), as `make_dataset` gives it, with its cardinality."""
        pairs = self.settings.pairs_per_batch
        epoch = _SAMPLE if self.settings.validation_pairs else None
        steps = steps_per_epoch(self.info, _SPLIT, pairs, epoch)
        if self.settings.validation_pairs:
            steps = min(steps, -(-self.settings.validation_pairs // pairs))
        batches = make_dataset(
            self.info,
            _SPLIT,
            pairs_per_batch=pairs,
            statistics=self.info.statistics,
            seed=self.settings.seed,
            epoch=epoch,
            with_ids=True,
        )
        return batches.take(steps)

    def run(
        self,
        predict: Callable[[Images], np.ndarray],
        loss: MaskedBinaryCrossentropy,
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> ValidationResult | None:
        """Scores a net.

        Args:
            predict: From a batch of images to logits (N, H, W, C).
            loss: The training's.
            is_stopped: Asked before every batch, as often on every host.

        Returns:
            The scores; None where it was stopped.

        Raises:
            InvalidInputError: A logit is NaN or infinite.
        """
        histogram = ScoreHistogram(self.info.categories)
        panel = PanelCells(self.info.categories, self.info.statistics)
        total = known = 0.0
        for x, y, ids in self.batches.as_numpy_iterator():
            if is_stopped():
                return None
            logits = predict(x)
            require_finite_logits(logits, ids, "The net under training", _DIVERGED)
            histogram.update(logits, y)
            panel.offer(x, y, ids, logits)
            batch_total, batch_known = loss.sums(y, logits)
            total += float(batch_total)
            known += float(batch_known)
        scores = histogram.scores()
        return ValidationResult(
            loss=mean_or_none(total, known),
            auc={name: score.auc for name, score in scores.items()},
            mean_auc=mean_auc(scores),
            predictions=panel.predictions(),
        )
