"""Command-line flags -> frozen settings, checked before anything is launched."""

import argparse
import datetime
import re
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.dataset.settings import BuildSettings
from beam_pipeline.imagery.chips import FilterSettings
from beam_pipeline.jobs.build.access import EARTH_SEARCH_URL, add_access_flags, catalog_settings
from beam_pipeline.jobs.command import flags_of
from beam_pipeline.jobs.dataset_flags import (
    MAX_CELLS_PER_SHARD,
    add_drawing_flags,
    add_retry_flag,
    ontology_text,
)
from beam_pipeline.jobs.extract.options import add_reading_flags, read_limits
from beam_pipeline.jobs.given_cells import add_cells_flags
from beam_pipeline.jobs.given_overpass import OVERPASS, add_overpass_flags, parse_osm_date
from beam_pipeline.jobs.processes import add_processes_flag, check_processes
from beam_pipeline.jobs.request_shares import add_limit_flags, request_shares
from beam_pipeline.jobs.runners import (
    SEEDS,
    SEVERAL_FILES,
    check_ranges,
    job_parser,
    output_folder,
)
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.flags import FlagParser
from beam_pipeline.runtime.names import folder_name, path_name, path_names

PROG = "python -m beam_pipeline.build_dataset"

NO_SCL_CLASS = "none"
"""A template takes an empty value for one that is not given."""

_FIRST_YEAR = 2015  # Sentinel-2A was launched in June 2015


def build_parser(prog: str = PROG, description: str = "") -> FlagParser:
    """Returns the parser of the flags.

    Args:
        prog: The command, as a person types it.
        description: What the program does.
    """
    parser = job_parser(prog, description)
    _add_cells(parser)
    add_imagery_flags(parser).add_argument(
        "--allow_single", action="store_true", help="keep cell-years with one clear date"
    )
    add_limit_flags(parser)
    add_access_flags(parser)
    _add_labels(parser)
    _add_output(parser)
    return parser


