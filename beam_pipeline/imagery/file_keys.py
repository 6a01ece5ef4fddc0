"""The keys that files are asked with: a token that signs a URL, a bearer token, or, as most files, nothing."""

import dataclasses
import urllib.parse
from collections.abc import Mapping

import requests
from requests.auth import AuthBase

from beam_pipeline.imagery.catalog_settings import CatalogSettings
from beam_pipeline.imagery.sas_tokens import Container, SasTokens
from beam_pipeline.runtime.reach import Reach
from beam_pipeline.runtime.retries import RetryPolicy
from beam_pipeline.runtime.traffic import Traffic


@dataclasses.dataclass(frozen=True)
class Key:
    """The key that a file is asked with. It is never stored or shown.

    Attributes:
        query: What signs its URL, without "?".
        bearer: The bearer token.
    """

    query: str = dataclasses.field(default="", repr=False)
    bearer: str = dataclasses.field(default="", repr=False)

    def __bool__(self) -> bool:
        """Whether there is anything."""
        return bool(self.query or self.bearer)

    def signed(self, url: str) -> str:
        """Returns the URL that is asked for."""
        if not self.query:
            return url
        return f"{url}{'&' if urllib.parse.urlsplit(url).query else '?'}{self.query}"

    @property
    def auth(self) -> AuthBase | None:
        """Sends the bearer token with `requests`, which takes it off where a redirect leads to another host."""
        return BearerAuth(self.bearer) if self.bearer else None

    @property
    def gdal_options(self) -> Mapping[str, str]:
        """Options by which GDAL sends the bearer token, to the file's own host alone."""
        if not self.bearer:
            return {}
        return {
            "GDAL_HTTP_HEADERS": f"Authorization: Bearer {self.bearer}",
            "CPL_VSIL_CURL_AUTHORIZATION_HEADER_ALLOWED_IF_REDIRECT": "NO",
        }


NO_KEY = Key()


class BearerAuth(AuthBase):
    """Adds a bearer token to a request."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Readies a request."""
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class FileKeys:
    """Knows which key is for which file of a catalogue; gives none that is for another.

    Safe to use from many threads.

    Args:
        settings: Of the catalogue; None for no key at all.
        retry: How often an endpoint of tokens is asked.
        traffic: Paces what is asked of it.
    """

    def __init__(
        self,
        settings: CatalogSettings | None = None,
        retry: RetryPolicy | None = None,
        traffic: Traffic | None = None,
    ) -> None:
        self._settings = settings
        self._sas: SasTokens | None = None
        if settings is not None and settings.sas_endpoint:
            reach = Reach(settings.sas_endpoint, settings.own_network)
            self._sas = SasTokens(
                settings.sas_endpoint, reach, retry or RetryPolicy.default(), traffic or Traffic()
            )

    def find(self, url: str, refused: Key = NO_KEY) -> Key:
        """Returns the key of a file as it is now.

        Args:
            url: http(s) URL.
            refused: A key that the file's host has refused: another is got if there may be one.

        Raises:
            NoToken: There should be one, and is none.
        """
        if self._settings is None:
            return NO_KEY
        if self._settings.token is not None and self._settings.takes_token(url):
            return Key(bearer=self._settings.token.token(refused.bearer))
        container = Container.of_url(url) if self._sas is not None else None
        # One that its API has signed keeps what it has.
        if self._sas is None or container is None or "sig" in _names_of_query(url):
            return NO_KEY
        return Key(query=self._sas.token(container, refused.query))


NO_KEYS = FileKeys()


def _names_of_query(url: str) -> set[str]:
    return {name for name, _ in urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query)}
