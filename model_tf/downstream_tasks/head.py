"""The paper's head: a small network of three convolutions on the embeddings of a patch.

Its input is a patch's embeddings averaged onto a grid of G x G (16 by default). 3 x 3 convolution to w channels, ReLU,
2 x 2 maximum; the same once more; 3 x 3 convolution to the classes; mean over all places. w is chosen for about 230,000
weights whatever the width of the embeddings. A place of the last convolution sees 18 x 18 of the grid: all of it.
"""

import math
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from beam_pipeline.runtime.keyed_hash import keyed_hash

WEIGHTS = 230_000
"""About 1 % of ResNet-50's and 3 % of GoogLeNet's. Source: Johnson et al. 2022, section 5.2."""

AT_ONCE = 32
LEAST_STEPS = 150
EPOCHS = 15
"""Training ends after so many epochs, or after `LEAST_STEPS` steps where those are more."""

RATE = 1e-3

LEAST_GRID = 4
"""Side of a head's input that two poolings leave something of."""

_KERNEL = 9
_AT_ONCE_FOR_MOMENTS = 256
_LEAST_VARIANCE = 1e-12


def channels_for(width: int, num_classes: int) -> int:
    """Returns the channels w of the two inner convolutions that bring a head nearest to `WEIGHTS`.

    Args:
        width: Channels of the embeddings.
        num_classes: Classes.
    """
    # 9 w^2 + (9 width + 9 classes + 2) w + classes = WEIGHTS
    linear = _KERNEL * (width + num_classes) + 2
    root = math.sqrt(linear**2 + 4 * _KERNEL * (WEIGHTS - num_classes))
    return max(1, round((root - linear) / (2 * _KERNEL)))


class Head:
    """A head that is trained anew for each split; what is compiled serves all of them.

    Args:
        width: Channels of the embeddings.
        grid: Side of its input.
        num_classes: Classes.
    """

    def __init__(self, width: int, grid: int, num_classes: int) -> None:
        channels = channels_for(width, num_classes)
        self._mean = np.zeros(width, np.float32)
        self._deviation = np.ones(width, np.float32)
        self.model = keras.Sequential(
            [
                keras.Input((grid, grid, width)),
                keras.layers.Conv2D(channels, 3, padding="same", activation="relu", kernel_initializer="he_normal"),
                keras.layers.MaxPooling2D(2),
                keras.layers.Conv2D(channels, 3, padding="same", activation="relu", kernel_initializer="he_normal"),
                keras.layers.MaxPooling2D(2),
                keras.layers.Conv2D(num_classes, 3, padding="same"),
                keras.layers.GlobalAveragePooling2D(),
            ]
        )  # fmt: skip
        optimizer = keras.optimizers.Adam(RATE)
        optimizer.build(self.model.trainable_variables)
        self._fresh = [variable.numpy() for variable in optimizer.variables]
        self.model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))

    @property
    def key(self) -> str:
        """Says all that decides how it is trained, but for its data and its seed."""
        return f"head 2 {self.model.input_shape} {self.num_weights} {AT_ONCE} {LEAST_STEPS} {EPOCHS} {RATE}"

    @property
    def num_weights(self) -> int:
        """The number of weights that are trained."""
        count: int = self.model.count_params()
        return count

    def fit(self, grids: npt.NDArray[np.float16], labels: npt.NDArray[np.int64], seed: int) -> None:
        """Trains from fresh weights.

        Args:
            grids: (N, G, G, E) of the training patches.
            labels: (N,) classes.
            seed: Of the weights and of the order of patches.
        """
        self._begin(seed)
        self._mean, self._deviation = _moments(grids)
        draw = np.random.default_rng(keyed_hash(seed, "downstream head order"))
        steps = max(LEAST_STEPS, EPOCHS * len(grids) // AT_ONCE)
        order: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        for _ in range(steps):
            while len(order) < AT_ONCE:
                order = np.concatenate([order, draw.permutation(len(grids))])
            batch, order = order[:AT_ONCE], order[AT_ONCE:]
            self.model.train_on_batch(self._standard(grids[batch]), labels[batch])

    def probabilities(self, grids: npt.NDArray[np.float16]) -> npt.NDArray[np.float64]:
        """Returns (M, C) probabilities of the classes of some patches."""
        logits = [
            np.asarray(self.model.predict_on_batch(self._standard(padded)))[: len(part)]
            for part in (grids[start : start + AT_ONCE] for start in range(0, len(grids), AT_ONCE))
            for padded in [
                np.concatenate([part, np.zeros((AT_ONCE - len(part), *part.shape[1:]), part.dtype)])
            ]
        ]
        powers = np.concatenate(logits).astype(np.float64)
        powers = np.exp(powers - powers.max(axis=1, keepdims=True))
        shares: npt.NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
        return shares

    def _standard(self, grids: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        standard: npt.NDArray[np.float32] = (grids.astype(np.float32) - self._mean) / self._deviation
        return standard

    def _begin(self, seed: int) -> None:
        for index, layer in enumerate(self.model.layers):
            if isinstance(layer, keras.layers.Conv2D):
                kernel = keras.initializers.HeNormal(keyed_hash(seed, "downstream head", index) % 2**31)
                layer.kernel.assign(kernel(layer.kernel.shape))
                layer.bias.assign(np.zeros(layer.bias.shape, np.float32))
        for variable, value in zip(self.model.optimizer.variables, self._fresh, strict=True):
            variable.assign(value)


def _moments(grids: npt.NDArray[np.float16]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Returns mean and deviation of each channel, part by part: all at once would take eight bytes a number."""
    total = np.zeros(grids.shape[-1])
    squares = np.zeros(grids.shape[-1])
    for start in range(0, len(grids), _AT_ONCE_FOR_MOMENTS):
        part = grids[start : start + _AT_ONCE_FOR_MOMENTS].astype(np.float64)
        total += part.sum(axis=(0, 1, 2))
        squares += np.square(part).sum(axis=(0, 1, 2))
    places = grids.shape[0] * grids.shape[1] * grids.shape[2]
    mean = total / places
    variance = squares / places - mean**2
    # A channel that is the same all over the training patches is left as it is: others may differ there.
    deviation = np.sqrt(np.where(variance > _LEAST_VARIANCE, variance, 1.0))
    return mean.astype(np.float32), deviation.astype(np.float32)
