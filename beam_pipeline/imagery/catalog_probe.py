"""Opens a first image of a catalogue before launch, so that one whose files cannot be read is refused at once."""

import collections
import dataclasses
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from beam_pipeline.imagery.catalog import open_catalog
from beam_pipeline.imagery.catalog_settings import CatalogSettings, origin_of
from beam_pipeline.imagery.cog import SceneReader
from beam_pipeline.imagery.file_keys import FileKeys
from beam_pipeline.imagery.image import SCL
from beam_pipeline.imagery.sas_tokens import PLANETARY_COMPUTER_TOKENS, Container
from beam_pipeline.imagery.scenes import Scene
from beam_pipeline.imagery.stac_item import parse_item, sensing_time, tile_of_item
from beam_pipeline.imagery.static_catalog import StaticItem
from beam_pipeline.runtime.faults import Fault, InvalidInputError, PermanentFault
from beam_pipeline.runtime.foreign_text import one_line
from beam_pipeline.runtime.retries import RetryPolicy
from beam_pipeline.runtime.traffic import Traffic

MOST_ITEMS = 5
"""Items that are looked at: the first that can be read is enough, and one that is odd condemns no catalogue."""

MOST_SEARCHES = 4
"""Tiles and years in which items are looked for."""

BANDS = (SCL, "B02")

_PAGE = 100
"""Items of a tile and year among which those to be looked at are chosen."""

_MOST_S = 120.0
"""Seconds after which no further item is looked at."""

_TIMEOUT_S = 20.0
_MOST_TRIES = 3
_MOST_WAIT_S = 5.0
"""Of a file: what is wrong with one may be right with the next, and a person waits."""

_Thing = TypeVar("_Thing")
_Refused = tuple[str, Scene | None, Fault]
"""An item that cannot be used: its id, the scene where it could be parsed, and why."""

_CDSE = "dataspace.copernicus.eu"

_ADVICE_OF_BEARER = (
    "Hosts say so to who brings no token, and some to who asks too often. Give a bearer token by --token_file, and "
    "--token_hosts where the files lie on another host than the API, or try again later. A private bucket, or one "
    "whose readers pay, is not read"
)

_ADVICE_OF_SAS = (
    "Files of Azure Blob Storage need a token: give --sas_token_url, of the Planetary Computer's files "
    + PLANETARY_COMPUTER_TOKENS
)

_REMEDIES = {
    "forbidden": _ADVICE_OF_BEARER,
    "not_found": "The catalogue names files that are not there. Ask its makers, or choose another one",
    "no_scl": "Give a collection of Sentinel-2 L2A whose assets are called as docs/sources.md says: L1C has no SCL",
    "missing_asset": "Give a collection of Sentinel-2 L2A whose assets are called as docs/sources.md says",
    "unreadable_href": "docs/sources.md names catalogues whose files can be read",
    "no_token": "Look whether the endpoint, or the file of the token, is the right one",
}
_ADVICE_OF_FILES = (
    "Its files are not ESA's pixels as GeoTIFFs, one band a file. docs/sources.md names catalogues whose are"
)
_ADVICE_OF_ITEMS = "docs/sources.md says what items must have, and names catalogues whose have it"
_ADVICE_TO_WAIT = "That may pass: try again later. Nothing was launched"


def refuse_known(url: str) -> None:
    """Refuses a catalogue of which it is known that its files cannot be read; asks nobody.

    Args:
        url: Of the catalogue.

    Raises:
        InvalidInputError: It is that of the Copernicus Data Space.
    """
    host = (origin_of(url)[1] or "").lower()
    if host == _CDSE or host.endswith(f".{_CDSE}"):
        raise InvalidInputError(
            "The Copernicus Data Space (CDSE) holds Sentinel-2 as JPEG 2000 in s3://eodata, and only GeoTIFFs are "
            f"read. Give a catalogue of the same scenes as GeoTIFFs: docs/sources.md names some. Received: {url}"
        )


def probe_catalog(
    settings: CatalogSettings,
    tile_years: Sequence[tuple[str, int]],
    api: Traffic,
    files: Traffic,
    retry: RetryPolicy | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Parses an item and opens its SCL and one band; of a few items the first that can be read is enough.

    Where none of the tiles and years that are looked at has an item, nothing is said: there is nothing to read.

    Args:
        settings: Of the catalogue.
        tile_years: (tile, year) that the run is about to search; a few of them are looked at.
        api: Paces the requests to the API, and to endpoints of tokens.
        files: Paces those for files.
        retry: How often each request is tried; a file is tried less often.
        clock: Seconds of a clock that never goes back; a test passes its own.

    Raises:
        InvalidInputError: No image can be read: with the reason that most of them have, and what to do.
        Fault: As `find_scenes` of the catalogue.
    """
    started = clock()
    refused: list[_Refused] = []
    retry = retry or RetryPolicy.default()
    impatient = dataclasses.replace(
        retry, attempts=min(retry.attempts, _MOST_TRIES), cap_s=min(retry.cap_s, _MOST_WAIT_S)
    )
    keys = FileKeys(settings, impatient, api)
    with SceneReader(1, impatient, _TIMEOUT_S, traffic=files, reach=settings.reach, keys=keys) as reader:
        for tile, year in _spread(tile_years, MOST_SEARCHES):
            found = list(itertools.islice(_items_of(settings, tile, year, retry, api), _PAGE))
            for item, base_href in _spread(found, MOST_ITEMS - len(refused)):
                if refused and clock() - started > _MOST_S:
                    break
                scene = None
                try:
                    scene = parse_item(item, tile, base_href, settings.reach, settings.all_buckets)
                    reader.look_at(scene.assets, BANDS)
                    return
                except Fault as fault:
                    refused.append((one_line(str(item.get("id"))), scene, fault))
            if len(refused) >= MOST_ITEMS or clock() - started > _MOST_S:
                break
    if refused:
        raise _refusal(settings, refused)


def _items_of(
    settings: CatalogSettings, tile: str, year: int, retry: RetryPolicy, traffic: Traffic
) -> Iterator[StaticItem]:
    for item, base_href in open_catalog(settings, retry, traffic).items(tile, year):
        sensed = sensing_time(item)
        if tile_of_item(item) in (tile, None) and sensed[:4] in (str(year), ""):
            yield item, base_href


def _spread(things: Sequence[_Thing], most: int) -> list[_Thing]:
    """Returns so many things, evenly spaced, the first among them: neighbours may share what is wrong with them."""
    count = min(most, len(things))
    return [things[index * len(things) // count] for index in range(count)]


def _refusal(settings: CatalogSettings, refused: Sequence[_Refused]) -> InvalidInputError:
    ((reason, count),) = collections.Counter(fault.reason for *_, fault in refused).most_common(1)
    name, scene, fault = next(it for it in refused if it[2].reason == reason)
    of_kind = _ADVICE_OF_FILES if scene else _ADVICE_OF_ITEMS
    remedy = _REMEDIES.get(reason, of_kind if isinstance(fault, PermanentFault) else _ADVICE_TO_WAIT)
    if reason in ("forbidden", "not_found") and scene and not settings.sas_endpoint:
        # Azure says one or the other to who brings no token.
        remedy = _ADVICE_OF_SAS if Container.of_url(scene.assets[SCL]) else remedy
    return InvalidInputError(
        f"--stac_url: no image of the catalogue can be read. {len(refused)} items were looked at, {count} of them "
        f"cannot be used because of {reason}: {name}: {fault.detail}. {remedy}. Received: {settings.url}"
    )
