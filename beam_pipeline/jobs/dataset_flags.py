"""Flags of the jobs that make a dataset: what a map is drawn as, and what is done again."""

import argparse

from beam_pipeline.jobs.given_files import read_given_text
from beam_pipeline.labels.ontology import PUBLISHED, SHIPPED, Ontology, shipped_ontology
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.names import path_name

MAX_CELLS_PER_SHARD = 256
"""A unit's chips are held in memory: about 0.84 MB a cell and year, and what they are encoded to."""


def add_drawing_flags(group: argparse._ActionsContainer) -> None:
    """Adds the flags of what a map is drawn as.

    Args:
        group: A parser or a group of its flags.
    """
    group.add_argument(
        "--water_polygons",
        type=path_name,
        metavar="FILE",
        help="the sea: the water-polygons-split of osmdata.openstreetmap.de, or another shapefile (.shp or .zip), "
        "GeoPackage or FlatGeobuf, local or gs:// (none)",
    )
    group.add_argument(
        "--ontology",
        type=path_name,
        default=PUBLISHED,
        metavar=f"{'|'.join(SHIPPED)}|JSON",
        help="what is drawn as what, and where nothing is known to be: as in the published dataset, with a stricter "
        f"table of the latter, or another osm_categories.json ({PUBLISHED})",
    )
    group.add_argument("--no_none_labels", action="store_true", help="never write 254; unknown stays 255")


def ontology_text(path: str) -> str:
    """Returns the text of the ontology that `--ontology` names, checked.

    Raises:
        InvalidInputError: It cannot be read, or is no ontology.
    """
    if path in SHIPPED:
        return shipped_ontology(path)
    try:
        text = read_given_text(path, "--ontology")
    except InvalidInputError as error:
        raise InvalidInputError(f"{error}. Or give one of the words {', '.join(SHIPPED)}") from error
    try:
        Ontology.load(text)
    except InvalidInputError as error:
        raise InvalidInputError(f"--ontology {path}: {error}") from error
    return text


def add_retry_flag(group: argparse._ActionsContainer) -> None:
    """Adds the flag of dead letters.

    Args:
        group: A parser or a group of its flags.
    """
    group.add_argument(
        "--retry_dead_letters",
        action="store_true",
        help="do those finished shards again of which an earlier run left dead letters",
    )
