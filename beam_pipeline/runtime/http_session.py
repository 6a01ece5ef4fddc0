"""HTTP sessions in which no answer takes longer than a limit in all, and bodies that are not read without end.

The time-outs of `requests` hold between two bytes: a server that sends one now and then would keep a worker for
ever. And it reads on until memory is full.
"""

import functools
import http.client
import io
import socket
import time
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter

from beam_pipeline.runtime.faults import PermanentFault

MOST_BYTES = 1 << 27
"""Of an answer, unpacked. A page of 100 items is about 2.5 MB, the densest chip of OpenStreetMap some 20 MB."""

_PIECE_BYTES = 1 << 16


class BoundedAdapter(HTTPAdapter):
    """Sends requests as its base class does, and gives up on an answer that is not whole in time.

    The limit holds from the moment the request is sent to the last byte of the body, header included, for each
    redirect anew. Connecting has its own limit, the `timeout` of the request. What outlasts it is a time-out:
    `is_timeout` knows it.

    Args:
        total_s: Most seconds that an answer may take.
    """

    def __init__(self, total_s: float) -> None:
        self._total_s = total_s
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Makes the pool of connections."""
        super().init_poolmanager(*args, **kwargs)
        self._bound(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        """Makes the pool of connections to a proxy."""
        manager = super().proxy_manager_for(*args, **kwargs)
        self._bound(manager)
        return manager

    def _bound(self, manager: Any) -> None:
        answer = functools.partial(_BoundedAnswer, total_s=self._total_s)
        pools: dict[str, Any] = {"http": urllib3.HTTPConnectionPool, "https": urllib3.HTTPSConnectionPool}
        manager.pool_classes_by_scheme = {
            scheme: type(
                pool.__name__,
                (pool,),
                {"ConnectionCls": type("Connection", (pool.ConnectionCls,), {"response_class": answer})},
            )
            for scheme, pool in pools.items()
        }


def bounded_session(total_s: float) -> requests.Session:
    """Returns a session whose every answer is whole within that many seconds, or a time-out."""
    session = requests.Session()
    bound_session(session, total_s)
    return session


def bound_session(session: requests.Session, total_s: float) -> None:
    """Sets the most seconds that an answer to a session may take."""
    for scheme in ("http://", "https://"):
        session.mount(scheme, BoundedAdapter(total_s))


def is_timeout(error: BaseException) -> bool:
    """Tells whether what `requests` raised means that time was up; within a body it says ConnectionError."""
    causes = (error, *error.args)
    return any(isinstance(cause, requests.Timeout | urllib3.exceptions.TimeoutError) for cause in causes)


def read_body(answer: requests.Response, *_: Any, **__: Any) -> None:
    """Reads the body of an answer; a hook of `requests`, which without it reads on until memory is full.

    Raises:
        PermanentFault: "endless_answer": it is longer than `MOST_BYTES`.
    """
    pieces: list[bytes] = []
    size = 0
    for piece in answer.iter_content(_PIECE_BYTES):
        size += len(piece)
        if size > MOST_BYTES:
            answer.close()
            raise PermanentFault("endless_answer", f"{answer.url} sends more than {MOST_BYTES >> 20} MiB")
        pieces.append(piece)
    answer._content = b"".join(pieces)  # where requests itself keeps it


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
