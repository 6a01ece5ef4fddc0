"""Group normalisation by the statistics of a set of images, in place of those of each image.

A net here normalises each image by its own mean and variance, layer by layer. That takes out how bright an image is
and how much it varies, which tells classes of small patches apart. Here one pass over a sample of patches finds the
statistics of each layer over the whole sample, and every patch is normalised by these. Weights stay as they are.
"""

from typing import Any

import keras
from keras import ops

from model_tf.network.layers import GroupNorm, Tensor


class SampleNorm(keras.layers.Layer):
    """Normalises by the mean and variance of the last batch that it saw in training.

    Args:
        norm: What it stands in for; scale and shift are shared with it.
        **kwargs: Of keras.layers.Layer.
    """

    def __init__(self, norm: GroupNorm, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.norm = norm
        self.mean = self.add_weight(shape=(norm.groups,), initializer="zeros", trainable=False, name="mean")
        self.variance = self.add_weight(
            shape=(norm.groups,), initializer="ones", trainable=False, name="variance"
        )

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        """Normalises (N, H, W, C); in training by the batch's own statistics, which are kept."""
        wide = ops.cast(inputs, "float32")
        if training:
            grouped = ops.reshape(
                wide, (-1, wide.shape[1], wide.shape[2], self.norm.groups, wide.shape[3] // self.norm.groups)
            )
            mean, variance = ops.moments(grouped, axes=(0, 1, 2, 4))
            self.mean.assign(mean)
            self.variance.assign(variance)
        else:
            mean, variance = ops.convert_to_tensor(self.mean), ops.convert_to_tensor(self.variance)
        channels = wide.shape[3] // self.norm.groups
        mean, variance = ops.repeat(mean, channels), ops.repeat(variance, channels)
        scale = ops.rsqrt(variance + self.norm.epsilon) * ops.convert_to_tensor(self.norm.gamma)
        normalised = (wide - mean) * scale + ops.convert_to_tensor(self.norm.beta)
        return ops.cast(normalised, self.compute_dtype)


def with_sample_norms(net: keras.Model) -> keras.Model:
    """Returns a net of the same layers in which every normalisation is a `SampleNorm`.

    Args:
        net: Any of them. It stays as it is.

    Returns:
        The net. Call it once with `training=True` on a sample, then with `training=False` on anything.
    """

    def replaced(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, GroupNorm):
            return SampleNorm(layer, name=f"{layer.name}_of_sample", dtype=layer.dtype_policy)
        return layer

    return keras.models.clone_model(net, clone_function=replaced)
