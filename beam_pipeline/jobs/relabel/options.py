"""Flags of `relabel`."""

import argparse

from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.jobs.command import flags_of
from beam_pipeline.jobs.dataset_flags import add_drawing_flags, add_retry_flag
from beam_pipeline.jobs.processes import add_processes_flag, check_processes
from beam_pipeline.jobs.runners import job_parser, output_folder
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.flags import FlagParser
from beam_pipeline.runtime.names import folder_name

PROG = "python -m beam_pipeline.relabel"


def relabel_parser(prog: str = PROG, description: str = "") -> FlagParser:
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
        help="the dataset whose images are taken, local or gs://; it stays as it is",
    )
    labels = parser.add_argument_group("labels")
    labels.add_argument(
        "--osm",
        type=folder_name,
        metavar="STORE",
        help="the folder of a store that extract_features made (the one that the dataset was built with, features in "
        "its folder)",
    )
    add_drawing_flags(labels)
    output = parser.add_argument_group("output")
    output.add_argument(
        "--output", type=folder_name, metavar="DIR", help="the new dataset's folder, local or gs://"
    )
    add_retry_flag(output)
    add_processes_flag(output)
    return parser


def _check(given: argparse.Namespace, options: PipelineOptions) -> None:
    if not given.dataset:
        raise InvalidInputError("--dataset is missing: the folder of a dataset that build_dataset wrote")
    if not given.output:
        raise InvalidInputError(
            "--output is missing: the folder of the new dataset, e.g. --output out/strict"
        )
    check_processes(given, options)
    given.output = output_folder(given.output)


parse_relabel_flags = flags_of(relabel_parser, _check)
