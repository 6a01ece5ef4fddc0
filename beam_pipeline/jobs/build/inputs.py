"""The inputs of a build, found and checked before launch."""

import concurrent.futures
import contextlib
import logging
import os
from collections.abc import Iterator, Sequence
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions
from requests.utils import get_netrc_auth

from beam_pipeline.cells.cell import Cell
from beam_pipeline.cells.region import cells_in_region
from beam_pipeline.cells.table import parse_cells_csv
from beam_pipeline.dataset.commits import READS_AT_ONCE
from beam_pipeline.dataset.fingerprint import Extract
from beam_pipeline.dataset.folder import DatasetFolder
from beam_pipeline.dataset.output_folder import began_with
from beam_pipeline.dataset.settings import BuildSettings
from beam_pipeline.imagery.catalog import check_catalog
from beam_pipeline.imagery.catalog_probe import probe_catalog, refuse_known
from beam_pipeline.imagery.catalog_settings import CatalogInfo
from beam_pipeline.imagery.token_file import NoToken
from beam_pipeline.jobs.areas import read_area
from beam_pipeline.jobs.given_files import expand_globs, read_given_text, require_reachable
from beam_pipeline.jobs.runners import runs_locally
from beam_pipeline.jobs.storage import header_copy
from beam_pipeline.labels.extract import ExtractInfo, check_extract
from beam_pipeline.labels.overpass import check_cache, check_url
from beam_pipeline.labels.pbf_blocks import breaks_off
from beam_pipeline.records.shards import DATASET_NAME
from beam_pipeline.runtime.disk import is_local
from beam_pipeline.runtime.extras import require_package
from beam_pipeline.runtime.faults import Fault, InvalidInputError, PermanentFault
from beam_pipeline.runtime.foreign_text import without_secrets
from beam_pipeline.runtime.progress import Progress
from beam_pipeline.runtime.reach import Reach
from beam_pipeline.runtime.traffic import Traffic

_log = logging.getLogger(__name__)


def check_hosts(settings: BuildSettings) -> CatalogInfo:
    """Asks the catalogue, and checks the Overpass API's URL, its host and the folder of its answers.

    Args:
        settings: The settings.

    Returns:
        What the job must know of the catalogue.

    Raises:
        InvalidInputError: One cannot be reached, or must not be asked; or the folder cannot be written.
    """
    if settings.overpass_url:
        require_package("osmnx", "--osm overpass", "overpass")
        check_url(settings.overpass_url)
        try:
            Reach(settings.overpass_url, settings.own_network).require_resolved(settings.overpass_url)
        except PermanentFault as fault:
            raise InvalidInputError(f"--overpass_url must not be asked: {fault.detail}") from fault
        check_cache(settings.overpass_cache)
    refuse_known(settings.catalog.url)
    _check_token(settings)
    api = Traffic.of_job(settings.output, "api", settings.api.whole())
    with _reaching(settings), Progress(None, "asking the catalogue"):
        return check_catalog(settings.catalog, traffic=api, years=settings.years)


def check_images(settings: BuildSettings, cells: Sequence[Cell], folder: DatasetFolder) -> None:
    """Has a first image of the catalogue opened, of a tile and year of the run.

    A folder that has shards is gone on with all the same: its catalogue could be read, and should a host be away, what
    is left becomes dead letters and no more.

    Args:
        settings: The settings.
        cells: The cells.
        folder: The dataset's folder; it may be missing.

    Raises:
        InvalidInputError: No image can be read, or the catalogue cannot be reached.
        Fault: The folder cannot be read.
    """
    if folder.files.glob(folder.path, f"{DATASET_NAME}-*"):
        return
    api = Traffic.of_job(settings.output, "api", settings.api.whole())
    files = Traffic.of_job(settings.output, "files", settings.files.whole())
    # The newest first: of those every catalogue has most.
    tile_years = [
        (tile, year) for year in settings.years[::-1] for tile in sorted({cell.tile for cell in cells})
    ]
    with _reaching(settings), Progress(None, "opening a first image"):
        probe_catalog(settings.catalog, tile_years, api, files)


@contextlib.contextmanager
def _reaching(settings: BuildSettings) -> Iterator[None]:
    try:
        yield
    except Fault as fault:
        raise InvalidInputError(
            f"--stac_url cannot be reached: {fault}. Check the URL and the network. "
            f"Received: {settings.catalog.url}"
        ) from fault


def _check_token(settings: BuildSettings) -> None:
    if settings.catalog.token is None:
        return
    try:
        settings.catalog.token.token()
    except NoToken as fault:
        raise InvalidInputError(f"--token_file cannot be used: {fault.detail}") from fault


