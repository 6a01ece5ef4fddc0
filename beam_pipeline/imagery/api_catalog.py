"""A STAC API as a catalogue: checked before a run, and searched for the items of a tile and year."""

import contextlib
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any, Self, cast

import pystac
from pystac_client import Client, Modifiable
from pystac_client.errors import ClientTypeError

from beam_pipeline.cells.mgrs_tiles import tile_lonlat_bounds
from beam_pipeline.imagery.api_access import ApiAccess
from beam_pipeline.imagery.catalog_settings import CatalogInfo, CatalogSettings
from beam_pipeline.imagery.stac_answers import check_landing_page
from beam_pipeline.imagery.stac_io import RetryingStacIO
from beam_pipeline.imagery.stac_item import tile_of_item
from beam_pipeline.imagery.static_catalog import StaticItem
from beam_pipeline.runtime.faults import InvalidInputError, PermanentFault, TransientFault
from beam_pipeline.runtime.parsing import MalformedError
from beam_pipeline.runtime.retries import RetryPolicy
from beam_pipeline.runtime.traffic import Traffic

PAGE_SIZE = 100
"""Items a page. Source: larger pages get HTTP 500 and 502 from Earth Search."""

_NO_COLLECTION = ("not_found", "bad_request")
"""How an API says that there is no collection of a name."""

EARTH_SEARCH_V0_COLLECTION = "sentinel-s2-l2a-cogs"
"""The one known collection whose items have `sentinel:*` properties in place of `grid:code`."""

TileBounds = tuple[float, float, float, float]
"""(west, south, east, north) in degrees; west > east where the tile crosses the antimeridian."""


class ApiCatalog:
    """A STAC API with item search.

    Args:
        settings: Of the catalogue; its URL is that of an API.
        retry: How often each request is tried.
        traffic: Paces the requests and counts those that were sent again.
    """

    def __init__(self, settings: CatalogSettings, retry: RetryPolicy, traffic: Traffic | None) -> None:
        self._settings = settings
        self._retry = retry
        self._traffic = traffic

    def check(self) -> CatalogInfo:
        """Looks at the API before a run.

        Raises:
            InvalidInputError: It is no STAC API with item search, or has no such collection or no item in it.
            TransientFault: It cannot be reached, or is out of order.
        """
        url, collection = self._settings.url, self._settings.collection
        try:
            client = self._open()
        except PermanentFault as fault:
            refused = fault.reason == "refused_link"
            what = "It must not be asked" if refused else "It is no STAC API that can be searched"
            raise InvalidInputError(f"{what}: {fault}. Received: {url}") from fault
        except TransientFault as fault:
            if fault.reason != "bad_answer":
                raise
            raise InvalidInputError(f"It is no STAC API: {fault.detail}. Received: {url}") from fault
        try:
            found = client.get_collection(collection) if collection else None
        except PermanentFault as fault:
            if fault.reason not in _NO_COLLECTION:
                raise InvalidInputError(
                    f"The collection cannot be asked for: {fault}. Received: {url}"
                ) from fault
            found = None
        if found is None:
            raise InvalidInputError(f"The STAC API {url} has no such collection. Received: {collection!r}")
        try:
            empty = _is_empty(client, collection)
        except PermanentFault as fault:
            raise InvalidInputError(f"The STAC API cannot be searched: {fault}. Received: {url}") from fault
        if empty:
            # Of a tile and year that is no error, so a server that finds nothing ever must be found out here.
            raise InvalidInputError(
                f"The STAC API {url} finds no item of that collection. Received: {collection!r}"
            )
        parts = urllib.parse.urlsplit(url)
        address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2].lower()}{parts.path.rstrip('/')}"
        return CatalogInfo("api", collection, f"{address} {collection}")

    def items(self, tile: str, year: int) -> Iterator[StaticItem]:
        """Yields the items of a tile and year as they arrive, and maybe others; some may come twice.

        An API that advertises the query extension is asked for the tile by name. Where it does not, or where that
        brings nothing, or other tiles, it is asked for the tile's bounds.

        Args:
            tile: Five characters.
            year: The year, in UTC.

        Yields:
            The item, and "": it lies on no disk.

        Raises:
            TransientFault: The API failed for longer than the retries last.
            PermanentFault: It refuses, or is no STAC API that can be searched.
        """
        client = self._open()
        with _no_stac_is_a_fault():
            for item in _search(client, self._settings.collection, tile, year):
                yield item, ""

    def _open(self) -> Client:
        with _no_stac_is_a_fault():
            io = RetryingStacIO(self._retry, self._settings.reach, traffic=self._traffic)
            io.session.auth = access = ApiAccess(self._settings.url, self._settings.bearer_of)
            client = _CheckedClient.open(access.url, stac_io=io, timeout=io.timeout)
            searchable = client.conforms_to("ITEM_SEARCH") and client.get_search_link() is not None
        if not searchable:
            raise PermanentFault(
                "no_item_search", "it does not offer item search; a static catalogue must be downloaded first"
            )
        return client


