"""Flags of `extract_features`."""

import argparse
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.features.read_process import ReadLimits
from beam_pipeline.jobs.command import flags_of
from beam_pipeline.jobs.given_cells import add_cells_flags
from beam_pipeline.jobs.given_overpass import OVERPASS, add_overpass_flags
from beam_pipeline.jobs.runners import (
    SEEDS,
    SEVERAL_FILES,
    check_ranges,
    job_parser,
    output_folder,
)
from beam_pipeline.labels.ontology import PUBLISHED, SHIPPED
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.flags import FlagParser
from beam_pipeline.runtime.names import folder_name, path_name, path_names
from beam_pipeline.runtime.reach import FLAG

PROG = "python -m beam_pipeline.extract_features"

MOST_AT_ONCE = (1, 64)
"""The least and the most extracts that a machine reads at once."""


def extract_parser(prog: str = PROG, description: str = "") -> FlagParser:
    """Returns the parser of the flags.

    Args:
        prog: The command, as a person types it.
        description: What the program does.
    """
    parser = job_parser(prog, description)
    where = parser.add_argument_group("where (one of --cells, --area)")
    add_cells_flags(where)
    where.add_argument("--seed", type=int, default=0, help="of the cells that --max_cells draws (0)")
    what = parser.add_argument_group("the map")
    what.add_argument(
        "--osm",
        type=path_names,
        metavar="PBF[,PBF...]|overpass",
        help=f"OpenStreetMap extracts (.osm.pbf), {SEVERAL_FILES}; or the word overpass",
    )
    add_reading_flags(what)
    add_overpass_flags(what)
    what.add_argument(
        FLAG,
        action="store_true",
        help="ask hosts of inner networks too, of whatever name and wherever a redirect leads (off: only where "
        "--overpass_url plainly names one)",
    )
    what.add_argument(
        "--ontology",
        type=path_name,
        default=PUBLISHED,
        metavar=f"{'|'.join(SHIPPED)}|JSON",
        help="an osm_categories.json of your own, whose keys are kept beside those of the shipped ones "
        f"({PUBLISHED})",
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "--output", type=folder_name, metavar="DIR", help="the store's folder, local or gs://"
    )
    return parser


def _check(given: argparse.Namespace, _: PipelineOptions) -> None:
    if not given.output:
        raise InvalidInputError("--output is missing: the folder of the store, e.g. --output out/features")
    if not given.osm:
        raise InvalidInputError(
            "--osm is missing: one or more .osm.pbf extracts (e.g. from download.geofabrik.de), or the "
            f"word {OVERPASS}"
        )
    check_ranges(given, seed=SEEDS, extracts_at_once=MOST_AT_ONCE)
    given.output = output_folder(given.output)


parse_extract_flags = flags_of(extract_parser, _check)


def add_reading_flags(group: argparse._ActionsContainer) -> None:
    """Adds the flags of what reading extracts may take of a machine.

    Args:
        group: A parser or a group of its flags.
    """
    group.add_argument(
        "--osm_index_dir",
        type=folder_name,
        metavar="DIR",
        help="a folder of workers for temporary files of up to eight times the size of an extract (that of temporary "
        "files)",
    )
    group.add_argument(
        "--extracts_at_once",
        type=int,
        default=1,
        metavar="N",
        help="extracts that a machine reads at once (1)",
    )


def read_limits(given: Any) -> ReadLimits:
    """Returns what reading extracts may take of a machine."""
    check_ranges(given, extracts_at_once=MOST_AT_ONCE)
    return ReadLimits(given.osm_index_dir or "", given.extracts_at_once)
