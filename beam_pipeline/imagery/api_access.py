"""What a STAC API is asked with: credentials go to nobody but itself."""

import urllib.parse

import requests
from requests.auth import AuthBase, HTTPBasicAuth
from requests.utils import get_netrc_auth

from beam_pipeline.runtime.foreign_text import without_secrets

_Origin = tuple[str, str | None, int | None]


class ApiAccess(AuthBase):
    """Adds user, password and query of the URL that the user gave to each request that goes to the same host.

    Links of the API and its answers do not hold them, and are followed to other hosts without them.

    Args:
        url: As the user gave it, e.g. "https://user:password@host/v1" or "https://host/v1?key=...".

    Attributes:
        url: The same without user, password and query.
    """

    def __init__(self, url: str) -> None:
        parts = urllib.parse.urlsplit(url)
        self.url = without_secrets(url)
        self._origin = _origin(url)
        self._query = urllib.parse.parse_qsl(parts.query, keep_blank_values=True)
        user, password = (urllib.parse.unquote(part or "") for part in (parts.username, parts.password))
        self._basic = HTTPBasicAuth(user, password) if user or password else None

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Readies a request."""
        url = request.url or ""
        if _origin(url) == self._origin:
            if self._query:
                request.prepare_url(url, self._query)
            if self._basic is not None:
                self._basic(request)
        elsewhere = get_netrc_auth(url)  # which requests leaves out where a session has access of its own
        if elsewhere is not None and "Authorization" not in request.headers:
            HTTPBasicAuth(*elsewhere)(request)
        return request


def _origin(url: str) -> _Origin:
    parts = urllib.parse.urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, parts.hostname, port
