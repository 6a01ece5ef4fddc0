"""The loss: binary cross-entropy over what the map knows."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
from keras import ops

from model_tf.categories import CategoryTable
from model_tf.targets import Tensor, targets_of_label


@keras.saving.register_keras_serializable("model_tf")
class MaskedBinaryCrossentropy(keras.losses.Loss):
    """Binary cross-entropy of logits, averaged over the known (pixel, category) entries of a batch only.

    Keras' own averages the categories of a pixel before weights apply, and divides by what is masked too.

    The value is sum(w e) / sum(w) over the known entries, e the cross-entropy of an entry and w its
    category's weight, 1 unless `class_weights` says otherwise. Where nothing is known it is 0, and so is
    every gradient.

    Under a `tf.distribute` strategy each replica sees its part of the batch and Keras averages the replicas'
    losses. A mean of means would weigh an entry more where its replica knows little. So sum(w) is added up
    over the replicas first, and the replicas' average is again the mean over the whole batch.

    Args:
        categories: The categories, in the order of the logits.
        class_weights: Weight by name of category; 1 for those left out. They must not be negative.
        replicas: The number of replicas the batch is split over.
        sum_over_replicas: Adds up a scalar over the replicas; may be left out with one replica.
    """

    def __init__(
        self,
        categories: CategoryTable,
        class_weights: Mapping[str, float] | None = None,
        *,
        replicas: int = 1,
        sum_over_replicas: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__(name="masked_binary_crossentropy")
        if (replicas > 1) != (sum_over_replicas is not None):
            raise ValueError(
                "sum_over_replicas goes with more than one replica. "
                f"Received: replicas={replicas}, sum_over_replicas={sum_over_replicas}"
            )
        self._categories = categories
        self._weights = [float((class_weights or {}).get(name, 1.0)) for name in categories.names]
        self._replicas = replicas
        self._sum_over_replicas = sum_over_replicas

    def call(self, label: Tensor, logits: Tensor) -> Tensor:
        """Returns the scalar loss.

        Args:
            label: (N, H, W, channels), any dtype; 254 = none, 255 = unknown.
            logits: (N, H, W, C) float32.
        """
        total, count = self.sums(label, logits)
        if self._sum_over_replicas is not None:
            count = self._sum_over_replicas(count)
        return self._replicas * total / ops.where(count > 0, count, 1.0)

    def sums(self, label: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Returns sum(w e) and sum(w), two scalars, of what `call` takes; of several batches they may be added up."""
        positive, known = targets_of_label(label, self._categories)
        # log(1 + exp(z)) for a negative entry and log(1 + exp(-z)) for a positive one. Logits of unknown
        # entries are replaced before, not after: a NaN times 0 would be a NaN in the gradient.
        signed = ops.where(known, ops.where(positive, -logits, logits), 0.0)
        weights = ops.cast(known, logits.dtype) * ops.array(self._weights, dtype=logits.dtype)
        return ops.sum(weights * ops.softplus(signed)), ops.sum(weights)

    def get_config(self) -> dict[str, Any]:
        """Returns the categories and their weights; replicas are a matter of the run that trains."""
        return {
            "categories": self._categories.to_json(),
            "class_weights": dict(zip(self._categories.names, self._weights, strict=True)),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "MaskedBinaryCrossentropy":
        """Makes the loss from what `get_config` gave, for one replica."""
        return cls(CategoryTable.from_json(config["categories"]), config["class_weights"])
