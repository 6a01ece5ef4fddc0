"""A local double of Azure Blob Storage and of the Planetary Computer's endpoint of tokens.

`blob_storage` readies both: files lie at https://ACCOUNT.blob.core.windows.net/CONTAINER/..., by TLS and by name, and
are given to those alone who bring a token that the endpoint gave, as often as it is good for.
"""

import contextlib
import dataclasses
import datetime
import email.utils
import http.server
import json
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.imagery.range_server import RangeServer, _Handler
from tests.security.certificates import CA_VARIABLES, make_certificate, wrapped
from tests.security.made_web import OUTSIDE, MadeWeb

ACCOUNT, CONTAINER = "sentinel2test01", "sentinel2-l2"
HOST = f"{ACCOUNT}.blob.core.windows.net"
SIGNATURE = "sas-signature-1701"
"""In every token."""

_REFUSAL = (
    '<?xml version="1.0" encoding="utf-8"?><Error><Code>{0}</Code><Message>{0}. RequestId:1</Message></Error>'
)


@dataclasses.dataclass(frozen=True)
class Answer:
    """The answer of the endpoint in place of a token."""

    status: int
    body: str = "{}"
    headers: dict[str, str] = dataclasses.field(default_factory=dict)


class TokenEndpoint:
    """Gives tokens at `url`/ACCOUNT/CONTAINER.

    Attributes:
        url: Without the account.
        faults: Answered in place of the next tokens, one by one.
        asked: The path and the Authorization header of each request.
        life_s: How long a token lives, by what the endpoint says.
        uses: How many requests of files a token is good for, whatever it says; None for all.
        left: By token, how many of them are left.
    """

    def __init__(self) -> None:
        self.faults: list[Answer] = []
        self.asked: list[tuple[str, str | None]] = []
        self.life_s = 3600.0
        self.uses: int | None = None
        self.left: dict[str, float] = {}
        self._lock = threading.Lock()
        self.release = threading.Event()
        self.release.set()

    def __enter__(self) -> "TokenEndpoint":
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer._answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/api/sas/v1/token"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def takes(self, token: str) -> bool:
        """Tells whether a token is good once more."""
        with self._lock:
            self.left[token] = self.left.get(token, 0) - 1
            return self.left[token] >= 0

    def expire(self) -> None:
        """Ends all tokens."""
        with self._lock:
            self.left.clear()

    def _answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        with self._lock:
            self.asked.append((handler.path, handler.headers.get("Authorization")))
            number = len(self.asked)
            answer = self.faults.pop(0) if self.faults else None
        self.release.wait(30)
        if answer is None:
            now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
            expiry = (now + datetime.timedelta(seconds=self.life_s)).isoformat()
            token = f"st=2026-01-01T00%3A00%3A00Z&sp=rl&sr=c&sig={SIGNATURE}-{number}%2Fx%3D"
            with self._lock:
                self.left[token] = float("inf") if self.uses is None else self.uses
            content = {"msft:expiry": expiry, "token": token}
            answer = Answer(200, json.dumps(content), {"Date": email.utils.format_datetime(now, usegmt=True)})
        handler.send_response_only(answer.status)
        for name, value in {"Date": handler.date_time_string(), **answer.headers}.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(answer.body)))
        handler.end_headers()
        handler.wfile.write(answer.body.encode())


class _Blob(_Handler):
    server: "BlobServer"

    def _answer(self) -> None:
        query = urllib.parse.urlsplit(self.path).query
        if self.server.endpoint.takes(query):
            super()._answer()
            return
        status, code = (403, "AuthenticationFailed") if query else (409, "PublicAccessNotPermitted")
        self.server.refused.append(status)
        headers = {"x-ms-error-code": code, "Content-Type": "application/xml"}
        self._refuse(self.path, 0, 0, status, headers, _REFUSAL.format(code).encode())


class BlobServer(RangeServer):
    """Serves the files below a folder to those who bring a token.

    Attributes:
        refused: The status of each refusal.
    """

    def __init__(self, root: Path, endpoint: TokenEndpoint) -> None:
        super().__init__(root)
        self.RequestHandlerClass = _Blob
        self.endpoint = endpoint
        self.refused: list[int] = []

    def url(self, path: str) -> str:
        return f"https://{HOST}/{path}"


@dataclasses.dataclass(frozen=True)
class Azure:
    """Both servers."""

    files: BlobServer
    tokens: TokenEndpoint


@contextlib.contextmanager
def blob_storage(
    root: Path, web: MadeWeb, monkeypatch: pytest.MonkeyPatch, certificates: Path
) -> Iterator[Azure]:
    """Serves what lies in the folder `CONTAINER` below a root.

    Args:
        root: The folder.
        web: Leads the account's name to the server.
        monkeypatch: Has everybody trust it.
        certificates: An empty folder.
    """
    certificate = make_certificate(certificates, HOST)
    for name in CA_VARIABLES:
        monkeypatch.setenv(name, str(certificate))
    with TokenEndpoint() as endpoint:
        server = BlobServer(root, endpoint)
        wrapped(server, certificate)
        web.addresses[HOST] = [OUTSIDE]
        web.ports[443] = server.server_address[1]
        with server:
            yield Azure(server, endpoint)
