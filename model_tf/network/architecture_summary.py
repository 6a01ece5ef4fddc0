"""Parameters, FLOPs, receptive field and embedding width of nets, as a table."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import keras

from model_tf.network.receptive_field import Trace, trace

CHIP_PIXELS = 192**2
"""10 m pixels of a chip."""

INPUT_STRIDES = {"gsd_10": 1, "gsd_20": 2}
"""10 m pixels that a pixel of each input covers, along an axis."""


@dataclasses.dataclass(frozen=True)
class Cost:
    """Floating-point operations for every 10 m pixel, a multiplication and an addition counting two.

    Of the convolutions only, the head's too. What is left out (normalisation, rectifiers, sums, resizing) is
    a few per cent of it. Padding counts as pixels.

    Attributes:
        forward: Of a prediction.
        training: Of a training step: forward, and the gradients of each convolution's weights and input. The
            images themselves need no gradient.
    """

    forward: float
    training: float


def parameters(model: keras.Model) -> int:
    """Returns the number of trainable weights."""
    return sum(math.prod(variable.shape) for variable in model.trainable_variables)


def cost_per_pixel(backbone: keras.Model, num_categories: int, walked: Trace) -> Cost:
    """Counts a net's FLOPs for every 10 m pixel.

    Args:
        backbone: An `HRNetBackbone`.
        num_categories: Logits a pixel.
        walked: `trace` of the backbone.
    """
    forward = 2.0 * backbone.output.shape[-1] * num_categories
    training = 3 * forward
    images = {id(tensor) for tensor in keras.tree.flatten(backbone.input)}
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.Conv2D):
            # kernel: (rows, columns, channels in, channels out), applied at every output position
            flops = 2.0 * math.prod(layer.kernel.shape) / walked.strides[layer.name] ** 2
            forward += flops
            training += (2 if id(layer.input) in images else 3) * flops
    return Cost(forward, training)


def summary_table(nets: Mapping[str, Any]) -> str:
    """Returns the table that `python -m model_tf.network.hrnet --summary` prints.

    Args:
        nets: `HRNetSegmenter`s by name.
    """
    lines = [
        f"{'net':>6} {'parameters':>11} {'kFLOPs a pixel':>15} {'GFLOPs a chip':>14} {'training':>9} "
        f"{'embedding':>10} {'field, 10 m':>12} {'field, 20 m':>12}"
    ]
    for name, net in nets.items():
        walked = trace(net.backbone, INPUT_STRIDES)
        cost = cost_per_pixel(net.backbone, net.num_categories, walked)
        lines.append(
            f"{name:>6} {parameters(net):>11,} {cost.forward / 1e3:>15,.1f} "
            f"{cost.forward * CHIP_PIXELS / 1e9:>14,.1f} {cost.training * CHIP_PIXELS / 1e9:>9,.1f} "
            f"{net.backbone.output.shape[-1]:>10} {walked.reaches['gsd_10'].size:>9} px "
            f"{walked.reaches['gsd_20'].size:>9} px"
        )
    lines += [
        "",
        "FLOPs: of the convolutions, a multiply-add counting two; in a forward pass for every 10 m pixel and for",
        "one image of 192 x 192 px, and in a training step (forward, and the gradients of weights and inputs) for",
        "one image. Field: the convolutional receptive field, in pixels of that input, normalisation left out; a",
        "20 m pixel is two 10 m pixels wide.",
    ]
    return "\n".join(lines)
