"""The command `opensentinelmap`: one name for all programs.

    opensentinelmap build --sample --output out/sample
    opensentinelmap build --help

A subcommand takes the flags of the program that it stands for, and ends with its exit code.
"""

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence

from beam_pipeline import __version__

PROG = "opensentinelmap"

COMMANDS = {
    "build": ("beam_pipeline.build_dataset", "build a dataset from cells, images and a map"),
    "select": ("beam_pipeline.select_cells", "choose cells by night lights and land cover"),
    "extract": (
        "beam_pipeline.extract_features",
        "keep what maps hold near the cells, for any number of builds",
    ),
    "relabel": ("beam_pipeline.relabel", "put new labels to the images of a dataset"),
    "patches": ("beam_pipeline.resample_patches", "make a dataset of labelled places, an image of each"),
    "export": ("beam_pipeline.export_dataset", "write a dataset in the layout of others"),
    "import": ("beam_pipeline.import_published", "make a dataset of the published files"),
    "plan": ("beam_pipeline.plan_cost", "tell what a build will take before it is launched"),
    "verify": ("beam_pipeline.verify", "prove from its files that a dataset is whole"),
    "preview": ("beam_pipeline.preview", "draw some examples of a dataset"),
    "report": ("beam_pipeline.make_report", "describe a dataset on one page, with figures"),
    "train": ("model_tf.train", "train the network on a dataset"),
    "evaluate": ("model_tf.evaluate", "score a trained network"),
    "downstream": ("model_tf.downstream", "classify patches from a network's frozen embeddings"),
}
"""The module whose `main` each subcommand calls, and what it does."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        argv: Arguments without the program's name; those of the process by default.

    Returns:
        The exit code of the subcommand.
    """
    # What follows the subcommand is its own.
    if argv is not None:
        command = _parser().parse_args([*argv[:1]]).command
        return _load(command)(argv[1:], prog=f"{PROG} {command}")
    command = _parser().parse_args(sys.argv[1:2]).command
    # A job puts the command line right where Beam, which reads it by itself, would stumble: it must find its own there.
    del sys.argv[1]
    return _load(command)(None, prog=f"{PROG} {command}")


def _load(command: str) -> Callable[..., int]:
    """Imports the program of a subcommand; not before, so that --help is quick."""
    run: Callable[..., int] = importlib.import_module(COMMANDS[command][0]).main
    return run


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROG,
        description="Sentinel-2 + OpenStreetMap training sets, and a network trained on them.",
        epilog=f"{PROG} COMMAND --help lists the flags of a command.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"{PROG} {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (_, does) in COMMANDS.items():
        commands.add_parser(name, help=does, add_help=False)
    return parser


if __name__ == "__main__":
    sys.exit(main())
