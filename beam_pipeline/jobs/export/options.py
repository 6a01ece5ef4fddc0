"""Flags of `export_dataset`."""

import argparse
from collections.abc import Sequence

from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.cells.cell import SPLITS, Split
from beam_pipeline.exchange.registry import FORMATS
from beam_pipeline.jobs.processes import add_processes_flag, check_processes
from beam_pipeline.jobs.runners import job_parser, output_folder, parse_flags
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.flags import FlagParser
from beam_pipeline.runtime.names import folder_name

PROG = "python -m beam_pipeline.export_dataset"


def export_parser(prog: str = PROG, description: str = "") -> FlagParser:
    """Returns the parser of the flags.

    Args:
        prog: The command, as a person types it.
        description: What the program does.
    """
    parser = job_parser(prog, description)
    parser.add_argument(
        "--dataset",
        type=folder_name,
        metavar="DIR",
        help="the dataset that is exported, local or gs://; it stays as it is",
    )
    parser.add_argument(
        "--format",
        choices=tuple(FORMATS),
        help="; ".join(f"{name}: {it.help}" for name, it in FORMATS.items()),
    )
    parser.add_argument(
        "--splits",
        type=_splits,
        default=SPLITS,
        metavar="NAMES",
        help=f"only of these, separated by commas ({','.join(SPLITS)})",
    )
    parser.add_argument(
        "--output", type=folder_name, metavar="DIR", help="the folder that is written, local or gs://"
    )
    add_processes_flag(parser)
    for name in FORMATS:
        _add_own_flags(parser, name)
    return parser


def parse_export_flags(
    argv: Sequence[str] | None, prog: str = PROG, description: str = ""
) -> tuple[argparse.Namespace, PipelineOptions]:
    """Parses flags, ours and Beam's, and checks those that need no file.

    Args:
        argv: Arguments without the program's name; those of the process by default.
        prog: The command, as a person types it.
        description: What the program does.

    Returns:
        Our flags and Beam's options.

    Raises:
        InvalidInputError: A flag is unknown, missing or malformed, or of another format.
    """
    given, options = parse_flags(export_parser(prog, description), argv)
    for flag, missing in (
        ("--dataset", "the folder of a dataset that build_dataset wrote"),
        ("--format", f"one of {', '.join(FORMATS)}"),
        ("--output", "the folder that is written, e.g. --output out/published"),
    ):
        if not getattr(given, flag.removeprefix("--")):
            raise InvalidInputError(f"{flag} is missing: {missing}")
    for name in FORMATS:
        own = [flag for flag in _own_flags(name) if getattr(given, flag) is not None]
        if own and name != given.format:
            raise InvalidInputError(
                f"--{own[0]} is a flag of the format {name}. Leave it out. Received: --format={given.format}"
            )
    check_processes(given, options)
    given.output = output_folder(given.output)
    return given, options


def _add_own_flags(parser: argparse.ArgumentParser, name: str) -> list[str]:
    """Adds the flags of a format; returns their names."""
    group = parser.add_argument_group(f"of the format {name}")
    FORMATS[name].add_flags(group)
    return [action.dest for action in group._group_actions]


def _own_flags(name: str) -> list[str]:
    return _add_own_flags(argparse.ArgumentParser(add_help=False), name)


def _splits(text: str) -> tuple[Split, ...]:
    names = text.split(",")
    if not {*names} <= {*SPLITS}:
        raise argparse.ArgumentTypeError(
            f"must be some of {','.join(SPLITS)}, separated by commas. Received: {text}"
        )
    return tuple(split for split in SPLITS if split in names)