class _CheckedClient(Client):
    """A client of an API whose landing page was checked before pystac reads it."""

    @classmethod
    def from_dict(
        cls,
        d: dict[str, Any],
        href: str | None = None,
        root: pystac.Catalog | None = None,
        migrate: bool = False,
        preserve_dict: bool = True,
        modifier: Callable[[Modifiable], None] | None = None,
    ) -> Self:
        """Makes a client of a landing page.

        Raises:
            MalformedError: The page cannot be read.
        """
        check_landing_page(d)
        return cast(Self, super().from_dict(d, href, root, migrate, preserve_dict, modifier))


@contextlib.contextmanager
def _no_stac_is_a_fault() -> Iterator[None]:
    """Turns what is said of a malformed landing page, by us or by pystac-client, into a fault."""
    try:
        yield
    except (MalformedError, pystac.STACError, ClientTypeError, NotImplementedError) as error:
        raise PermanentFault("not_stac", f"the answer is no STAC catalogue: {error}") from error


def _is_empty(client: Client, collection: str) -> bool:
    """Whether a search for any item of a collection finds none."""
    with _no_stac_is_a_fault():
        search = client.search(method=_method(client), collections=[collection], limit=1)
        return next(search.pages_as_dicts(), None) is None


def _search(client: Client, collection: str, tile: str, year: int) -> Iterator[dict[str, Any]]:
    """Yields what a search finds, some items twice where the first way of asking fails midway."""
    common: dict[str, Any] = {
        "method": _method(client),
        "collections": [collection],
        "datetime": f"{year}-01-01T00:00:00Z/{year + 1}-01-01T00:00:00Z",
        "limit": PAGE_SIZE,
    }
    if client.conforms_to("QUERY"):
        found = heeded = False
        for page in client.search(**common, query=_tile_query(collection, tile)).pages_as_dicts():
            heeded = all(tile_of_item(item) == tile for item in page["features"])
            if not heeded:
                break  # the server does not heed the query; it must not send us the world
            found = True
            yield from page["features"]
        if found and heeded:
            return
    for bbox in _split_at_antimeridian(tile_lonlat_bounds(tile)):
        for page in client.search(**common, bbox=bbox).pages_as_dicts():
            yield from page["features"]


def _method(client: Client) -> str:
    methods = [link.extra_fields.get("method") for link in client.links if link.rel == "search"]
    return "POST" if "POST" in methods else "GET"


def _tile_query(collection: str, tile: str) -> dict[str, dict[str, int | str]]:
    zone, band, square = int(tile[:2]), tile[2], tile[3:]
    if collection == EARTH_SEARCH_V0_COLLECTION:
        return {
            "sentinel:utm_zone": {"eq": zone},
            "sentinel:latitude_band": {"eq": band},
            "sentinel:grid_square": {"eq": square},
        }
    return {"grid:code": {"eq": f"MGRS-{zone}{band}{square}"}}  # Earth Search has no leading zero


def _split_at_antimeridian(bounds: TileBounds) -> list[TileBounds]:
    west, south, east, north = bounds
    if west <= east:
        return [bounds]
    return [(west, south, 180.0, north), (-180.0, south, east, north)]
