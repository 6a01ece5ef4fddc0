"""The command line of train.py: a flag for every field of the settings. Imports no Keras and no TensorFlow."""

import argparse
import dataclasses
import inspect
import typing
from collections.abc import Sequence
from typing import Any, Literal

from beam_pipeline.runtime.apart import require_apart
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.flags import FlagParser
from beam_pipeline.runtime.names import folder_name
from model_tf.training.settings import PRESETS, TrainSettings, Weights

PROG = "train.py"


@dataclasses.dataclass(frozen=True)
class TrainCommand:
    """The request of a command line.

    Attributes:
        data: The dataset's folder, local or gs://.
        output: The run's folder, local or gs://.
        settings: The preset with the flags given.
        tpu: Name of the TPU, for `--strategy tpu`.
        save_every: Steps between two checkpoints within an epoch.
    """

    data: str
    output: str
    settings: TrainSettings
    tpu: str = ""
    save_every: int = 500


def parse_flags(argv: Sequence[str], description: str, prog: str = PROG) -> TrainCommand:
    """Reads and checks a command line.

    Args:
        argv: Arguments without the program's name.
        description: What the program does, for --help.
        prog: The command, as --help shows it.

    Returns:
        The command.

    Raises:
        InvalidInputError: A flag is unknown or its value cannot be.
    """
    given = vars(build_parser(prog, description).parse_all(argv))
    settings = PRESETS[given["preset"]]()
    changes = {
        field.name: given[field.name]
        for field in dataclasses.fields(TrainSettings)
        if given[field.name] is not None
    }
    if given["save_every"] < 1:
        raise InvalidInputError(f"--save_every must be at least 1. Received: {given['save_every']}")
    if given["tpu"] and changes.get("strategy", settings.strategy) != "tpu":
        raise InvalidInputError(f"--tpu goes with --strategy tpu. Received: --tpu {given['tpu']}")
    require_apart(given["output"], [("--data", given["data"])])
    return TrainCommand(
        data=given["data"],
        output=given["output"],
        settings=dataclasses.replace(settings, **changes),
        tpu=given["tpu"],
        save_every=given["save_every"],
    )


def build_parser(prog: str = PROG, description: str = "") -> FlagParser:
    """Returns the parser of the flags.

    Args:
        prog: The command, as a person types it.
        description: What the program does.
    """
    presets = "\n\n".join(f"preset {name}: {inspect.getdoc(make)}" for name, make in PRESETS.items())
    parser = FlagParser(prog, description, presets)
    add_data_flag(parser)
    parser.add_argument(
        "--output",
        type=folder_name,
        default="out/run",
        help="folder of the run, local or gs:// (default: %(default)s)",
    )
    parser.add_argument("--preset", choices=PRESETS, default="paper", help="settings to begin with (paper)")
    parser.add_argument("--tpu", default="", help="name of the TPU for --strategy tpu, local on a TPU VM")
    parser.add_argument(
        "--save_every", type=int, default=500, help="steps between checkpoints within an epoch (%(default)s)"
    )
    group = parser.add_argument_group("settings", "In place of the preset's.")
    hints = typing.get_type_hints(TrainSettings, include_extras=True)
    for field in dataclasses.fields(TrainSettings):
        kind, text, *_ = typing.get_args(hints[field.name])
        group.add_argument(f"--{field.name}", default=None, help=text, **_argument(kind))
    return parser


def add_data_flag(parser: argparse.ArgumentParser) -> None:
    """Adds the flag by which every program that reads a dataset is given it."""
    parser.add_argument(
        "--data", type=folder_name, required=True, help="folder of the dataset, local or gs://"
    )


def _argument(kind: Any) -> dict[str, Any]:
    """Returns how argparse reads a field's type."""
    if kind is bool:
        return {"action": argparse.BooleanOptionalAction}
    if kind == Weights:
        return {"type": _weights, "metavar": "NAME=WEIGHT,..."}
    if typing.get_origin(kind) is Literal:
        return {"metavar": "|".join(typing.get_args(kind))}  # the settings check it
    return {"type": kind, "metavar": kind.__name__.upper()}


def _weights(text: str) -> Weights:
    """road=2,building=1.5 -> (("road", 2.0), ("building", 1.5))."""
    pairs = [part.partition("=") for part in text.split(",") if part]
    try:
        return tuple((name, float(weight)) for name, _, weight in pairs)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be like road=2,building=1.5. Received: {text}") from None
