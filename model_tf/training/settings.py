"""The settings of a training run, and presets of them. Imports no Keras, so that flags choose the backend."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, get_args

import pydantic

from beam_pipeline.runtime.faults import InvalidInputError

Width = Literal["w18", "w32", "w48", "tiny"]
Backend = Literal["tensorflow", "jax", "torch"]
Precision = Literal["float32", "bfloat16"]
Strategy = Literal["none", "mirrored", "multi-worker", "tpu", "data-parallel"]

Weights = tuple[tuple[str, float], ...]
"""A weight for each of some categories, by name."""

STRATEGIES: Mapping[Backend, tuple[Strategy, ...]] = {
    "tensorflow": ("none", "mirrored", "multi-worker", "tpu"),
    # Keras accepts data-parallel on TensorFlow too, and then does nothing.
    "jax": ("none", "data-parallel"),
    "torch": ("none",),
}
"""The ways in which each backend can spread a batch."""


def _items(given: object) -> object:
    return tuple(given.items()) if isinstance(given, Mapping) else given


_FROM_JSON_OBJECT = pydantic.BeforeValidator(_items)


@dataclasses.dataclass(frozen=True)
class TrainSettings:
    """All that decides what is learnt from given data. Each field is a flag of train.py; the defaults are the paper's.

    Source: the paper, section 4, but for what is off by default (weight decay, class weights) and what only
    says how to compute (validation_pairs and below).

    Raises:
        InvalidInputError: A value is out of range, or two do not go together.
    """

    width: Annotated[Width, "the network's width"] = "w18"
    upsample_20m: Annotated[
        bool, "bring the 20 m bands to 10 m at the input; the paper's net gives them an input of their own"
    ] = False
    single_images: Annotated[
        bool, "take one image, drawn, of twice as many cells in a step, in place of both of a cell"
    ] = False
    epochs: Annotated[int, "an epoch is every training cell once, in one of its years"] = 225
    warmup_epochs: Annotated[float, "epochs of linear warm-up from rate 0"] = 10.0
    peak_rate: Annotated[float, "learning rate at the end of the warm-up"] = 0.01
    final_rate: Annotated[float, "learning rate of the last step, after a cosine"] = 0.0001
    momentum: Annotated[float, "momentum of SGD"] = 0.9
    pairs_per_batch: Annotated[int, "pairs of images in a step, over all replicas"] = 16
    augment: Annotated[bool, "turn and mirror training pairs at random"] = True
    weight_decay: Annotated[float, "decay of kernels in a step: kernel -= rate * weight_decay * kernel"] = 0.0
    class_weights: Annotated[
        Weights,
        "weights in the loss, separated by commas, e.g. road=2,building=1.5; others have 1",
        _FROM_JSON_OBJECT,
    ] = ()
    seed: Annotated[int, "of the first weights, the order of cells, their years and the augmentation"] = 0
    validation_pairs: Annotated[
        int, "validate on a fixed random sample of so many cells, one year each; 0 = all cells and years"
    ] = 0
    precision: Annotated[Precision, "bfloat16 computes in bfloat16 and keeps weights in float32"] = "float32"
    backend: Annotated[Backend, "of Keras"] = "tensorflow"
    strategy: Annotated[Strategy, "how a batch is spread over devices"] = "none"
    deterministic: Annotated[bool, "bit for bit the same on the same machine, at some cost of speed"] = True

    def __post_init__(self) -> None:
        _choice("width", self.width, get_args(Width))
        _choice("backend", self.backend, get_args(Backend))
        _choice("precision", self.precision, get_args(Precision))
        if self.strategy not in STRATEGIES[self.backend]:
            raise InvalidInputError(
                f"--strategy on the {self.backend} backend is one of {', '.join(STRATEGIES[self.backend])}. "
                f"Received: {self.strategy}. Give another --strategy or another --backend."
            )
        _at_least("epochs", self.epochs, 1)
        _at_least("pairs_per_batch", self.pairs_per_batch, 1)
        _at_least("validation_pairs", self.validation_pairs, 0)
        _at_least("weight_decay", self.weight_decay, 0)
        _between("seed", self.seed, 0, 2**32)  # what numpy takes
        for name, weight in self.class_weights:
            _at_least(f"class_weights {name}", weight, 0)
        if len(dict(self.class_weights)) < len(self.class_weights):
            given = ",".join(f"{name}={weight:g}" for name, weight in self.class_weights)
            raise InvalidInputError(f"--class_weights must name a category once. Received: {given}")
        _between("warmup_epochs", self.warmup_epochs, 0, self.epochs)
        _between("momentum", self.momentum, 0, 1)
        if not 0 < self.final_rate <= self.peak_rate < math.inf:
            raise InvalidInputError(
                "--final_rate must be above 0 and at most --peak_rate. "
                f"Received: --final_rate {self.final_rate} --peak_rate {self.peak_rate}"
            )

    def to_json(self) -> dict[str, Any]:
        """Returns the settings as JSON's types."""
        return {**dataclasses.asdict(self), "class_weights": dict(self.class_weights)}


def paper() -> TrainSettings:
    """The paper's training, for the full dataset of about 110,000 training cells.

    Command: python model_tf/train.py --data DATASET --preset paper --output RUN
    Cost: 1.5 million steps of 32 images. Not yet run.
    Expected: the curves of the paper's figures 7 and 8. Not yet measured.
    """
    return TrainSettings(validation_pairs=1024)


def tiny() -> TrainSettings:
    """Minutes on a CPU, for the sample and for first steps.

    Command: python model_tf/train.py --data out/sample --preset tiny
    Cost: a CPU second for five images; about 600 for the sample of 840 cells and --epochs 3.
    Expected: there, a mean testing AUC of 0.93, of a made-up place: docs/training.md, "It learns".
    """
    return TrainSettings(
        width="tiny",
        epochs=20,
        warmup_epochs=0.5,
        peak_rate=0.2,
        final_rate=0.002,
        pairs_per_batch=1,
        validation_pairs=32,
    )


PRESETS: Mapping[str, Callable[[], TrainSettings]] = {"paper": paper, "tiny": tiny}
"""Presets by name. Their docstrings say command, cost and expected score, and are part of --help."""


def _choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    if value not in choices:
        raise InvalidInputError(f"--{name} is one of {', '.join(map(str, choices))}. Received: {value}")


def _at_least(name: str, value: float, least: float) -> None:
    if not least <= value < math.inf:
        raise InvalidInputError(f"--{name} must be at least {least}. Received: {value}")


def _between(name: str, value: float, least: float, most: float) -> None:
    if not least <= value < most:
        raise InvalidInputError(f"--{name} must be at least {least} and below {most}. Received: {value}")