def check_reach(settings: BuildSettings, options: PipelineOptions) -> None:
    """Looks for what lies on this machine, of a job that runs on others: see `require_reachable`.

    Args:
        settings: The settings.
        options: Beam's options.

    Raises:
        InvalidInputError: Something lies on this machine, and no Dataflow worker would find it; or workers elsewhere
            would ask the Overpass API.
    """
    if settings.overpass_url and not runs_locally(options):
        raise InvalidInputError(
            "--osm overpass works with local runners only: the public servers ask not to be used in parallel "
            "or from cloud workers. Give .osm.pbf extracts, e.g. of download.geofabrik.de"
        )
    token = settings.catalog.token
    catalogue = "the https:// URL of a STAC API, or a gs:// path of STAC GeoParquet"
    require_reachable(
        options,
        [
            ("--output", [settings.output], "a gs:// folder"),
            ("--osm", settings.extracts, "gs:// paths of .osm.pbf extracts"),
            ("--stac_url", [settings.catalog.url], catalogue),
            ("--token_file", [token.path] if token else [], "a gs:// path that the workers may read"),
        ],
    )
    url = settings.catalog.url
    if not (runs_locally(options) or token) and get_netrc_auth(url) is not None:
        _log.warning(
            "%s: ~/.netrc of this machine has a password for it, which workers do not find. Give --token_file",
            without_secrets(url),
        )


def find_cells(given: Any, seed: int) -> list[Cell]:
    """Returns the cells of --cells or --area.

    Args:
        given: The flags, from `parse_build_flags`.
        seed: Draws splits and --max_cells.

    Returns:
        At least one cell.

    Raises:
        InvalidInputError: Neither or both were given, or what was given is malformed or holds no cell.
    """
    if (given.cells is None) == (given.area is None):
        raise InvalidInputError("Give the cells by one of --cells CSV, --area BBOX|GEOJSON and --sample")
    if given.cells is not None:
        if given.max_cells is not None:
            raise InvalidInputError("--max_cells goes with --area: a --cells file is taken whole")
        return parse_cells_csv(read_given_text(given.cells, "--cells"), given.cells)
    found = cells_in_region(read_area(given.area), given.max_cells, seed)
    if not found.cells:
        raise InvalidInputError(
            f"--area holds the centre of no cell that a Sentinel-2 tile covers "
            f"({found.without_tile} without tile). Received: {given.area}"
        )
    return list(found.cells)


def expand_extracts(patterns: Sequence[str]) -> tuple[str, ...]:
    """Returns the extracts that paths and globs name, each once.

    Args:
        patterns: Paths or globs, local or gs://.

    Returns:
        Paths, sorted within each pattern; of those that lead to one file under one name, the first.

    Raises:
        InvalidInputError: A pattern matches nothing, or two extracts share a file name.
    """
    by_file: dict[tuple[str, str], str] = {}
    for path in expand_globs(patterns, "--osm"):
        file = os.path.realpath(path) if is_local(path) else path
        by_file.setdefault((file, path.rpartition("/")[2]), path)
    paths = list(by_file.values())
    if len({name for _, name in by_file}) != len(paths):
        raise InvalidInputError(
            "Two extracts of --osm have one file name, by which they are told apart. "
            f"Received: {', '.join(paths)}"
        )
    return tuple(paths)


def inspect_extracts(paths: Sequence[str]) -> list[ExtractInfo]:
    """Returns what the extracts' headers say, in the order of the paths; a remote file is read no farther.

    Raises:
        InvalidInputError: One cannot be read, or is no extract.
    """
    extracts = []
    with (
        Progress(len(paths), "looking into the extracts", "extracts") as progress,
        concurrent.futures.ThreadPoolExecutor(READS_AT_ONCE) as pool,
    ):
        for info in pool.map(_inspect, paths):
            extracts.append(info)
            progress.update()
    return extracts


def _inspect(path: str) -> ExtractInfo:
    with naming("--osm", "read", path, "Check path and access"), header_copy(path) as local:
        return check_extract(local)


def require_whole(paths: Sequence[str], extracts: Sequence[ExtractInfo], folder: DatasetFolder) -> None:
    """Refuses a local extract that breaks off, but where the folder was begun with it.

    Found in the job, it would cost cells, and the whole file would be that of another dataset. A folder that was begun
    with it is gone on with all the same: its other cells are sound. A remote file is not read before launch.

    Args:
        paths: The extracts.
        extracts: What their headers say.
        folder: The dataset's folder.

    Raises:
        InvalidInputError: One breaks off.
        Fault: The folder cannot be read.
    """
    for path, info in zip(paths, extracts, strict=True):
        if "://" in path or not breaks_off(path) or began_with(folder, Extract.of_info(info)):
            continue
        raise InvalidInputError(
            f"An OSM extract breaks off: it was not downloaded to its end. Received: {path}. Download it again, then "
            "give the same command"
        )


@contextlib.contextmanager
def naming(flag: str, done: str, path: str, advice: str) -> Iterator[None]:
    """Turns whatever a path leads to into an error that names the flag which gave it."""
    try:
        yield
    except InvalidInputError:
        raise  # says more already
    except Exception as error:
        # More than faults and OSError: Beam and each cloud's client have classes of their own, e.g. for a scheme
        # without its extra, or for missing credentials.
        raise InvalidInputError(f"{flag} cannot be {done}: {error}. {advice}. Received: {path}") from error
