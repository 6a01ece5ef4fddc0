"""The flags by which a build may reach its catalogue and the files that it names, checked."""

import argparse
import urllib.parse
from typing import Any

from beam_pipeline.imagery import buckets
from beam_pipeline.imagery.catalog_settings import CatalogSettings
from beam_pipeline.imagery.sas_tokens import PLANETARY_COMPUTER_TOKENS
from beam_pipeline.imagery.token_file import TokenFile
from beam_pipeline.jobs.given_files import read_given_bytes
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.names import path_name
from beam_pipeline.runtime.reach import FLAG, Reach, network_of, why_closed

EARTH_SEARCH_URL = "https://earth-search.aws.element84.com/v1"

ACCESS_FLAGS = ("public_buckets", "sas_token_url", "token_file", "token_hosts")
"""Those of `add_access_flags` that have no default; a build from inputs of its own takes none."""


def add_access_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags."""
    group = parser.add_argument_group("networks, and access to the catalogue and its files")
    group.add_argument(
        FLAG,
        action="store_true",
        help="ask hosts of inner networks too, of whatever name and wherever a redirect leads (off: only where "
        "--stac_url, a catalogue on disk or --overpass_url plainly names one)",
    )
    group.add_argument(
        buckets.FLAG,
        metavar="NAME=URL[,NAME=URL...]",
        help=f"S3 buckets that anybody may read, beside those of Earth Search, e.g. {buckets.EXAMPLE}",
    )
    group.add_argument(
        "--sas_token_url",
        metavar="URL",
        help="where tokens for files in Azure Blob Storage are asked for: /ACCOUNT/CONTAINER is added "
        f"({PLANETARY_COMPUTER_TOKENS} with the Planetary Computer's --stac_url, else none)",
    )
    group.add_argument(
        "--token_file",
        type=path_name,
        metavar="PATH",
        help="a file, local or gs://, that holds a bearer token for the STAC API's own host; workers read it",
    )
    group.add_argument(
        "--token_hosts",
        metavar="HOST[:PORT][,HOST...]",
        help="further hosts of files that get the token of --token_file (none)",
    )


def catalog_settings(given: Any) -> CatalogSettings:
    """Checks the flags of a catalogue and freezes them; asks nobody, and reads no token.

    Args:
        given: Our flags, from `parse_build_flags`.

    Raises:
        InvalidInputError: A flag is malformed, or does not go with another.
    """
    url = given.stac_url or EARTH_SEARCH_URL
    reach = Reach.of_catalogue(url, given.allow_own_network)
    settings = CatalogSettings(
        url,
        given.collection or "sentinel-2-l2a",
        given.allow_own_network,
        buckets=buckets.parse_buckets(given.public_buckets or "", reach),
        sas_token_url=_checked_endpoint(given.sas_token_url or "", given.allow_own_network),
        token=TokenFile(given.token_file, read_given_bytes) if given.token_file else None,
        token_hosts=tuple(host.strip() for host in (given.token_hosts or "").split(",") if host.strip()),
        files=BeamFiles(),
    )
    _check_token(settings)
    return settings


def _checked_endpoint(url: str, own_network: bool) -> str:
    network = network_of(url)
    if url and not url.startswith("https://") and network != "inner":
        raise InvalidInputError(f"--sas_token_url begins with https://. Received: {url}")
    if "?" in url or "#" in url or "@" in url:
        raise InvalidInputError(f"--sas_token_url is a URL without user and query. Received: {url}")
    if url and Reach(url, own_network).closes(network):
        raise InvalidInputError(
            f"--sas_token_url must not be asked: it {why_closed(network)}. Received: {url}"
        )
    return url


def _check_token(settings: CatalogSettings) -> None:
    """Refuses a token that would go to nobody, in the clear, or beside another secret."""
    hosts = ", ".join(settings.token_hosts)
    if settings.token is None:
        if hosts:
            raise InvalidInputError(f"--token_hosts goes with --token_file. Received: {hosts}")
        return
    for host in settings.token_hosts:
        url = f"https://{host}"
        plain = urllib.parse.urlsplit(url).netloc == host and "@" not in host
        if not plain or network_of(url) == "never" or not settings.takes_token(url):
            raise InvalidInputError(
                f"--token_hosts takes names of hosts, e.g. data.example.org. Received: {host}"
            )
    is_api = settings.url.lower().startswith(("http://", "https://"))
    if is_api and not settings.takes_token(settings.url):
        raise InvalidInputError(
            f"--token_file goes with a --stac_url that begins with https://. Received: {settings.url}"
        )
    if is_api and "@" in settings.url.partition("://")[2].partition("/")[0]:
        raise InvalidInputError(
            "--token_file and a user in --stac_url are two answers to one question. Give one of them. "
            f"Received: {settings.url}"
        )
    if not is_api and not settings.token_hosts:
        raise InvalidInputError(
            "--token_file would go to nobody: a catalogue on disk has no host. Give --token_hosts"
        )
