"""The meaning of GDAL's errors: permanent, transient, or undecodable.

GDAL says little of a failed request, so where its message leaves it open the file itself is asked once more,
without GDAL: does it end too early, and is its header a TIFF's?
"""

import dataclasses
import http
import os
import re
import urllib.parse
import urllib.request
from pathlib import Path

import requests
import urllib3
from rasterio.errors import RasterioError

from beam_pipeline.imagery.file_keys import NO_KEY, Key
from beam_pipeline.imagery.hrefs import require_on_disk
from beam_pipeline.runtime.faults import Fault, PermanentFault, TransientFault
from beam_pipeline.runtime.foreign_text import shown
from beam_pipeline.runtime.gate_server import REFUSED, TIMED_OUT
from beam_pipeline.runtime.gdal_drivers import rasterio
from beam_pipeline.runtime.http_session import bounded_session
from beam_pipeline.runtime.reach import WEB, Reach, why_closed
from beam_pipeline.runtime.retries import THROTTLED, TOO_MANY_REQUESTS, RetryAfterFault, retry_after_s
from beam_pipeline.runtime.traffic import Traffic

HEADER_BYTES = 32768
"""The bytes of a file that are read on opening it."""

_CONNECT_S = 10.0
_REFUSALS = (http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN, http.HTTPStatus.CONFLICT)
"""Answers to a key that has expired, and to none; Azure gives the last for a container that is not public."""

_OF_THE_FILE = (http.HTTPStatus.PARTIAL_CONTENT, http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
_STATUS = re.compile(r"HTTP response code: (\d{3})")
_SHORT = re.compile(r"got \d+ bytes, expected \d+")
_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+)\Z")
_OF_GATE = re.compile(r"cannot complete SOCKS5 connection to (\S+)\. \((\d+)\)")
"""The words of libcurl where the gate has not connected it: the host, and the gate's code."""

_NO_URL = re.compile(r"CURL error: URL (?:rejected|using bad/illegal format)")
"""The words of libcurl for a URL that it never asks for; older versions say the second."""


class Undecodable(Fault):
    """The bytes that were read are not what they must be: the copy may be bad, or the file."""


class KeyRefused(TransientFault):
    """The host refused the key with which the file was asked for; it may have expired."""


@dataclasses.dataclass(frozen=True)
class Peek:
    """The answer of a file's host to a request for some of its bytes.

    Attributes:
        status: The HTTP status: 206 for bytes, 416 beyond the end; those of a local file likewise.
        body: The bytes, as many as there are.
        size: Of the whole file in bytes; None where the answer does not say, or is not the one to the question.
        retry_after_s: What `Retry-After` says, 0 without.
    """

    status: int
    body: bytes = b""
    size: int | None = None
    retry_after_s: float = 0.0

    @property
    def throttled(self) -> bool:
        """Whether the host asks for fewer requests."""
        return self.status in TOO_MANY_REQUESTS

    @property
    def is_of_the_file(self) -> bool:
        """Whether it says what the file is."""
        return self.size is not None and self.status in _OF_THE_FILE


