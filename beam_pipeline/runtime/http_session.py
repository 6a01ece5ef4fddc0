"""HTTP sessions in which no answer takes longer than a limit in all, and that ask no host but those that they may ask.

The time-outs of `requests` hold between two bytes: a server that sends one now and then would keep a worker for
ever. And it reads on until memory is full, and follows redirects wherever they lead.
"""

import contextlib
import functools
import http.client
import io
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import select_proxy

from beam_pipeline.runtime.faults import PermanentFault, TransientFault
from beam_pipeline.runtime.reach import Reach

MOST_BYTES = 1 << 27
"""Of an answer, unpacked, where a session has no bound of its own. The densest chip of OpenStreetMap has 20 MB."""


MOST_REDIRECTS = 10
"""As many as GDAL follows."""


class BoundedAdapter(HTTPAdapter):
    """Sends requests as its base class does, and gives up on an answer that is not whole in time, or has no end.

    The limit of time holds from the moment the request is sent to the last byte of the body, header included, for each
    redirect anew. Connecting has its own limit, the `timeout` of the request. What outlasts it is a time-out:
    `is_timeout` knows it. A body of more than `most_bytes` raises `PermanentFault` "endless_answer" where it is read.

    A host that must not be asked raises `PermanentFault` "refused_link", whatever redirect leads there: by its URL, and
    by the address about to be connected to. Behind a proxy it goes by the URL alone, and the proxy connects.

    Args:
        total_s: Most seconds that an answer may take.
        reach: What may be asked.
        most_bytes: Of an answer, unpacked; 0 for `MOST_BYTES`.
    """

    def __init__(self, total_s: float, reach: Reach, most_bytes: int = 0) -> None:
        self._total_s = total_s
        self._reach = reach
        self._most_bytes = most_bytes or MOST_BYTES
        super().__init__()

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        """Sends one request; each redirect is one."""
        self._reach.require_host(request.url or "")
        return super().send(request, *args, **kwargs)

    def get_connection_with_tls_context(
        self, request: requests.PreparedRequest, verify: Any, proxies: Any = None, cert: Any = None
    ) -> Any:
        """Returns the pool of connections to the host, or to its proxy."""
        pool: Any = super().get_connection_with_tls_context(request, verify, proxies, cert)
        # A pool makes its connections when they are needed, and each connection its answers.
        reach = None if select_proxy(request.url or "", proxies) else self._reach
        made_as_ever = type(pool).ConnectionCls
        pool.ConnectionCls = functools.partial(_bounded_connection, made_as_ever, self._total_s, reach)
        return pool

    def build_response(self, req: requests.PreparedRequest, resp: Any) -> requests.Response:
        """Makes the answer from that of urllib3."""
        bounded: Any = _BoundedBody(resp, str(req.url), self._most_bytes)
        return super().build_response(req, bounded)


def bounded_session(total_s: float, reach: Reach) -> requests.Session:
    """Returns a session that asks what it may, and gets each answer in so many seconds; see `BoundedAdapter`."""
    session = requests.Session()
    bound_session(session, total_s, reach)
    return session


def bound_session(session: requests.Session, total_s: float, reach: Reach, most_bytes: int = 0) -> None:
    """Bounds the answers to a session, and what it asks; see `BoundedAdapter`."""
    session.max_redirects = MOST_REDIRECTS
    for scheme in ("http://", "https://"):
        session.mount(scheme, BoundedAdapter(total_s, reach, most_bytes))


def is_timeout(error: BaseException) -> bool:
    """Tells whether what `requests` raised means that time was up; within a body it says ConnectionError."""
    causes = (error, *error.args)
    return any(isinstance(cause, requests.Timeout | urllib3.exceptions.TimeoutError) for cause in causes)


class _BoundedBody:
    """An answer of urllib3, of which `requests` reads no more than is allowed."""

    def __init__(self, answer: urllib3.BaseHTTPResponse, url: str, most_bytes: int) -> None:
        self._answer = answer
        self._url = url
        self._most_bytes = most_bytes

    def stream(self, *args: Any, **kwargs: Any) -> Iterator[bytes]:
        """Yields the body, unpacked, piece by piece; whatever `requests` gives of it comes from here."""
        size = 0
        for piece in self._answer.stream(*args, **kwargs):
            size += len(piece)
            if size > self._most_bytes:
                self._answer.close()
                raise PermanentFault(
                    "endless_answer", f"{self._url} sends more than {self._most_bytes >> 20} MiB"
                )
            yield piece

    def __getattr__(self, name: str) -> Any:
        return getattr(self._answer, name)


def _bounded_connection(
    make: Callable[..., Any], total_s: float, reach: Reach | None, *args: Any, **kwargs: Any
) -> Any:
    """Makes a connection whose answers are read until the time is up; without a reach, one to a proxy."""
    connection = make(*args, **kwargs)
    connection.response_class = functools.partial(_BoundedAnswer, total_s=total_s)
    if reach is not None:
        # What urllib3's own connections through SOCKS override too.
        connection._new_conn = functools.partial(_connect, connection, reach)
    return connection


def _connect(connection: Any, reach: Reach) -> socket.socket:
    """Connects as urllib3 does, to what may be asked."""
    host = connection.host
    try:
        connected = reach.connect(host.strip("[]"), connection.port, connection.timeout)
    except socket.gaierror as error:
        raise urllib3.exceptions.NameResolutionError(host, connection, error) from error
    except TimeoutError as error:
        raise urllib3.exceptions.ConnectTimeoutError(connection, f"{host} did not answer in time") from error
    except OSError as error:
        raise urllib3.exceptions.NewConnectionError(connection, f"{host}: {error}") from error
    for option in connection.socket_options or ():
        connected.setsockopt(*option)
    return connected


class _BoundedAnswer(http.client.HTTPResponse):
    """An answer that is read from its socket until the time is up."""

    def __init__(self, sock: socket.socket, *args: Any, total_s: float, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_UntilDeadline(self.fp.detach(), sock, total_s))


class _UntilDeadline(io.RawIOBase):
    """The bytes of a socket; reading fails as a silent socket does when the time is up."""

    def __init__(self, raw: Any, sock: socket.socket, total_s: float) -> None:
        self._raw = raw
        self._sock = sock
        self._silence_s = sock.gettimeout()
        self._deadline = time.monotonic() + total_s

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the answer took too long")
        self._sock.settimeout(left_s if self._silence_s is None else min(left_s, self._silence_s))
        read: int | None = self._raw.readinto(buffer)
        return read

    def close(self) -> None:
        self._raw.close()
        super().close()


@contextlib.contextmanager
def request_faults(where: str) -> Iterator[None]:
    """Turns what `requests` raises where there is no whole answer into a fault.

    Args:
        where: What was asked, for messages, without secrets.

    Raises:
        PermanentFault: "untrusted" or "bad_request".
        TransientFault: "timeout" or "unreachable".
    """
    try:
        yield
    except requests.exceptions.SSLError as error:
        # Whoever it is, it is not who it should be: nothing is asked again, and nothing sent.
        raise PermanentFault("untrusted", f"{where}: {error}") from error
    except (
        requests.ConnectionError,
        requests.Timeout,
        requests.exceptions.ChunkedEncodingError,
        requests.exceptions.ContentDecodingError,
    ) as error:
        if is_timeout(error):
            raise TransientFault("timeout", f"{where}: no answer in time") from error
        raise TransientFault("unreachable", f"{where}: {type(error).__name__}") from error
    except requests.RequestException as error:
        raise PermanentFault("bad_request", f"{where}: {type(error).__name__}") from error
