"""Which catalogue the user chose, and how it may be asked."""

import dataclasses
import os
import urllib.parse
import urllib.request
from typing import Literal

from beam_pipeline.imagery.tile_forms import EARTH_SEARCH_V0_FORM, EARTH_SEARCH_V1_FORM, TileForm
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.reach import Reach

EARTH_SEARCH_V0_COLLECTION = "sentinel-s2-l2a-cogs"
"""The one known collection whose items have `sentinel:*` properties in place of `grid:code`."""


@dataclasses.dataclass(frozen=True)
class ApiProfile:
    """How a STAC API is asked for the items of a tile, as it was found at launch; workers need not look again.

    It decides how many requests a search takes, and never what is found: it is no part of a dataset's fingerprint.

    Attributes:
        search_url: Where searches are sent.
        method: "GET" or "POST".
        takes_query: Whether the query extension can be used at all.
        takes_in: Whether it takes the operator `in`.
        forms: How the collection's items say of what tile they are; a query each.
        some_without: Whether items were seen that have none of these properties, so that the tile's bounds must be
            asked too.
        page_size: Items on the largest page that had a next link, 0 where none had: a smaller page without one is the
            last.
    """

    search_url: str
    method: str
    takes_query: bool
    takes_in: bool
    forms: tuple[TileForm, ...]
    some_without: bool = False
    page_size: int = 0

    @classmethod
    def not_probed(cls, search_url: str, method: str, takes_query: bool, collection: str) -> "ApiProfile":
        """Returns what is taken for granted of an API of which only the landing page was seen."""
        form = EARTH_SEARCH_V0_FORM if collection == EARTH_SEARCH_V0_COLLECTION else EARTH_SEARCH_V1_FORM
        return cls(search_url, method, takes_query, takes_in=False, forms=(form,))


@dataclasses.dataclass(frozen=True)
class CatalogSettings:
    """Which catalogue the user chose, and how it may be asked; small and picklable.

    Attributes:
        url: URL of a STAC API, or path of a catalogue, folder of items, item collection or item on disk.
        collection: Its collection of Sentinel-2 L2A.
        own_network: Whether hosts of inner networks may be asked; see `Reach`.
        profile: How an API is asked, from `CatalogInfo`. Without it every search asks for the landing page, and takes
            it that each item has the property of Earth Search.
    """

    url: str
    collection: str
    own_network: bool = False
    profile: ApiProfile | None = None

    @property
    def reach(self) -> Reach:
        """What may be asked for the catalogue's answers and files."""
        return Reach.of_catalogue(self.url, self.own_network)

    @property
    def local_path(self) -> str | None:
        """The path of a catalogue on disk, None for the URL of an API.

        Raises:
            InvalidInputError: It is neither, or there is nothing at the path.
        """
        try:
            parts = urllib.parse.urlsplit(self.url)
        except ValueError as error:
            raise InvalidInputError(f"This is no URL: {error}. Received: {self.url}") from error
        if parts.scheme in ("http", "https"):
            if not parts.hostname:
                raise InvalidInputError(f"The URL of a STAC API needs a host. Received: {self.url}")
            return None
        if parts.scheme not in ("", "file"):
            raise InvalidInputError(
                f"A catalogue is the http(s) URL of a STAC API or a path on disk. Received: {self.url}"
            )
        path = urllib.request.url2pathname(parts.path) if parts.scheme else self.url
        if not path or not os.path.exists(path):
            raise InvalidInputError(
                f"There is no such file or folder; the URL of a STAC API begins with https://. Received: {self.url!r}"
            )
        return path


@dataclasses.dataclass(frozen=True)
class CatalogInfo:
    """A catalogue that was looked at and can be used.

    Attributes:
        kind: "api" or "static".
        collection: The collection's id.
        identity: Names the catalogue in a dataset's fingerprint. Of an API: URL and collection. Of a static
            catalogue: "static:", its name, the collection and a hash of its items, the same wherever it lies.
        profile: How it is to be asked; None of a static catalogue.
    """

    kind: Literal["api", "static"]
    collection: str
    identity: str
    profile: ApiProfile | None = None