def _add_cells(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("where (one of --cells, --area, --sample)")
    add_cells_flags(group)
    group.add_argument(
        "--sample",
        action="store_true",
        help="build the embedded sample: a small made-up place in the real formats",
    )
    group.add_argument(
        "--sample_cells", type=int, default=50, help="about how many cells the sample has (50)"
    )
    group.add_argument(
        "--sample_dir",
        type=folder_name,
        metavar="DIR",
        help="keep the sample's inputs here (default: a cache)",
    )


def add_imagery_flags(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Adds the flags of the images and of what makes one unusable; returns their group."""
    group = parser.add_argument_group("imagery")
    group.add_argument(
        "--years", help="years and ranges, separated by commas, e.g. 2017,2019-2021 (2017-2020)"
    )
    group.add_argument(
        "--stac_url",
        type=path_name,
        help="a STAC API; a static catalogue, item or folder on disk; or STAC GeoParquet, local or in gs:// or s3://, "
        f"e.g. gs://b/items.parquet or 'items/*.parquet' ({EARTH_SEARCH_URL})",
    )
    group.add_argument("--collection", help="its collection of Sentinel-2 L2A (sentinel-2-l2a)")
    group.add_argument(
        "--max_scene_cloud", type=float, help="drop scenes of more eo:cloud_cover, percent (off)"
    )
    group.add_argument(
        "--max_bad_fraction",
        type=float,
        default=0.25,
        help="most unusable SCL pixels of a chip, 0 to 1 (0.25)",
    )
    group.add_argument(
        "--bad_scl",
        default="1,3,8,9,10",
        metavar="CLASS,...|none",
        help="SCL classes that make a pixel unusable, separated by commas, or none (1,3,8,9,10)",
    )
    group.add_argument(
        "--max_min_reflectance",
        type=float,
        default=0.2,
        help="a chip that is brighter in B02, B03 and B04 is cloud that SCL missed (0.2; 10 is off)",
    )
    group.add_argument(
        "--min_reflectance_percentile",
        type=float,
        default=5.0,
        metavar="P",
        help="percentile of the pixels of which the brightness is taken (5; 0 is the darkest pixel)",
    )
    group.add_argument("--allow_nodata", action="store_true", help="keep chips with no-data pixels")
    group.add_argument(
        "--reads_in_flight", type=int, default=8, help="assets that a worker process reads at once (8)"
    )
    return group


def _add_labels(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("labels")
    group.add_argument(
        "--osm",
        type=path_names,
        metavar="PBF[,PBF...]|STORE|overpass",
        help=f"OpenStreetMap extracts (.osm.pbf), {SEVERAL_FILES}; or the folder of a store that extract_features "
        "made; or the word overpass",
    )
    add_reading_flags(group)
    add_overpass_flags(group)
    add_drawing_flags(group)


def _add_output(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    group.add_argument(
        "--output", type=folder_name, metavar="DIR", help="the dataset's folder, local or gs://"
    )
    add_retry_flag(group)
    group.add_argument(
        "--cells_per_shard", type=int, default=16, help="most cells of a tile in one shard (16)"
    )
    add_processes_flag(group)
    group.add_argument(
        "--seed", type=int, default=0, help="of all that is drawn: cells, splits, scene order (0)"
    )


parse_build_flags = flags_of(build_parser)


def build_settings(given: Any, options: PipelineOptions) -> BuildSettings:
    """Checks the flags that need no other input and freezes them.

    Args:
        given: Our flags, from `parse_build_flags`.
        options: Beam's options.

    Returns:
        The settings.

    Raises:
        InvalidInputError: A flag is missing or malformed; the message names it.
    """
    if not given.output:
        raise InvalidInputError(
            "--output is missing: the folder of the dataset, e.g. --output out/liechtenstein"
        )
    if not (given.osm or given.sample):
        raise InvalidInputError(
            "--osm is missing: one or more .osm.pbf extracts (e.g. from download.geofabrik.de), a store of "
            "extract_features, or the word overpass"
        )
    check_ranges(given, cells_per_shard=(1, MAX_CELLS_PER_SHARD))
    overpass = given.osm == (OVERPASS,)
    return BuildSettings(
        **image_settings(given, options),
        cells_per_shard=given.cells_per_shard,
        allow_single=given.allow_single,
        extracts=() if overpass else given.osm or (),
        overpass_url=given.overpass_url.rstrip("/") if overpass else "",
        overpass_cache=given.overpass_cache or "",
        ontology_json=ontology_text(given.ontology),
        none_labels=not given.no_none_labels,
        read_limits=read_limits(given),
        water_polygons=given.water_polygons or "",
        osm_date="" if given.osm_date is None else parse_osm_date(given.osm_date, overpass=overpass),
    )


def image_settings(given: Any, options: PipelineOptions) -> dict[str, Any]:
    """Checks the flags of images and output that a build and a job of patches share.

    Args:
        given: Our flags; the output folder is among them.
        options: Beam's options.

    Returns:
        Fields of `BuildSettings`.

    Raises:
        InvalidInputError: A flag is malformed; the message names it.
    """
    check_ranges(
        given,
        reads_in_flight=(1, 64),
        max_bad_fraction=(0, 1),
        max_scene_cloud=(0, 100),
        max_min_reflectance=(0, 10),
        min_reflectance_percentile=(0, 100),
        seed=SEEDS,
    )
    check_processes(given, options)
    api, files = request_shares(given, options)
    return {
        "output": output_folder(given.output),
        "years": parse_years(given.years or "2017-2020"),
        "seed": given.seed,
        "catalog": catalog_settings(given),
        "max_scene_cloud": given.max_scene_cloud,
        "filters": FilterSettings(
            max_bad_fraction=given.max_bad_fraction,
            bad_scl=parse_scl_classes(given.bad_scl),
            max_min_reflectance=given.max_min_reflectance,
            min_reflectance_percentile=given.min_reflectance_percentile,
            allow_nodata=given.allow_nodata,
        ),
        "api": api,
        "files": files,
        "retry_dead_letters": given.retry_dead_letters,
    }


def parse_years(text: str) -> tuple[int, ...]:
    """Parses "2017-2020", "2019" or "2018,2020-2022".

    Args:
        text: Years and ranges, separated by commas.

    Returns:
        The years, ascending, each once.

    Raises:
        InvalidInputError: A part is no year or range, or lies outside of Sentinel-2's life.
    """
    years: set[int] = set()
    this_year = datetime.datetime.now(datetime.UTC).year
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{4})(?:\s*-\s*(\d{4}))?\s*", part)
        if match is None:
            raise InvalidInputError(
                f'--years takes years and ranges such as "2017-2020" or "2019,2021". Received: {text}'
            )
        first, last = int(match[1]), int(match[2] or match[1])
        if not _FIRST_YEAR <= first <= last <= this_year:
            raise InvalidInputError(
                f"--years must ascend and lie in {_FIRST_YEAR} to {this_year}. Received: {part.strip()}"
            )
        years.update(range(first, last + 1))
    return tuple(sorted(years))


def parse_scl_classes(text: str) -> tuple[int, ...]:
    """Parses "1,3,8" to SCL classes.

    Args:
        text: Classes from 1 to 11, separated by commas; "none" or "" for none.

    Returns:
        The classes, ascending.

    Raises:
        InvalidInputError: One is no class, or is 0, which has its own rule.
    """
    if text.strip() == NO_SCL_CLASS:
        return ()
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isdigit() and 1 <= int(part) <= 11 for part in parts):
        raise InvalidInputError(
            f"--bad_scl takes SCL classes from 1 to 11, separated by commas, or none; no data (0) has its own flag, "
            f"--allow_nodata. Received: {text}"
        )
    return tuple(sorted({int(part) for part in parts}))
