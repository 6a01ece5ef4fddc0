"""Which input pixels an output pixel can depend on, worked out from a net's graph.

Every layer here treats rows and columns alike and apart, so one axis is enough. Along it, each element of each
tensor has an interval of input elements that reach it through convolutions and resizings. The intervals are
carried through the graph for a long enough axis and read off in its middle, away from the padding. Nearest and
bilinear upsampling make them differ from one output pixel to the next; the greatest counts.

Normalisation is left out: group normalisation averages over the whole input, so strictly every output depends on
every input. docs/network.md says what follows from it.
"""

import dataclasses
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

_LENGTH = 1024
"""Elements of the axis at full resolution, more than three times any receptive field here."""

_POINTWISE = (
    keras.layers.Add,
    keras.layers.Concatenate,
    keras.layers.GroupNormalization,
    keras.layers.ReLU,
    keras.layers.Identity,
)


@dataclasses.dataclass(frozen=True)
class Reach:
    """The input elements that can change an output element, along one axis.

    Attributes:
        before: How many of them lie before the output pixel's own place, at most over all outputs.
        after: How many lie after it, at most.
        size: How many there are, itself included, at most. The fields of outputs differ by what upsampling
            does, so it can be less than before + 1 + after.
    """

    before: int
    after: int
    size: int


@dataclasses.dataclass(frozen=True)
class _Span:
    """For every element of a tensor, the first and last element of every input that reach it."""

    first: dict[str, Ints]
    last: dict[str, Ints]


@dataclasses.dataclass(frozen=True)
class Trace:
    """A walk through a net's graph.

    Attributes:
        reaches: By input, in that input's own pixels.
        strides: By layer, in pixels of the finest input: 2 where a layer's output has half its rows.
    """

    reaches: dict[str, Reach]
    strides: dict[str, int]


def trace(model: keras.Model, input_strides: dict[str, int]) -> Trace:
    """Works out the receptive field of a functional model of one output.

    Args:
        model: Made of convolutions ("same" padding), upsampling and pointwise layers only.
        input_strides: By input name, how many pixels of the finest input one of its pixels covers.

    Raises:
        TypeError: A layer is of another kind.
    """
    spans: dict[int, _Span] = {}
    strides: dict[str, int] = {}
    for layer in model.layers:
        if isinstance(layer, keras.layers.InputLayer):
            own = np.arange(_LENGTH // input_strides[layer.name])
            span = _Span({layer.name: own}, {layer.name: own})
        else:
            given = layer.input if isinstance(layer.input, list) else [layer.input]
            span = _through(layer, [spans[id(x)] for x in given])
        spans[id(layer.output)] = span
        strides[layer.name] = _LENGTH // len(next(iter(span.first.values())))
    output = spans[id(model.output)]
    reaches = {name: _reach(output, name, stride) for name, stride in input_strides.items()}
    return Trace(reaches, strides)


def _through(layer: Any, spans: list[_Span]) -> _Span:
    """Carries spans through one layer."""
    if isinstance(layer, _POINTWISE):
        return _union(spans)
    (span,) = spans
    length = len(next(iter(span.first.values())))
    if isinstance(layer, keras.layers.Conv2D):
        low, high = _convolution_sources(layer, length)
    elif isinstance(layer, keras.layers.UpSampling2D):
        low, high = _upsampling_sources(layer, length)
    else:
        raise TypeError(f"No rule for the receptive field of {type(layer).__name__}. Received: {layer.name}")
    return _Span(
        {name: first[low] for name, first in span.first.items()},
        {name: last[high] for name, last in span.last.items()},
    )


def _union(spans: list[_Span]) -> _Span:
    names = dict.fromkeys(name for span in spans for name in span.first)
    return _Span(
        {n: np.min([s.first[n] for s in spans if n in s.first], axis=0) for n in names},
        {n: np.max([s.last[n] for s in spans if n in s.last], axis=0) for n in names},
    )


def _convolution_sources(layer: keras.layers.Conv2D, length: int) -> tuple[Ints, Ints]:
    """The first and last element of `length` that each output element of a convolution sees."""
    (size, _), (stride, _) = layer.kernel_size, layer.strides
    outputs = -(-length // stride)
    padding = max((outputs - 1) * stride + size - length, 0) // 2
    low = np.arange(outputs) * stride - padding
    return np.clip(low, 0, length - 1), np.clip(low + size - 1, 0, length - 1)


def _upsampling_sources(layer: keras.layers.UpSampling2D, length: int) -> tuple[Ints, Ints]:
    """The same for an upsampling; bilinear weights are those of pixel centres."""
    factor, _ = layer.size
    outputs = np.arange(length * factor)
    if layer.interpolation == "nearest":
        return outputs // factor, outputs // factor
    low = np.floor((outputs + 0.5) / factor - 0.5).astype(np.int64)
    return np.clip(low, 0, length - 1), np.clip(low + 1, 0, length - 1)


def _reach(span: _Span, name: str, stride: int) -> Reach:
    middle = slice(_LENGTH // 3, 2 * _LENGTH // 3)
    first, last = span.first[name][middle], span.last[name][middle]
    own = np.arange(_LENGTH)[middle] // stride
    return Reach(int((own - first).max()), int((last - own).max()), int((last - first).max()) + 1)