@dataclasses.dataclass(frozen=True)
class Asset:
    """A file, as GDAL and people name it.

    Attributes:
        url: http or https URL; "" for another.
        gdal_path: What GDAL opens.
        shown: File name or URL for messages, without credentials and query.
        reach: What may be asked for it.
        key: What it is asked with.
    """

    url: str
    gdal_path: str | Path = dataclasses.field(repr=False)
    shown: str
    reach: Reach = WEB
    key: Key = NO_KEY

    @classmethod
    def of_href(cls, href: str, reach: Reach = WEB) -> "Asset":
        """Reads a local path, or a file, http, https or gs URL.

        Args:
            href: The path or URL.
            reach: That of the catalogue which names it; without a choice of its own the URL is the choice.

        Raises:
            PermanentFault: "unreadable_href" for another scheme.
        """
        named = shown(href)
        try:
            parts = urllib.parse.urlsplit(href)
        except ValueError as error:
            raise PermanentFault("unreadable_href", f"it is no URL: {error}. Received: {named}") from error
        if parts.scheme in ("http", "https"):
            return cls(href, f"/vsicurl/{href}", named, reach.of_file(href))
        if parts.scheme == "gs":
            return cls("", f"/vsigs/{parts.netloc}{parts.path}", named)
        if parts.scheme == "file":
            return cls._of_path(urllib.request.url2pathname(parts.path))
        if "://" in href:
            raise PermanentFault(
                "unreadable_href", f"only paths and file, http, https and gs URLs are read. Received: {named}"
            )
        return cls._of_path(href)

    @classmethod
    def _of_path(cls, path: str) -> "Asset":
        require_on_disk(path)
        # What is shown goes into dataset.json, which must not depend on where a catalogue lies. Absolute, because GDAL
        # takes other names for more than paths: GTIFF_DIR:1:name.
        return cls("", Path(os.path.abspath(path)), Path(path).name)

    def with_key(self, key: Key) -> "Asset":
        """Returns the same file of the web, to be asked for with another key."""
        return dataclasses.replace(self, key=key, gdal_path=f"/vsicurl/{key.signed(self.url)}")

    @property
    def is_local(self) -> bool:
        """Whether it is a file on this machine."""
        return isinstance(self.gdal_path, Path)

    def peek(
        self, start: int, stop: int, timeout_s: float, traffic: Traffic, with_body: bool = True
    ) -> Peek | None:
        """Asks for bytes without GDAL.

        Args:
            start: First byte.
            stop: One past the last byte.
            timeout_s: Most seconds that it may take.
            traffic: Paces the request.
            with_body: Whether the bytes are wanted, and not only what is said of them.

        Returns:
            The answer; None where there is none, or for a bucket that needs an account.

        Raises:
            TransientFault: "refused_link": it leads to a host that must not be asked.
        """
        try:
            if self.is_local:
                with open(self.gdal_path, "rb") as file:
                    file.seek(start)
                    size = Path(self.gdal_path).stat().st_size
                    body = file.read(stop - start) if with_body else b""
                    return Peek(http.HTTPStatus.PARTIAL_CONTENT, body, size)
            if not self.url:
                return None
            headers = {"Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"}
            silence = min(_CONNECT_S, timeout_s), timeout_s
            traffic.turn()
            with (
                bounded_session(timeout_s, self.reach) as session,
                session.get(
                    self.key.signed(self.url),
                    headers=headers,
                    timeout=silence,
                    stream=True,
                    auth=self.key.auth,
                ) as answer,
            ):
                partial = answer.status_code == http.HTTPStatus.PARTIAL_CONTENT
                ranged = _RANGE.match(answer.headers.get("Content-Range", ""))
                plain = answer.headers.get("Content-Encoding", "identity") == "identity"
                its_own = ranged is not None and plain and (not partial or ranged[1] == str(start))
                return Peek(
                    answer.status_code,
                    answer.raw.read(stop - start) if partial and with_body else b"",
                    int(ranged[2]) if ranged is not None and its_own else None,
                    retry_after_s(answer.headers.get("Retry-After")),
                )
        except PermanentFault as fault:
            raise _refused(self, fault.detail) from fault
        except (OSError, requests.RequestException, urllib3.exceptions.HTTPError):
            return None


def fault_of_open(asset: Asset, error: RasterioError, timeout_s: float, traffic: Traffic) -> Fault:
    """Tells what a failure to open an asset means.

    Args:
        asset: The asset.
        error: What rasterio raised.
        timeout_s: Most seconds that it may take if the file is asked once more.
        traffic: Paces that request.

    Returns:
        A `PermanentFault` ("not_found" for 404 and 410, "forbidden" for 401, "unreadable_href" for no URL), a
        `TransientFault` ("forbidden" for 403 and 409, of a file with a key as `KeyRefused` and for 401 too,
        "throttled" for 429 and 503 with what `Retry-After` says,
        "server_error", "timeout", "untrusted" for a certificate, "refused_link" for a way inward, "connection"), or
        `Undecodable` where the header is no TIFF's.

    Raises:
        TransientFault: As `Asset.peek`.
    """
    message = _message(asset, error)
    of_gate = _OF_GATE.search(message)
    if of_gate is not None and int(of_gate[2]) == REFUSED:
        return _refused(asset, _why_refused(asset, of_gate[1]))
    status = _STATUS.search(message)
    if status is not None and int(status[1]) in TOO_MANY_REQUESTS:
        # GDAL keeps the headers to itself, and honours no Retry-After of its own.
        peeked = asset.peek(0, 1, timeout_s, traffic)
        return _throttled(asset, int(status[1]), 0.0 if peeked is None else peeked.retry_after_s)
    if status is not None and status[1].startswith("3"):
        # GDAL tells of the redirect alone, not of what was wrong where it leads.
        asset.peek(0, 1, timeout_s, traffic)
    if status is not None:
        return _fault_of_status(asset, int(status[1]))
    if _NO_URL.search(message):
        return PermanentFault("unreadable_href", f"{asset.shown}: {message}")
    if "CURL error" in message:
        said = message.lower()
        # Transient as all of these, so that no other date quietly stands in.
        late = "timed out" in said or (of_gate is not None and int(of_gate[2]) == TIMED_OUT)
        reason = "timeout" if late else "untrusted" if "certificate" in said else "connection"
        return TransientFault(reason, f"{asset.shown}: {message}")
    if asset.is_local and not Path(asset.gdal_path).exists():
        return PermanentFault("not_found", f"{asset.shown}: there is no such file")
    if "Permission denied" in message:
        return PermanentFault("forbidden", f"{asset.shown}: {message}")
    peeked = asset.peek(0, HEADER_BYTES, timeout_s, traffic)
    if peeked is not None and peeked.throttled:
        return _throttled(asset, peeked.status, peeked.retry_after_s)
    if peeked is not None and asset.key and peeked.status in _REFUSALS:
        return _fault_of_status(asset, peeked.status)
    if peeked is None or not peeked.is_of_the_file or _is_sound_header(peeked.body, peeked.size):
        return TransientFault("connection", f"{asset.shown}: the header could not be read: {message}")
    return Undecodable("corrupt", f"{asset.shown}: {message}")


