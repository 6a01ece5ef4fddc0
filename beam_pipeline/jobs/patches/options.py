"""Flags of `resample_patches`, and its settings."""

import argparse
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.dataset.settings import PatchSettings
from beam_pipeline.jobs.build.access import add_access_flags
from beam_pipeline.jobs.build.options import add_imagery_flags, image_settings
from beam_pipeline.jobs.command import flags_of
from beam_pipeline.jobs.dataset_flags import MAX_CELLS_PER_SHARD, add_retry_flag
from beam_pipeline.jobs.processes import add_processes_flag
from beam_pipeline.jobs.request_shares import add_limit_flags
from beam_pipeline.jobs.runners import check_ranges, job_parser
from beam_pipeline.labels.ontology import PUBLISHED, shipped_ontology
from beam_pipeline.places.place_list import checked_date
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.flags import FlagParser
from beam_pipeline.runtime.names import folder_name, path_name

PROG = "python -m beam_pipeline.resample_patches"

OWN_DATE = "own"
"""The word of --near for each place's own date."""

_LISTS = ("places", "eurosat", "fmow")


def patches_parser(prog: str = PROG, description: str = "") -> FlagParser:
    """Returns the parser of the flags.

    Args:
        prog: The command, as a person types it.
        description: What the program does.
    """
    parser = job_parser(prog, description)
    group = parser.add_argument_group("labelled places (one of these)")
    group.add_argument(
        "--places",
        type=path_name,
        metavar="CSV|GEOJSON",
        help="a CSV, or a GeoJSON (.json, .geojson), of points or polygons: columns class, and lon and lat or wkt; "
        "name, split and date if there are any",
    )
    group.add_argument(
        "--eurosat",
        type=folder_name,
        metavar="DIR",
        help="EuroSAT's GeoTIFFs of 13 bands in a folder for each class, on this machine: a place a tile",
    )
    group.add_argument(
        "--fmow",
        type=folder_name,
        metavar="DIR",
        help="fMoW's archive groundtruth.tar.bz2, unpacked on this machine: a place a location",
    )
    add_imagery_flags(parser).add_argument(
        "--near",
        metavar=f"DATE|{OWN_DATE}",
        help=f"take the clear date of --years nearest to a date like 2019-07-01, or to each place's {OWN_DATE} (a "
        "random clear date)",
    )
    add_limit_flags(parser)
    add_access_flags(parser)
    output = parser.add_argument_group("output")
    output.add_argument(
        "--output", type=folder_name, metavar="DIR", help="the dataset's folder, local or gs://"
    )
    add_retry_flag(output)
    output.add_argument(
        "--places_per_shard", type=int, default=32, help="most places of a tile in one shard (32)"
    )
    add_processes_flag(output)
    output.add_argument("--seed", type=int, default=0, help="of all that is drawn: dates, splits (0)")
    return parser


parse_patch_flags = flags_of(patches_parser)


def patch_settings(given: Any, options: PipelineOptions) -> PatchSettings:
    """Checks the flags that need no other input and freezes them.

    Args:
        given: Our flags, from `parse_patch_flags`.
        options: Beam's options.

    Raises:
        InvalidInputError: A flag is missing or malformed; the message names it.
    """
    if not given.output:
        raise InvalidInputError("--output is missing: the folder of the dataset, e.g. --output out/patches")
    _require_one_list(given)
    check_ranges(given, places_per_shard=(1, MAX_CELLS_PER_SHARD))
    given_date(given)
    return PatchSettings(
        **image_settings(given, options),
        cells_per_shard=given.places_per_shard,
        allow_single=True,
        nearest=given.near is not None,
        # No map: every label says that nothing is known.
        extracts=(),
        overpass_url="",
        overpass_cache="",
        ontology_json=shipped_ontology(PUBLISHED),
        none_labels=False,
    )


def _require_one_list(given: Any) -> None:
    flags = [f"--{name}" for name in _LISTS if getattr(given, name) is not None]
    if not flags:
        raise InvalidInputError(
            "--places is missing: a CSV or GeoJSON of labelled places, e.g. --places places.csv; or give a local "
            "folder by --eurosat or --fmow"
        )
    if len(flags) > 1:
        raise InvalidInputError(
            f"Give the places by one of {', '.join(f'--{name}' for name in _LISTS)}. Received: {' and '.join(flags)}"
        )


def given_date(given: argparse.Namespace) -> str:
    """Returns the date of --near; "" where there is none, or places have their own.

    Raises:
        InvalidInputError: It is no date.
    """
    if given.near is None or given.near == OWN_DATE:
        return ""
    date = checked_date(given.near, "--near", f"what is not the word {OWN_DATE}")
    if not date:
        raise InvalidInputError(f"--near takes a date like 2019-07-01, or {OWN_DATE}. Received: nothing")
    return date
