"""The credentials that a STAC API is asked with: they go to nobody but itself."""

import urllib.parse
from collections.abc import Callable

import requests
from requests.auth import AuthBase, HTTPBasicAuth
from requests.utils import get_netrc_auth

from beam_pipeline.imagery.catalog_settings import origin_of
from beam_pipeline.imagery.file_keys import BearerAuth
from beam_pipeline.runtime.foreign_text import without_secrets


class ApiAccess(AuthBase):
    """Adds user, password and query of the URL that the user gave to each request that goes to the same host.

    Links of the API and its answers do not hold them, and are followed to other hosts without them.

    Args:
        url: As the user gave it, e.g. "https://user:password@host/v1" or "https://host/v1?key=...".
        bearer_of: Returns the bearer token for a URL, "" for none.

    Attributes:
        url: The same without user, password and query.
    """

    def __init__(self, url: str, bearer_of: Callable[[str], str] = lambda _: "") -> None:
        parts = urllib.parse.urlsplit(url)
        self.url = without_secrets(url)
        self._bearer_of = bearer_of
        self._origin = origin_of(url)
        self._query = urllib.parse.parse_qsl(parts.query, keep_blank_values=True)
        user, password = (urllib.parse.unquote(part or "") for part in (parts.username, parts.password))
        self._basic = HTTPBasicAuth(user, password) if user or password else None

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Readies a request."""
        url = request.url or ""
        if origin_of(url) == self._origin:
            if self._query:
                request.prepare_url(url, self._query)
            if self._basic is not None:
                self._basic(request)
            if bearer := self._bearer_of(url):
                BearerAuth(bearer)(request)
        elsewhere = get_netrc_auth(url)  # which requests leaves out where a session has access of its own
        if elsewhere is not None and "Authorization" not in request.headers:
            HTTPBasicAuth(*elsewhere)(request)
        return request