def fault_of_read(
    asset: Asset, error: RasterioError, extent: tuple[int, int], timeout_s: float, traffic: Traffic
) -> Fault:
    """Tells what a failure to read pixels means.

    Args:
        asset: The asset.
        error: What rasterio raised.
        extent: First byte of the file that was to be read, and one past the last.
        timeout_s: Most seconds that it may take if the file is asked once more.
        traffic: Paces that request.

    Returns:
        `PermanentFault` "corrupt" where the file ends too early, `TransientFault` "truncated" where the bytes
        did not come, "throttled" if the host says so, "forbidden" as `KeyRefused` where the key holds no more, or
        "connection" where it gives no bytes of the file at all; or `Undecodable`.

    Raises:
        TransientFault: As `Asset.peek`.
    """
    message = _message(asset, error)
    short = _SHORT.search(message) is not None
    if not short and not asset.url:
        return Undecodable("corrupt", f"{asset.shown}: {message}")
    start, needs_bytes = extent
    peeked = asset.peek(start, max(needs_bytes, start + 1), timeout_s, traffic, with_body=False)
    if peeked is not None and peeked.throttled:
        return _throttled(asset, peeked.status, peeked.retry_after_s)
    if peeked is not None and asset.key and peeked.status in _REFUSALS:
        return _fault_of_status(asset, peeked.status)
    size = peeked.size if peeked is not None and peeked.is_of_the_file else None
    if size is not None and size < needs_bytes:
        return PermanentFault(
            "corrupt", f"{asset.shown} must have {needs_bytes} bytes or more. Received: {size}"
        )
    if short:
        return TransientFault("truncated", f"{asset.shown}: {message}")
    if size is None:
        # Such as a page that says "back soon" with status 200: it speaks of the host, not of the file.
        return TransientFault("connection", f"{asset.shown}: {message}")
    return Undecodable("corrupt", f"{asset.shown}: {message}")


def _why_refused(asset: Asset, host: str) -> str:
    """Looks a host up again that the gate has refused, to say by which of its addresses."""
    try:
        asset.reach.require_resolved(f"http://[{host}]/" if ":" in host else f"http://{host}/")
    except PermanentFault as fault:
        return fault.detail
    return f"{host} {why_closed('inner')}"


def _refused(asset: Asset, why: str) -> TransientFault:
    """Returns the fault of a way inward: transient, as names and redirects are of the network, not of the file.

    Were it permanent, a resolver that is out of order, and leads all names inside, would have other dates stand in.
    """
    return TransientFault("refused_link", f"{asset.shown} leads where it must not: {why}")


def _throttled(asset: Asset, status: int, wait_s: float) -> RetryAfterFault:
    return RetryAfterFault(THROTTLED, f"{asset.shown}: HTTP {status}", wait_s)


def _fault_of_status(asset: Asset, status: int) -> Fault:
    detail = f"{asset.shown}: HTTP {status}"
    if status in (404, 410):
        return PermanentFault("not_found", detail)
    if asset.key and status in _REFUSALS:
        return KeyRefused("forbidden", detail)
    if status == 401:
        return PermanentFault("forbidden", detail)
    # Hosts say 403 to a client that asks too often, to a blocked address and to a signature that has expired: were
    # it permanent, other dates would quietly stand in.
    if status in _REFUSALS:
        return TransientFault("forbidden", detail)
    # Anything else may be the mood of a proxy: a dead letter is seen, a wrongly skipped scene is not.
    return TransientFault("server_error", detail)


def _is_sound_header(header: bytes, size: int | None) -> bool:
    """Whether GDAL can open the file by its header alone, when the network has no part in it."""
    if size is not None and len(header) < min(size, HEADER_BYTES):
        return True  # cut short on the way, so nothing is known against the file
    if not header:
        return False  # an empty MemoryFile is one to be written
    try:
        with rasterio.MemoryFile(header) as memory, memory.open(driver="GTiff"):
            return True
    except RasterioError:
        return False


def _message(asset: Asset, error: BaseException) -> str:
    """Returns the innermost message, where GDAL says most, without what must not be shown."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return shown(str(error).replace(str(asset.gdal_path), asset.shown))
