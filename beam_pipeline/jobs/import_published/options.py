"""Flags of `import_published`."""

import argparse

from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.jobs.command import flags_of
from beam_pipeline.jobs.dataset_flags import MAX_CELLS_PER_SHARD, add_retry_flag
from beam_pipeline.jobs.processes import add_processes_flag, check_processes
from beam_pipeline.jobs.runners import check_ranges, job_parser, output_folder
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.flags import FlagParser
from beam_pipeline.runtime.names import folder_name

PROG = "python -m beam_pipeline.import_published"


def import_parser(prog: str = PROG, description: str = "") -> FlagParser:
    """Returns the parser of the flags.

    Args:
        prog: The command, as a person types it.
        description: What the program does.
    """
    parser = job_parser(prog, description)
    parser.add_argument(
        "--published",
        type=folder_name,
        metavar="DIR",
        help="the folder that holds spatial_cell_info.csv, osm_label_images_v10, osm_sentinel_imagery and, if there is "
        "one, osm_categories.json; local or gs://",
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "--output", type=folder_name, metavar="DIR", help="the new dataset's folder, local or gs://"
    )
    output.add_argument(
        "--cells_per_shard", type=int, default=16, help="most cells of a tile in one shard (16)"
    )
    add_retry_flag(output)
    add_processes_flag(output)
    return parser


def _check(given: argparse.Namespace, options: PipelineOptions) -> None:
    if not given.published:
        raise InvalidInputError("--published is missing: the folder that holds the published folders")
    if not given.output:
        raise InvalidInputError(
            "--output is missing: the folder of the new dataset, e.g. --output out/imported"
        )
    check_ranges(given, cells_per_shard=(1, MAX_CELLS_PER_SHARD))
    check_processes(given, options)
    given.published = output_folder(given.published, "--published")
    given.output = output_folder(given.output)


parse_import_flags = flags_of(import_parser, _check)
