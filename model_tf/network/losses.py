"""The loss: binary cross-entropy over what the map knows."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from beam_pipeline.records.categories import CategoryTable
from model_tf.network.targets import Tensor, targets_of_label


@keras.saving.register_keras_serializable("model_tf")
class MaskedBinaryCrossentropy(keras.losses.Loss):
    """Binary cross-entropy of logits, averaged over the known (pixel, category) entries of a batch only.

    Keras' own averages the categories of a pixel before weights apply, and divides by what is masked too.

    The value is sum(w e) / sum(w) over the known entries, e the cross-entropy of an entry and w its
    category's weight, 1 unless `class_weights` says otherwise. Where nothing is known it is 0, and so is
    every gradient.

    Args:
        categories: The categories, in the order of the logits.
        class_weights: Weight by name of category; 1 for those left out. They must not be negative.
    """

    def __init__(self, categories: CategoryTable, class_weights: Mapping[str, float] | None = None) -> None:
        super().__init__(name="masked_binary_crossentropy")
        self._categories = categories
        self._weights = [float((class_weights or {}).get(name, 1.0)) for name in categories.names]

    def call(self, label: Tensor, logits: Tensor) -> Tensor:
        """Returns the scalar loss.

        Args:
            label: (N, H, W, channels), any dtype; 254 = none, 255 = unknown.
            logits: (N, H, W, C) float32.
        """
        return mean_of_sums(*self.sums(label, logits))

    def sums(self, label: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Returns sum(w e) and sum(w), two scalars, of what `call` takes; those of several batches can be added up."""
        positive, known = targets_of_label(label, self._categories)
        # log(1 + exp(z)) for a negative entry and log(1 + exp(-z)) for a positive one. Logits of unknown
        # entries are replaced before, not after: a NaN times 0 would be a NaN in the gradient.
        signed = ops.where(known, ops.where(positive, -logits, logits), 0.0)
        weights = ops.cast(known, logits.dtype) * ops.array(self._weights, dtype=logits.dtype)
        return ops.sum(weights * ops.softplus(signed)), ops.sum(weights)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments."""
        return {
            "categories": self._categories.to_json(),
            "class_weights": dict(zip(self._categories.names, self._weights, strict=True)),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "MaskedBinaryCrossentropy":
        """Makes the loss from what `get_config` gave."""
        return cls(CategoryTable.from_json(config["categories"]), config["class_weights"])


class BatchSums(keras.metrics.Metric):
    """Hands the two sums of the last batch's loss to callbacks, as "loss_total" and "loss_known" of their logs.

    They are kept for one batch, not for an epoch: float32 would lose digits over thousands of batches.
    """

    def __init__(self, name: str = "batch_sums", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self._total = self.add_variable((), "zeros", name="total")
        self._known = self.add_variable((), "zeros", name="known")

    def update_state(self, total: Tensor, known: Tensor) -> None:
        """Puts the sums of a batch, as of `MaskedBinaryCrossentropy.sums`, in place of those of the one before."""
        self._total.assign(total)
        self._known.assign(known)

    def result(self) -> dict[str, Tensor]:
        """Returns the sums by name."""
        return {
            "loss_total": ops.convert_to_tensor(self._total),
            "loss_known": ops.convert_to_tensor(self._known),
        }


def mean_of_sums(total: Tensor, count: Tensor) -> Tensor:
    """Returns total / count, and 0 where nothing was counted."""
    return total / ops.where(count > 0, count, 1.0)


def mean_or_none(total: float, known: float) -> float | None:
    """Returns total / known of Python's numbers, for people: None where nothing is known."""
    return total / known if known else None
