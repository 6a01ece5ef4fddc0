"""Finding the scenes of a tile and year in a STAC API or in a static catalogue on disk."""

import contextlib
import dataclasses
import os
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, Self, cast

import pystac
from pystac_client import Client, Modifiable
from pystac_client.errors import ClientTypeError

from beam_pipeline.imagery.api_access import ApiAccess
from beam_pipeline.imagery.scenes import (
    Scene,
    SceneList,
    SceneNote,
    deduplicate,
    order_scenes,
    without_cloudy,
)
from beam_pipeline.imagery.stac_answers import check_landing_page
from beam_pipeline.imagery.stac_io import RetryingStacIO
from beam_pipeline.imagery.stac_item import normalise_tile, parse_item, sensing_time, tile_of_item
from beam_pipeline.imagery.static_catalog import StaticItem, digest_items, read_static
from beam_pipeline.runtime.faults import InvalidInputError, PermanentFault, TransientFault
from beam_pipeline.runtime.parsing import MalformedError
from beam_pipeline.runtime.reach import Reach
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


@dataclasses.dataclass(frozen=True)
class CatalogInfo:
    """A catalogue that was looked at and can be used.

    Attributes:
        kind: "api" or "static".
        collection: The collection's id.
        identity: Names the catalogue in a dataset's fingerprint. Of an API: URL and collection. Of a static
            catalogue: "static:", its name, the collection and a hash of its items, the same wherever it lies.
    """

    kind: Literal["api", "static"]
    collection: str
    identity: str


def check_catalog(
    url: str,
    collection: str,
    retry: RetryPolicy | None = None,
    traffic: Traffic | None = None,
    own_network: bool = False,
) -> CatalogInfo:
    """Looks at a catalogue before a run.

    Args:
        url: URL of a STAC API, or path of a catalogue, folder of items, item collection or item on disk.
        collection: Its collection of Sentinel-2 L2A.
        retry: How often an API is asked.
        traffic: Paces the requests.
        own_network: As `Reach`.

    Returns:
        What the run must know of it.

    Raises:
        InvalidInputError: The URL is malformed or is no STAC API with item search, the path is missing or
            holds no STAC, or it has no such collection or no item in it.
        TransientFault: The API cannot be reached, or is out of order.
    """
    path = _local_path(url)
    if path is not None:
        name, items = read_static(path)
        chosen = _of_collection(items, collection)
        if not chosen:
            there = sorted({str(item.get("collection")) for item, _ in items})
            raise InvalidInputError(
                f"The catalogue {url} has no item of that collection, but of: {', '.join(there) or 'none'}. "
                f"Received: {collection}"
            )
        return CatalogInfo("static", collection, f"static:{name}:{collection}:{digest_items(chosen, path)}")
    try:
        client = _open(url, retry or RetryPolicy.default(), traffic, own_network)
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


def find_scenes(  # noqa: PLR0913 - a whole search: where, what, in which order and how it is asked
    url: str,
    collection: str,
    tile: str,
    year: int,
    seed: int,
    max_scene_cloud: float | None = None,
    retry: RetryPolicy | None = None,
    tile_bounds: TileBounds | None = None,
    traffic: Traffic | None = None,
    own_network: bool = False,
) -> SceneList:
    """Finds the scenes of a tile and year, in the order in which every cell of the tile walks them.

    An API that advertises the query extension is asked for the tile by name. Where it does not, or where that
    brings nothing, or other tiles, it is asked for the tile's bounds. What comes back is filtered by tile and
    year here in any case.

    Args:
        url: As `check_catalog`.
        collection: As `check_catalog`.
        tile: MGRS tile name, with or without the leading zero.
        year: The year, in UTC.
        seed: The run's seed, which draws the order.
        max_scene_cloud: Scenes of more `eo:cloud_cover` (percent) are dropped; one that does not say is kept.
        retry: How often each request is tried.
        tile_bounds: (west, south, east, north) of the tile in degrees, west > east across the antimeridian.
        traffic: Paces the requests and counts those that were sent again.
        own_network: As `Reach`.

    Returns:
        The list; it is empty where the catalogue has nothing.

    Raises:
        InvalidInputError: A static catalogue cannot be read.
        TransientFault: An API failed for longer than the retries last.
        PermanentFault: An API refuses, or is no STAC API that can be searched.
    """
    tile = normalise_tile(tile)
    reach = Reach.of_catalogue(url, own_network)
    items = _items(reach, url, collection, tile, year, retry, tile_bounds, traffic)
    return _scene_list(items, reach, tile, year, seed, max_scene_cloud)


