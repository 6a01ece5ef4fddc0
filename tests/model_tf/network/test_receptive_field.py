"""The receptive field worked out from the graph against the one measured on the net."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from model_tf.network.architecture_summary import INPUT_STRIDES
from model_tf.network.hrnet import WIDTHS, HRNetBackbone, build_hrnet
from model_tf.network.layers import GroupNorm
from model_tf.network.receptive_field import trace

LIMIT = 192
"""Pixels at 10 m of a chip: the paper's bound on the receptive field."""


def without_normalisation(backbone: HRNetBackbone, monkeypatch: pytest.MonkeyPatch) -> HRNetBackbone:
    """Makes normalisation an identity and every kernel positive, so that no influence cancels or is cut off.

    A kernel's weights are the same and sum to 1: rectifiers pass everything, and nothing over- or underflows.
    """
    monkeypatch.setattr(GroupNorm, "call", lambda self, x: x)
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.Conv2D):
            kernel = layer.kernel
            kernel.assign(np.full(kernel.shape, 1 / np.prod(kernel.shape[:3])))
    return backbone


def extent(gradient: np.ndarray, axis: int) -> tuple[int, int]:
    """Returns the first and last row or column of (1, H, W, C) with a gradient that is not zero."""
    touched = np.flatnonzero(gradient.any(axis=tuple({0, 1, 2, 3} - {axis})))
    return int(touched[0]), int(touched[-1])


def thin(width: str) -> HRNetBackbone:
    """Builds a named net with one channel everywhere, which has the same field in a fraction of the time."""
    sizes = dataclasses.replace(WIDTHS[width], branch_widths=(1, 1, 1), stem_width=1)
    return HRNetBackbone(**dataclasses.asdict(sizes), dtype="float64")


@pytest.mark.parametrize(("width", "side"), [("w18", 256), ("tiny", 128)])
def test_measured_field_is_the_computed_one(width, side, monkeypatch):
    # Rectifiers are piecewise linear: a gradient that is zero, here of sums of positive terms, is no influence.
    backbone = without_normalisation(thin(width), monkeypatch)
    inputs = {
        "gsd_10": tf.ones((1, side, side, 4), tf.float64),
        "gsd_20": tf.ones((1, side // 2, side // 2, 6), tf.float64),
    }
    fields = {name: [] for name in inputs}
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(inputs)
        embedding = backbone(inputs)
        # Upsampling by 4 gives every fourth pixel the same field; rows and columns take different ones.
        pixels = [tf.reduce_sum(embedding[:, side // 2 + k, side // 2 + 3 - k]) for k in range(4)]
    for k, pixel in enumerate(pixels):
        for name, gradient in tape.gradient(pixel, inputs).items():
            for axis, place in ((1, side // 2 + k), (2, side // 2 + 3 - k)):
                first, last = extent(gradient.numpy(), axis)
                own = place // INPUT_STRIDES[name]
                fields[name].append((own - first, last - own, last - first + 1))
    computed = trace(build_hrnet(width, 1).backbone, INPUT_STRIDES).reaches
    for name, measured in fields.items():
        before, after, size = np.max(measured, axis=0)
        assert (before, after, size) == (computed[name].before, computed[name].after, computed[name].size)
        assert size < side // INPUT_STRIDES[name], "the image must be larger than the field"


@pytest.mark.parametrize("upsample_20m", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
def test_field_is_within_a_chip(width, upsample_20m):
    reaches = trace(build_hrnet(width, 1, upsample_20m=upsample_20m).backbone, INPUT_STRIDES).reaches
    for name, stride in INPUT_STRIDES.items():
        assert stride * reaches[name].size <= LIMIT
    # Nor does it go further than half a chip to either side.
    assert max(stride * max(reaches[n].before, reaches[n].after) for n, stride in INPUT_STRIDES.items()) <= 96


def test_a_third_module_would_pass_the_bound():
    # Why stage 3 has two modules where HRNet has four.
    three = HRNetBackbone((18, 36, 72), 64, 4, (1, 3), 4)
    assert trace(three, INPUT_STRIDES).reaches["gsd_10"].size > LIMIT


def test_unknown_layers_are_refused():
    x = keras.Input((8, 8, 1), name="gsd_10")
    model = keras.Model(x, keras.layers.MaxPooling2D()(x))
    with pytest.raises(TypeError, match="MaxPooling2D"):
        trace(model, {"gsd_10": 1})
