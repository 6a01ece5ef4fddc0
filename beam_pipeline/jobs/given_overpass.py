"""The word `overpass` in place of extracts: its flags, and the checks of them before launch."""

import argparse
import datetime
import re

from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.jobs.runners import runs_locally
from beam_pipeline.labels.extract import time_filter
from beam_pipeline.labels.overpass import check_cache, check_url
from beam_pipeline.runtime.extras import require_package
from beam_pipeline.runtime.faults import InvalidInputError, PermanentFault
from beam_pipeline.runtime.names import folder_name
from beam_pipeline.runtime.reach import Reach

OVERPASS = "overpass"

OVERPASS_URL = "https://overpass-api.de/api"

_FIRST_MAP = datetime.datetime(2012, 9, 12, tzinfo=datetime.UTC)
"""The first map under the ODbL, from which on Overpass keeps what was. Source: issue 199 of drolbr/Overpass-API."""


def add_overpass_flags(group: argparse._ActionsContainer) -> None:
    """Adds the flags of the word `overpass` in place of extracts.

    Args:
        group: A parser or a group of its flags.
    """
    group.add_argument("--overpass_url", default=OVERPASS_URL, help=f"({OVERPASS_URL})")
    group.add_argument(
        "--overpass_cache",
        type=folder_name,
        metavar="DIR",
        help="keep Overpass answers here (default: a cache)",
    )
    group.add_argument(
        "--osm_date",
        metavar="DATE",
        help="the map of --osm overpass as of a day or time in UTC, e.g. 2019-07-01 or 2019-07-01T12:00:00Z (now)",
    )


def parse_osm_date(text: str, *, overpass: bool) -> str:
    """Parses "2019-07-01" or "2019-07-01T12:00:00Z".

    Args:
        text: A day, which stands for its beginning, or a time in UTC.
        overpass: Whether Overpass is asked; extracts are of the date that they are of.

    Returns:
        The time as Overpass takes it, e.g. "2019-07-01T00:00:00Z".

    Raises:
        InvalidInputError: It is neither, lies in the future or before the first map that Overpass keeps, or goes with
            extracts.
    """
    try:
        if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)?", text):
            raise ValueError(text)
        time = datetime.datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInputError(
            "--osm_date takes a day or a time in UTC such as 2019-07-01 or 2019-07-01T12:00:00Z. "
            f"Received: {text}"
        ) from error
    time = time.replace(tzinfo=datetime.UTC)
    if not _FIRST_MAP <= time <= datetime.datetime.now(datetime.UTC):
        raise InvalidInputError(
            f"--osm_date must lie between {_FIRST_MAP:%Y-%m-%d}, the first map that Overpass keeps, and now. "
            f"Received: {text}"
        )
    parsed = time.strftime("%Y-%m-%dT%H:%M:%SZ")
    if not overpass:
        raise InvalidInputError(
            "--osm_date goes with --osm overpass: an extract is of the date that it was made at. For another date make "
            f"one of a history extract: {time_filter('HISTORY.osh.pbf', parsed, 'MAP.osm.pbf')}"
        )
    return parsed


def refuse_distant_overpass(options: PipelineOptions) -> None:
    """Refuses a job on other machines that asks Overpass.

    Raises:
        InvalidInputError: The workers are not on this machine.
    """
    if not runs_locally(options):
        raise InvalidInputError(
            "--osm overpass works with local runners only: the public servers ask not to be used in parallel "
            "or from cloud workers. Give .osm.pbf extracts, e.g. of download.geofabrik.de"
        )


def check_overpass(url: str, cache: str, own_network: bool) -> None:
    """Checks the Overpass API's URL, its host and the folder of its answers; asks nobody.

    Args:
        url: The API.
        cache: The folder, "" for the default.
        own_network: Whether hosts of inner networks may be asked.

    Raises:
        InvalidInputError: It must not be asked, or the folder cannot be written.
    """
    require_package("osmnx", "--osm overpass", "overpass")
    check_url(url)
    try:
        Reach(url, own_network).require_resolved(url)
    except PermanentFault as fault:
        raise InvalidInputError(f"--overpass_url must not be asked: {fault.detail}") from fault
    check_cache(cache)