def sign_scenes(
    found: SceneList,
    url: str,
    collection: str,
    retry: RetryPolicy | None = None,
    tile_bounds: TileBounds | None = None,
    traffic: Traffic | None = None,
    own_network: bool = False,
) -> SceneList:
    """Asks the catalogue again for what no file may hold: the secrets in the hrefs of a stored list.

    Signatures expire within the hour, so those of an earlier run would be of no use.

    Args:
        found: What `find_scenes` gave, as it was stored.
        url: As `find_scenes`, like all that follows.
        collection: The collection.
        retry: How often each request is tried.
        tile_bounds: Of the tile.
        traffic: Paces the requests and counts those that were sent again.
        own_network: As `Reach`.

    Returns:
        The same list with hrefs that can be read.

    Raises:
        InvalidInputError: As `find_scenes`.
        PermanentFault: As `find_scenes`.
        TransientFault: As `find_scenes`, or "unsigned": the catalogue has one of the scenes no more. No other date
            may quietly stand in for it.
    """
    if found.is_signed:
        return found
    signed: dict[str, Mapping[str, str]] = {}
    reach = Reach.of_catalogue(url, own_network)
    for item, base_href in _items(
        reach, url, collection, found.tile, found.year, retry, tile_bounds, traffic
    ):
        with contextlib.suppress(PermanentFault):
            scene = parse_item(item, found.tile, base_href, reach)
            signed.setdefault(scene.item_id, scene.assets)

    def sign(stored: Scene) -> Scene:
        scene = dataclasses.replace(
            stored, assets=signed.get(stored.item_id, {}), earlier=tuple(map(sign, stored.earlier))
        )
        if scene.without_secrets() != stored:
            raise TransientFault(
                "unsigned",
                f"the catalogue no longer has {stored.item_id} where it was when scenes were listed",
            )
        return scene

    return dataclasses.replace(found, scenes=tuple(map(sign, found.scenes)), is_signed=True)


def _items(
    reach: Reach,
    url: str,
    collection: str,
    tile: str,
    year: int,
    retry: RetryPolicy | None,
    tile_bounds: TileBounds | None,
    traffic: Traffic | None,
) -> Iterator[StaticItem]:
    """Yields items of a tile and year, and maybe others, with the paths of those that lie on disk.

    An API's come as they arrive: whoever takes them makes scenes of them at once, and holds no page.
    """
    path = _local_path(url)
    if path is not None:
        yield from _of_collection(read_static(path)[1], collection)
        return
    client = _open(url, retry or RetryPolicy.default(), traffic, reach.own_network)
    with _no_stac_is_a_fault():
        for item in _search(client, collection, tile, year, tile_bounds):
            yield item, ""


def _scene_list(
    items: Iterable[StaticItem],
    reach: Reach,
    tile: str,
    year: int,
    seed: int,
    max_scene_cloud: float | None,
) -> SceneList:
    parsed: list[Scene] = []
    refused: list[SceneNote] = []
    seen: set[str] = set()
    for item, base_href in items:
        item_id = str(item.get("id"))
        sensed = sensing_time(item)
        item_tile = tile_of_item(item)
        if item_id in seen or item_tile not in (tile, None) or (sensed and int(sensed[:4]) != year):
            continue
        seen.add(item_id)
        try:
            if item_tile is None:
                raise PermanentFault("no_tile", "neither a property nor the id says of what tile it is")
            parsed.append(parse_item(item, tile, base_href, reach))
        except PermanentFault as fault:
            refused.append(SceneNote.of(item_id, fault))
    latest = deduplicate(parsed)
    clear = without_cloudy(latest, max_scene_cloud)
    return SceneList(
        tile=tile,
        year=year,
        scenes=tuple(order_scenes(clear, seed, tile, year)),
        refused=tuple(sorted(refused)),
        found=len(seen),
        duplicates=len(parsed) - len(latest),
        dropped_cloud=len(latest) - len(clear),
    )


def _of_collection(items: Iterable[StaticItem], collection: str) -> list[StaticItem]:
    """Keeps the items of a collection; one that names none belongs to all."""
    return [found for found in items if found[0].get("collection") in (collection, None)]


def _local_path(url: str) -> str | None:
    """Returns the path of a catalogue on disk, None for the URL of an API."""
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError as error:
        raise InvalidInputError(f"This is no URL: {error}. Received: {url}") from error
    if parts.scheme in ("http", "https"):
        if not parts.hostname:
            raise InvalidInputError(f"The URL of a STAC API needs a host. Received: {url}")
        return None
    if parts.scheme not in ("", "file"):
        raise InvalidInputError(
            f"A catalogue is the http(s) URL of a STAC API or a path on disk. Received: {url}"
        )
    path = urllib.request.url2pathname(parts.path) if parts.scheme else url
    if not path or not os.path.exists(path):
        raise InvalidInputError(
            f"There is no such file or folder; the URL of a STAC API begins with https://. Received: {url!r}"
        )
    return path


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


def _open(url: str, retry: RetryPolicy, traffic: Traffic | None, own_network: bool) -> Client:
    with _no_stac_is_a_fault():
        io = RetryingStacIO(retry, Reach.of_catalogue(url, own_network), traffic=traffic)
        io.session.auth = access = ApiAccess(url)
        client = _CheckedClient.open(access.url, stac_io=io, timeout=io.timeout)
        searchable = client.conforms_to("ITEM_SEARCH") and client.get_search_link() is not None
    if not searchable:
        raise PermanentFault(
            "no_item_search", "it does not offer item search; a static catalogue must be downloaded first"
        )
    return client


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


def _search(
    client: Client, collection: str, tile: str, year: int, tile_bounds: TileBounds | None
) -> Iterator[dict[str, Any]]:
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
        if (found and heeded) or tile_bounds is None:
            return
    if tile_bounds is None:
        raise PermanentFault("no_query", "the API has no query extension, so the tile's bounds are needed")
    for bbox in _split_at_antimeridian(tile_bounds):
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
