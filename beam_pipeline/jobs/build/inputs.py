"""The inputs of a build, found and checked before launch."""

import contextlib
import logging
from collections.abc import Iterator, Sequence

from apache_beam.options.pipeline_options import PipelineOptions
from requests.utils import get_netrc_auth

from beam_pipeline.cells.cell import Cell
from beam_pipeline.dataset.folder import DatasetFolder
from beam_pipeline.dataset.settings import BuildSettings
from beam_pipeline.imagery.catalog import check_catalog
from beam_pipeline.imagery.catalog_probe import probe_catalog, refuse_known
from beam_pipeline.imagery.catalog_settings import CatalogInfo
from beam_pipeline.imagery.token_file import NoToken
from beam_pipeline.jobs.given_files import require_reachable
from beam_pipeline.jobs.given_overpass import check_overpass, refuse_distant_overpass
from beam_pipeline.jobs.runners import runs_locally
from beam_pipeline.records.shards import DATASET_NAME
from beam_pipeline.runtime.faults import Fault, InvalidInputError
from beam_pipeline.runtime.foreign_text import without_secrets
from beam_pipeline.runtime.progress import Progress
from beam_pipeline.runtime.traffic import Traffic

_log = logging.getLogger(__name__)


def check_hosts(settings: BuildSettings) -> CatalogInfo:
    """Asks the catalogue, and checks what is asked of Overpass.

    Args:
        settings: The settings.

    Returns:
        What the job must know of the catalogue.

    Raises:
        InvalidInputError: One cannot be reached, or must not be asked; or the folder cannot be written.
    """
    if settings.overpass_url and not settings.given_store:
        check_overpass(settings.overpass_url, settings.overpass_cache, settings.own_network)
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
    if settings.overpass_url:
        refuse_distant_overpass(options)
    token = settings.catalog.token
    catalogue = "the https:// URL of a STAC API, or a gs:// path of STAC GeoParquet"
    require_reachable(
        options,
        [
            ("--output", [settings.output], "a gs:// folder"),
            ("--osm", settings.extracts, "gs:// paths of .osm.pbf extracts, or the gs:// folder of a store"),
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
