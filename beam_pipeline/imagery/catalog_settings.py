"""Which catalogue the user chose, and how it may be asked."""

import dataclasses
import os
import urllib.parse
import urllib.request
from typing import Literal

from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.files import Files
from beam_pipeline.runtime.reach import Reach

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
        files: Reads STAC GeoParquet; other catalogues need none.
        footers: Those of STAC GeoParquet that the launch saw, from `CatalogInfo`: a worker takes no others. Without
            them, it looks at each file as the launch does.
    """

    url: str
    collection: str
    own_network: bool = False
    files: Files | None = dataclasses.field(default=None, compare=False, repr=False)
    footers: tuple[str, ...] = ()

    @property
    def reach(self) -> Reach:
        """What may be asked for the catalogue's answers and files."""
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


@dataclasses.dataclass(frozen=True)
class CatalogInfo:
    """A catalogue that was looked at and can be used.

    Attributes:
        kind: "api" or "static".
        collection: The collection's id.
        identity: Names the catalogue in a dataset's fingerprint. Of an API: URL and collection. Of a static
            catalogue: "static:", its name, the collection and a hash of its items, the same wherever it lies. Of STAC
            GeoParquet: likewise, with "parquet" for the name and a hash of the files' footers.
        footers: Of STAC GeoParquet, SHA-256 of the size and footer of each file, sorted.
    """

    kind: Literal["api", "static"]
    collection: str
    identity: str
    footers: tuple[str, ...] = ()
