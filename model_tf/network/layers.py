"""The units the network is made of: convolution with group normalisation, residual blocks, exchange units.

Arrays are channels last, (N, H, W, C). Everything is made of Keras layers, one plain graph without nested
blocks, so that the graph can be walked (`receptive_field.py`, `architecture_summary.py`) and runs on every backend.
"""

import dataclasses
from typing import Any

import keras
from keras import ops

from beam_pipeline.runtime.keyed_hash import keyed_hash

Tensor = Any
"""A (N, H, W, C) Keras tensor."""

EXPANSION = 4
"""Channels that leave a bottleneck unit, as a multiple of its width. Source: He et al. 2016, as in HRNet."""

MAX_GROUPS = 32
"""Source: Wu & He 2018, Group Normalization: the default of 32 groups."""

MIN_GROUP_CHANNELS = 8
"""Source: Wu & He 2018, table 3: from 8 channels a group on, error is flat; it rises steeply below 4."""

EPSILON = 1e-5
"""Added to the variance. Source: the published code of both HRNet and Group Normalization."""

HEAD_STDDEV = 0.01
"""Of the last layer's initial weights. Source: Lin et al. 2017, Focal Loss, for heads of independent logits."""


def num_groups(channels: int) -> int:
    """Returns the number of groups that a normalisation of so many channels has.

    It is the largest divisor of `channels` that is at most 32 and leaves at least 8 channels a group:
    2, 4, 9 groups at 18, 36, 72 channels; 8 at 64; 32 at 256. One group below 16 channels.
    """
    most = min(MAX_GROUPS, channels // MIN_GROUP_CHANNELS)
    return next((groups for groups in range(most, 0, -1) if channels % groups == 0), 1)


@keras.saving.register_keras_serializable("model_tf")
class GroupNorm(keras.layers.GroupNormalization):
    """Group normalisation over (H, W, channels of a group), faster than Keras' own where nothing is fused.

    The same function and weights as `keras.layers.GroupNormalization`. That one reshapes to five dimensions
    and reduces over three of them; this one takes the two sums a channel needs, adds them up within groups,
    and folds statistics, gamma and beta into one scale and one shift a channel.

    Statistics and the scaling are float32 also where the net computes in bfloat16 or float16.
    """

    def call(self, inputs: Tensor) -> Tensor:
        """Normalises (N, H, W, C) of any float dtype; returns the same shape in the compute dtype."""
        wide = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        mean = self._group_mean(ops.mean(wide, axis=(1, 2)))  # (N, G, 1)
        square = self._group_mean(ops.mean(ops.square(wide), axis=(1, 2)))
        # Rounding can bring the difference below zero where a group is constant.
        variance = ops.maximum(square - ops.square(mean), 0)
        by_group = (1, self.groups, inputs.shape[-1] // self.groups)
        scale = ops.rsqrt(variance + self.epsilon) * ops.cast(ops.reshape(self.gamma, by_group), wide.dtype)
        shift = ops.cast(ops.reshape(self.beta, by_group), wide.dtype) - mean * scale  # (N, G, C / G)
        by_channel = (-1, 1, 1, inputs.shape[-1])
        normalised = wide * ops.reshape(scale, by_channel) + ops.reshape(shift, by_channel)
        return ops.cast(normalised, self.compute_dtype)

    def _group_mean(self, per_channel: Tensor) -> Tensor:
        grouped = ops.reshape(per_channel, (-1, self.groups, per_channel.shape[-1] // self.groups))
        return ops.mean(grouped, axis=-1, keepdims=True)


@dataclasses.dataclass(frozen=True)
class Units:
    """Makes the network's units, all with one seed and one dtype policy.

    Every unit's layers are named from `name`. Kernels are drawn from He's normal distribution by the key
    (seed, layer's name): a net's initial weights depend on nothing else.

    Attributes:
        seed: Of the initial weights.
        dtype: A Keras dtype policy, for every layer.
    """

    seed: int
    dtype: keras.DTypePolicy

    def conv(self, x: Tensor, channels: int, size: int, name: str, strides: int = 1) -> Tensor:
        """Convolves (N, H, W, C) to (N, H / strides, W / strides, channels), without a bias.

        The sides are padded as needed ("same"): a 3 x 3 kernel of stride 2 covers the rows 2i to 2i + 2.
        """
        return keras.layers.Conv2D(
            channels,
            size,
            strides=strides,
            padding="same",
            use_bias=False,
            kernel_initializer=keras.initializers.HeNormal(_layer_seed(self.seed, name)),
            dtype=self.dtype,
            name=f"{name}_conv",
        )(x)

    def conv_norm(
        self, x: Tensor, channels: int, size: int, name: str, strides: int = 1, relu: bool = False
    ) -> Tensor:
        """Convolves and normalises, and rectifies if asked."""
        x = self.conv(x, channels, size, name, strides)
        x = GroupNorm(num_groups(channels), epsilon=EPSILON, dtype=self.dtype, name=f"{name}_norm")(x)
        return self.relu(x, name) if relu else x

    def relu(self, x: Tensor, name: str) -> Tensor:
        """Rectifies."""
        return keras.layers.ReLU(dtype=self.dtype, name=f"{name}_relu")(x)

    def add_relu(self, terms: list[Tensor], name: str) -> Tensor:
        """Sums at least two tensors of one shape and rectifies the sum."""
        return self.relu(keras.layers.Add(dtype=self.dtype, name=f"{name}_add")(terms), name)

    def basic_block(self, x: Tensor, name: str) -> Tensor:
        """Two 3 x 3 convolutions around an identity; the width stays."""
        channels = x.shape[-1]
        y = self.conv_norm(x, channels, 3, f"{name}_1", relu=True)
        y = self.conv_norm(y, channels, 3, f"{name}_2")
        return self.add_relu([x, y], name)

    def bottleneck(self, x: Tensor, width: int, name: str) -> Tensor:
        """1 x 1, 3 x 3, 1 x 1 convolutions around an identity, or a projection where the width changes.

        Returns 4 `width` channels.
        """
        channels = EXPANSION * width
        y = self.conv_norm(x, width, 1, f"{name}_1", relu=True)
        y = self.conv_norm(y, width, 3, f"{name}_2", relu=True)
        y = self.conv_norm(y, channels, 1, f"{name}_3")
        if x.shape[-1] != channels:
            x = self.conv_norm(x, channels, 1, f"{name}_projection")
        return self.add_relu([x, y], name)

    def exchange(self, branches: list[Tensor], name: str) -> list[Tensor]:
        """An exchange unit: every branch becomes the rectified sum of all, each brought to its shape.

        Args:
            branches: (N, H / 2**b, W / 2**b, C_b) for b = 0, 1, ...
            name: Of the unit.

        Returns:
            As many tensors of the same shapes.
        """
        widths = [branch.shape[-1] for branch in branches]
        outputs = []
        for target in range(len(branches)):
            terms = [
                self._bring(x, source, target, widths, f"{name}_{source}to{target}")
                for source, x in enumerate(branches)
            ]
            outputs.append(self.add_relu(terms, f"{name}_to{target}"))
        return outputs

    def _bring(self, x: Tensor, source: int, target: int, widths: list[int], name: str) -> Tensor:
        if source > target:
            x = self.conv_norm(x, widths[target], 1, name)
            size = 2 ** (source - target)
            return keras.layers.UpSampling2D(
                size, interpolation="nearest", dtype=self.dtype, name=f"{name}_up"
            )(x)
        for step in range(target - source):
            last = step == target - source - 1
            # As in HRNet, the width changes, and the rectifier is left out, at the last step only.
            channels = widths[target] if last else widths[source]
            x = self.conv_norm(x, channels, 3, f"{name}_{step}", strides=2, relu=not last)
        return x

    def concatenate_at_full_resolution(self, branches: list[Tensor], name: str) -> Tensor:
        """Brings the branches to the first one's resolution, bilinearly as HRNetV2 does, and joins them.

        Args:
            branches: (N, H / 2**b, W / 2**b, C_b) for b = 0, 1, ...
            name: Of the unit.

        Returns:
            (N, H, W, sum of C_b).
        """
        full = [branches[0]]
        for index, x in enumerate(branches[1:], start=1):
            # In float32 under mixed precision too: XLA refuses TensorFlow's gradient of a bfloat16 resize.
            up = keras.layers.UpSampling2D(
                2**index,
                interpolation="bilinear",
                dtype=self.dtype.variable_dtype,
                name=f"{name}_up{index}",
            )
            full.append(up(x))
        return keras.layers.Concatenate(dtype=self.dtype, name=name)(full)

    def logits(self, x: Tensor, channels: int, name: str) -> Tensor:
        """A 1 x 1 convolution with a bias, (N, H, W, channels), in the dtype of the weights.

        Its weights begin near zero, so that a fresh net says 0.5 everywhere.
        """
        return keras.layers.Conv2D(
            channels,
            1,
            kernel_initializer=keras.initializers.RandomNormal(
                stddev=HEAD_STDDEV, seed=_layer_seed(self.seed, name)
            ),
            dtype=self.dtype.variable_dtype,
            name=name,
        )(x)


def _layer_seed(seed: int, name: str) -> int:
    return keyed_hash(seed, "initial weights", name) % 2**31
