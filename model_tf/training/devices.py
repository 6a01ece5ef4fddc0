"""Where a run computes: on one device, or on what Keras spreads a batch over by itself.

Whatever the strategy, a step follows the gradient of the mean loss over the known entries of the *whole* batch.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from model_tf.data.batches import Images

MakeDataset = Callable[[int, int], tf.data.Dataset]
"""(hosts, host) -> the batches of that host, of all its replicas together."""


class Devices:
    """One device. The base of the others.

    Attributes:
        replicas: Parts that a batch is split into.
        hosts: Processes that read data.
        is_chief: Whether this process writes the run's files.
    """

    replicas = 1
    hosts = 1
    is_chief = True

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        """Returns the context in which a net is built, compiled and loaded."""
        return contextlib.nullcontext()

    def fit(
        self,
        model: keras.Model,
        make: MakeDataset,
        *,
        pairs_per_batch: int,
        steps: int,
        callbacks: Sequence[keras.callbacks.Callback],
    ) -> None:
        """Trains some steps, unless a callback sets `model.stop_training` before.

        Args:
            model: Compiled with a `MaskedBinaryCrossentropy`, its optimizer built.
            make: Makes the batches; there must be at least `steps`.
            pairs_per_batch: Pairs in a batch of all hosts.
            steps: Number of steps.
            callbacks: Their `on_train_batch_end` gets the two sums of the step's loss over the whole batch, as
                "loss_total" and "loss_known".
        """
        del pairs_per_batch
        model.fit(
            make(1, 0),
            steps_per_epoch=steps,
            callbacks=list(callbacks),
            shuffle=False,  # the batches come shuffled
            verbose=0,
        )

    def any_host(self, here: bool) -> bool:
        """Tells whether it is so on any host; every host must ask as often."""
        return here

    def predictor(self, model: keras.Model) -> Callable[[Images], npt.NDArray[np.float32]]:
        """Returns a function from a batch of images to logits (N, H, W, C); every host computes all of them."""

        def predict(images: Images) -> npt.NDArray[np.float32]:
            return np.asarray(model.predict_on_batch(dict(images)), np.float32)

        return predict


class DataParallelDevices(Devices):
    """All devices of this process under JAX, by `keras.distribution`. A step is one program over the whole batch."""

    def __init__(self) -> None:
        self.replicas = len(keras.distribution.list_devices())
        keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))

    def predictor(self, model: keras.Model) -> Callable[[Images], npt.NDArray[np.float32]]:
        """See `Devices`; Keras does not spread single batches by itself."""
        predict = super().predictor(model)
        distribution = keras.distribution.distribution()

        def spread(images: Images) -> npt.NDArray[np.float32]:
            return predict(
                {
                    name: keras.distribution.distribute_tensor(
                        keras.ops.convert_to_tensor(x), distribution.get_data_layout(x.shape)
                    )
                    for name, x in images.items()
                }
            )

        return spread
