"""Which catalogue the user chose, and how it may be asked."""

import dataclasses
import os
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Literal

from beam_pipeline.imagery.buckets import PUBLIC_BUCKETS
from beam_pipeline.imagery.sas_tokens import PLANETARY_COMPUTER, PLANETARY_COMPUTER_TOKENS
from beam_pipeline.imagery.tile_forms import EARTH_SEARCH_V0_FORM, EARTH_SEARCH_V1_FORM, TileForm
from beam_pipeline.imagery.token_file import TokenFile
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.files import Files
from beam_pipeline.runtime.reach import Reach, network_of

Origin = tuple[str, str | None, int | None]
"""Scheme, host and port of a URL."""

EARTH_SEARCH_V0_COLLECTION = "sentinel-s2-l2a-cogs"
"""The one known collection whose items have `sentinel:*` properties in place of `grid:code`."""


@dataclasses.dataclass(frozen=True)
class ApiProfile:
    """The way to ask a STAC API for the items of a tile, as it was found at launch; workers need not look again.

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


_PARQUET = (".parquet", ".geoparquet")
_BUCKETS = ("gs", "s3")


@dataclasses.dataclass(frozen=True)
class CatalogSettings:
    """Which catalogue the user chose, and how it may be asked; small and picklable.

    Attributes:
        url: URL of a STAC API; path of a catalogue, folder of items, item collection or item on disk; or path or
            gs:// or s3:// URL of STAC GeoParquet, which may be a pattern of several files.
        collection: Its collection of Sentinel-2 L2A.
        own_network: Whether hosts of inner networks may be asked; see `Reach`.
        profile: How an API is asked, from `CatalogInfo`. Without it every search asks for the landing page, and takes
            it that each item has the property of Earth Search.
        buckets: (name, https URL) of public S3 buckets beside `PUBLIC_BUCKETS`, sorted.
        sas_token_url: Where tokens for files in Azure Blob Storage are asked for; "" for the default.
        token: The file of the bearer token, None without one. The token itself is nowhere in here.
        token_hosts: "host" or "host:port" of each host of files that gets it too, beside the API itself.
        files: Reads STAC GeoParquet; other catalogues need none.
        footers: Those of STAC GeoParquet that the launch saw, from `CatalogInfo`: a worker takes no others. Without
            them, it looks at each file as the launch does.
    """

    url: str
    collection: str
    own_network: bool = False
    profile: ApiProfile | None = None
    buckets: tuple[tuple[str, str], ...] = ()
    sas_token_url: str = ""
    token: TokenFile | None = None
    token_hosts: tuple[str, ...] = ()
    files: Files | None = dataclasses.field(default=None, compare=False, repr=False)
    footers: tuple[str, ...] = ()

    @property
    def all_buckets(self) -> Mapping[str, str]:
        """The URL of each S3 bucket that is read, by name."""
        return {**PUBLIC_BUCKETS, **dict(self.buckets)}

    @property
    def sas_endpoint(self) -> str:
        """Where tokens for files in Azure Blob Storage are asked for; "" where nobody is."""
        of_planetary_computer = origin_of(self.url)[1] == PLANETARY_COMPUTER
        return self.sas_token_url or (PLANETARY_COMPUTER_TOKENS if of_planetary_computer else "")

    @property
    def named_buckets(self) -> str:
        """Access that decides which items can be used, for a fingerprint; "" where nothing was chosen."""
        return "".join(f" {name}={url}" for name, url in self.buckets)

    def takes_token(self, url: str) -> bool:
        """Tells whether the bearer token is for a URL: by scheme, host and port, and never in the clear on the web."""
        if self.token is None or not (url.lower().startswith("https://") or network_of(url) == "inner"):
            return False
        origin = origin_of(url)
        hosts = [origin_of(f"{origin[0]}://{host}") for host in self.token_hosts]
        return origin in [origin_of(self.url), *hosts]

    def bearer_of(self, url: str) -> str:
        """Returns the bearer token for a URL, "" where it is for others.

        Raises:
            NoToken: Its file cannot be read.
        """
        return self.token.token() if self.token is not None and self.takes_token(url) else ""

    @property
    def reach(self) -> Reach:
        """The hosts that may be asked for the catalogue's answers and files."""
        return Reach.of_catalogue(self.url, self.own_network)

    @property
    def parquet_path(self) -> str | None:
        """The path, URL or pattern of STAC GeoParquet, None for other catalogues.

        Raises:
            InvalidInputError: It is neither on a disk nor in a bucket.
        """
        if not self.url.partition("?")[0].lower().endswith(_PARQUET):
            return None
        scheme, is_url, _ = self.url.partition("://")
        if not is_url or scheme == "file":
            return urllib.request.url2pathname(urllib.parse.urlsplit(self.url).path) if is_url else self.url
        if scheme not in _BUCKETS:
            raise InvalidInputError(
                "STAC GeoParquet is read from a disk, gs:// or s3://. Copy it there, or give the URL of a STAC API. "
                f"Received: {self.url}"
            )
        return self.url

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
                "A catalogue is the http(s) URL of a STAC API, a path on disk, or STAC GeoParquet (.parquet) in "
                f"gs:// or s3://. Received: {self.url}"
            )
        path = urllib.request.url2pathname(parts.path) if parts.scheme else self.url
        if not path or not os.path.exists(path):
            raise InvalidInputError(
                f"There is no such file or folder; the URL of a STAC API begins with https://. Received: {self.url!r}"
            )
        return path


def origin_of(url: str) -> Origin:
    """Returns scheme, host and port of a URL, the default port where it names none; of what is no URL, nothing."""
    try:
        parts = urllib.parse.urlsplit(url)
        return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return "", None, None


@dataclasses.dataclass(frozen=True)
class CatalogInfo:
    """A catalogue that was looked at and can be used.

    Attributes:
        kind: "api" or "static".
        collection: The collection's id.
        identity: Names the catalogue in a dataset's fingerprint. Of an API: URL and collection. Of a static
            catalogue: "static:", its name, the collection and a hash of its items, the same wherever it lies. Of STAC
            GeoParquet: likewise, with "parquet" for the name and a hash of the files' footers.
        profile: How an API is to be asked; None of other catalogues.
        footers: Of STAC GeoParquet, SHA-256 of the size and footer of each file, sorted.
    """

    kind: Literal["api", "static"]
    collection: str
    identity: str
    profile: ApiProfile | None = None
    footers: tuple[str, ...] = ()
