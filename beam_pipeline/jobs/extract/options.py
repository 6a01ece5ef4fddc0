"""Flags of `extract_features`."""

import argparse
from collections.abc import Sequence

from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.jobs.build.options import OVERPASS, add_overpass_flags, add_reading_flags
from beam_pipeline.jobs.runners import (
    SEEDS,
    SEVERAL_FILES,
    add_area_flag,
    check_ranges,
    job_parser,
    output_folder,
    parse_flags,
)
from beam_pipeline.labels.ontology import PUBLISHED, SHIPPED
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.flags import FlagParser
from beam_pipeline.runtime.names import folder_name, path_name, path_names
from beam_pipeline.runtime.reach import FLAG

PROG = "python -m beam_pipeline.extract_features"


def extract_parser(prog: str = PROG, description: str = "") -> FlagParser:
    """Returns the parser of the flags.

    Args:
        prog: The command, as a person types it.
        description: What the program does.
    """
    parser = job_parser(prog, description)
    where = parser.add_argument_group("where (one of --cells, --area)")
    where.add_argument(
        "--cells", type=path_name, metavar="CSV", help="a spatial_cell_info.csv: ours or the published one"
    )
    add_area_flag(where, "make cells in")
    where.add_argument(
        "--max_cells", type=int, help="keep at most this many cells of --area, drawn by the seed"
    )
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


def parse_extract_flags(
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
        InvalidInputError: A flag is unknown, missing or malformed.
    """
    given, options = parse_flags(extract_parser(prog, description), argv)
    if not given.output:
        raise InvalidInputError("--output is missing: the folder of the store, e.g. --output out/features")
    if not given.osm:
        raise InvalidInputError(
            "--osm is missing: one or more .osm.pbf extracts (e.g. from download.geofabrik.de), or the "
            f"word {OVERPASS}"
        )
    check_ranges(given, seed=SEEDS)
    given.output = output_folder(given.output)
    return given, options
