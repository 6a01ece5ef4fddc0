"""A STAC API as a catalogue: looked at before a run, and searched for the items of a tile and year."""

import urllib.parse
from collections.abc import Iterator, Sequence
from typing import Any

from pystac_client.conformance import ConformanceClasses

from beam_pipeline.cells.mgrs_tiles import tile_lonlat_bounds
from beam_pipeline.imagery.api_access import ApiAccess
from beam_pipeline.imagery.api_probe import ApiSearches, probe
from beam_pipeline.imagery.catalog_settings import ApiProfile, CatalogInfo, CatalogSettings
from beam_pipeline.imagery.stac_answers import LandingPage, parse_landing_page
from beam_pipeline.imagery.stac_io import RetryingStacIO
from beam_pipeline.imagery.stac_item import tile_of_item
from beam_pipeline.imagery.static_catalog import StaticItem
from beam_pipeline.imagery.tile_forms import tile_queries
from beam_pipeline.imagery.whole_search import Window
from beam_pipeline.runtime.faults import InvalidInputError, PermanentFault, TransientFault
from beam_pipeline.runtime.parsing import MalformedError
from beam_pipeline.runtime.retries import RetryPolicy
from beam_pipeline.runtime.traffic import Traffic

_NO_COLLECTION = ("not_found", "bad_request")
"""The answers by which an API says that there is no collection of a name."""

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

    def check(self, years: Sequence[int] = ()) -> CatalogInfo:
        """Looks at the API before a run, and how it is to be asked.

        Args:
            years: Those that will be asked for; a sample of each is looked at.

        Raises:
            InvalidInputError: It is no STAC API with item search, or has no such collection or no item in it.
            TransientFault: It cannot be reached, or is out of order.
        """
        url, collection = self._settings.url, self._settings.collection
        io, access = self._io()
        try:
            page = _landing_page(io, access.url)
            searches = ApiSearches(io, _not_probed(page, access.url, collection), collection)
        except PermanentFault as fault:
            refused = fault.reason == "refused_link"
            what = "It must not be asked" if refused else "It is no STAC API that can be searched"
            raise InvalidInputError(f"{what}: {fault}. Received: {url}") from fault
        except TransientFault as fault:
            if fault.reason != "bad_answer":
                raise
            raise InvalidInputError(f"It is no STAC API: {fault.detail}. Received: {url}") from fault
        missing = InvalidInputError(f"The STAC API {url} has no such collection. Received: {collection!r}")
        if not collection:
            raise missing
        exists = self._has_collection(io, page, access.url)
        try:
            profile = probe(searches, years)
        except PermanentFault as fault:
            if not exists and fault.reason in _NO_COLLECTION:
                raise missing from fault
            raise InvalidInputError(f"The STAC API cannot be searched: {fault}. Received: {url}") from fault
        if profile is None and not exists:
            raise missing
        if profile is None:
            # Of a tile and year that is no error, so a server that finds nothing ever must be found out here.
            raise InvalidInputError(
                f"The STAC API {url} finds no item of that collection. Received: {collection!r}"
            )
        parts = urllib.parse.urlsplit(url)
        address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2].lower()}{parts.path.rstrip('/')}"
        return CatalogInfo("api", collection, f"{address} {collection}", profile)

    def items(self, tile: str, year: int) -> Iterator[StaticItem]:
        """Yields the items of a tile and year as they arrive, and maybe others; some may come twice.

        The API is asked for the tile by the properties of the profile. Where it takes no query, where that brings
        nothing, or other tiles, or where some items lack the properties, it is asked for the tile's bounds.

        Args:
            tile: Five characters.
            year: The year, in UTC.

        Yields:
            The item, and "": it lies on no disk.

        Raises:
            TransientFault: The API failed for longer than the retries last.
            PermanentFault: It refuses, or is no STAC API that can be searched.
        """
        io, access = self._io()
        collection = self._settings.collection
        profile = self._settings.profile
        if profile is None:
            profile = _not_probed(_landing_page(io, access.url), access.url, collection)
        searches = ApiSearches(io, profile, collection)
        for item in _search(searches, tile, Window.of_year(year)):
            yield item, ""

    def _io(self) -> tuple[RetryingStacIO, ApiAccess]:
        io = RetryingStacIO(self._retry, self._settings.reach, traffic=self._traffic)
        io.session.auth = access = ApiAccess(self._settings.url, self._settings.bearer_of)
        return io, access

    def _has_collection(self, io: RetryingStacIO, page: LandingPage, url: str) -> bool:
        """Asks for the collection's document, of which nothing is needed: it may hold anything."""
        folder = _absolute(url, page.collections_href() or "collections")
        name = urllib.parse.quote(self._settings.collection, safe="")
        try:
            io.read_json(f"{folder.rstrip('/')}/{name}")
        except TransientFault as fault:
            if fault.reason != "bad_answer":
                raise
        except PermanentFault as fault:
            if fault.reason in _NO_COLLECTION:
                return False
            raise InvalidInputError(
                f"The collection cannot be asked for: {fault}. Received: {self._settings.url}"
            ) from fault
        return True


def _landing_page(io: RetryingStacIO, url: str) -> LandingPage:
    try:
        return parse_landing_page(io.read_json(url))
    except MalformedError as error:
        raise PermanentFault("not_stac", f"the answer is no STAC catalogue: {error}") from error


def _not_probed(page: LandingPage, url: str, collection: str) -> ApiProfile:
    """Returns how an API is searched, as far as its landing page says it."""
    try:
        link = page.search_link()
    except MalformedError as error:
        raise PermanentFault("not_stac", f"its link to the search cannot be followed: {error}") from error
    if link is None or not page.offers(ConformanceClasses.ITEM_SEARCH):
        raise PermanentFault(
            "no_item_search", "it does not offer item search; a static catalogue must be downloaded first"
        )
    method = "POST" if link.method == "POST" else "GET"
    takes_query = page.offers(ConformanceClasses.QUERY)
    return ApiProfile.not_probed(_absolute(url, link.href), method, takes_query, collection)


def _search(searches: ApiSearches, tile: str, window: Window) -> Iterator[dict[str, Any]]:
    """Yields what a search finds, some items twice where the first way of asking fails midway."""
    profile = searches.profile
    found, heeded = False, profile.takes_query
    queries = tile_queries(profile.forms, tile, profile.takes_in) if heeded else []
    for query in queries:
        for features in searches.whole(window, query=query):
            heeded = all(tile_of_item(item) == tile for item in features)
            if not heeded:
                break  # the server does not heed the query; it must not send us the world
            found = True
            yield from features
        if not heeded:
            break
    if found and heeded and not profile.some_without:
        return
    for bbox in _split_at_antimeridian(tile_lonlat_bounds(tile)):
        for features in searches.whole(window, bbox=bbox):
            yield from features


def _absolute(url: str, href: str) -> str:
    return urllib.parse.urljoin(f"{url.rstrip('/')}/", href)


def _split_at_antimeridian(bounds: TileBounds) -> list[TileBounds]:
    west, south, east, north = bounds
    if west <= east:
        return [bounds]
    return [(west, south, 180.0, north), (-180.0, south, east, north)]
