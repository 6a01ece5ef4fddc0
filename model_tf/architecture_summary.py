"""Parameters, FLOPs, receptive field and embedding width of nets, as a table."""

import math
from collections.abc import Mapping
from typing import Any

import keras

from model_tf.receptive_field import Trace, trace

INPUT_STRIDES = {"gsd_10": 1, "gsd_20": 2}
"""10 m pixels that a pixel of each input covers, along an axis."""


def parameters(model: keras.Model) -> int:
    """Returns the number of trainable weights."""
    return sum(math.prod(variable.shape) for variable in model.trainable_variables)


def flops_per_pixel(backbone: keras.Model, num_categories: int, walked: Trace) -> float:
    """Returns the floating-point operations of a forward pass for every 10 m pixel.

    Convolutions only, with the head's; a multiplication and an addition count two. What is left out
    (normalisation, rectifiers, sums, resizing) is a few per cent of it. Padding counts as pixels.

    Args:
        backbone: An `HRNetBackbone`.
        num_categories: Logits a pixel.
        walked: `trace` of the backbone.
    """
    total: float = 2.0 * backbone.output.shape[-1] * num_categories
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.Conv2D):
            # kernel: (rows, columns, channels in, channels out), applied at every output position
            total += 2.0 * math.prod(layer.kernel.shape) / walked.strides[layer.name] ** 2
    return total


def summary_table(nets: Mapping[str, Any]) -> str:
    """Returns the table that `python -m model_tf.hrnet --summary` prints.

    Args:
        nets: `HRNetSegmenter`s by name.
    """
    lines = [
        f"{'net':>6} {'parameters':>11} {'kFLOPs a pixel':>15} {'GFLOPs a chip':>14} {'embedding':>10} "
        f"{'field, 10 m':>12} {'field, 20 m':>12}"
    ]
    for name, net in nets.items():
        walked = trace(net.backbone, INPUT_STRIDES)
        flops = flops_per_pixel(net.backbone, net.num_categories, walked)
        lines.append(
            f"{name:>6} {parameters(net):>11,} {flops / 1e3:>15,.1f} {flops * 192**2 / 1e9:>14,.1f} "
            f"{net.backbone.output.shape[-1]:>10} {walked.reaches['gsd_10'].size:>9} px "
            f"{walked.reaches['gsd_20'].size:>9} px"
        )
    lines += [
        "",
        "FLOPs: of the convolutions in one forward pass, a multiply-add counting two, for every 10 m pixel and",
        "for one image of 192 x 192 px; a training step does three times as many (forward, and the gradients of",
        "inputs and of weights). Field: the convolutional receptive field, in pixels of that input, normalisation",
        "left out; a 20 m pixel is two 10 m pixels wide.",
    ]
    return "\n".join(lines)
