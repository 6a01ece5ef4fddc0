"""What GDAL's errors mean: permanent, transient, or undecodable.

GDAL says little of a failed request, so where its message leaves it open the file itself is asked once more,
without GDAL: does it end too early, and is its header a TIFF's?
"""

import dataclasses
import http.client
import re
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import rasterio
from rasterio.errors import RasterioError

from beam_pipeline.faults import Fault, PermanentFault, TransientFault
from beam_pipeline.foreign_text import shown
from beam_pipeline.imagery.hrefs import require_on_disk

HEADER_BYTES = 32768
"""What is read of a file on opening it."""

_STATUS = re.compile(r"HTTP response code: (\d{3})")
_SHORT = re.compile(r"got \d+ bytes, expected \d+")
_TOTAL = re.compile(r"/(\d+)\Z")


class Undecodable(Fault):
    """What was read is not what it must be; the copy may be bad, or the file."""


@dataclasses.dataclass(frozen=True)
class Asset:
    """A file, as GDAL and people name it.

    Attributes:
        url: http or https URL; "" for another.
        gdal_path: What GDAL opens.
        shown: File name or URL for messages, without credentials and query.
    """

    url: str
    gdal_path: str | Path
    shown: str

    @classmethod
    def of_href(cls, href: str) -> "Asset":
        """Reads a local path, or a file, http, https or gs URL.

        Raises:
            PermanentFault: "unreadable_href" for another scheme.
        """
        named = shown(href)
        try:
            parts = urllib.parse.urlsplit(href)
        except ValueError as error:
            raise PermanentFault("unreadable_href", f"it is no URL: {error}. Received: {named}") from error
        if parts.scheme in ("http", "https"):
            return cls(href, f"/vsicurl/{href}", named)
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
        # What is shown goes into dataset.json, which must not depend on where a catalogue lies.
        return cls("", Path(path), Path(path).name)

    @property
    def is_local(self) -> bool:
        """Whether it is a file on this machine."""
        return isinstance(self.gdal_path, Path)

    def peek(self, start: int, stop: int, timeout_s: float) -> tuple[bytes, int | None] | None:
        """Reads bytes without GDAL.

        Args:
            start: First byte.
            stop: One past the last byte.
            timeout_s: Longest silence in seconds.

        Returns:
            (the bytes, as many as there are; size of the whole file, None where the server does not say), or
            None where that cannot be told: no answer, or a bucket that needs an account.
        """
        try:
            if self.is_local:
                with open(self.gdal_path, "rb") as file:
                    file.seek(start)
                    return file.read(stop - start), Path(self.gdal_path).stat().st_size
            if not self.url:
                return None
            request = urllib.request.Request(self.url, headers={"Range": f"bytes={start}-{stop - 1}"})  # noqa: S310
            with urllib.request.urlopen(request, timeout=timeout_s) as answer:  # noqa: S310
                if answer.status != http.HTTPStatus.PARTIAL_CONTENT:
                    return None
                body = answer.read()
                total = _TOTAL.search(answer.headers.get("Content-Range", ""))
                return body, int(total[1]) if total else None
        except urllib.error.HTTPError as error:
            with error:
                total = _TOTAL.search(error.headers.get("Content-Range", ""))
                past_the_end = error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
                return (b"", int(total[1])) if past_the_end and total else None
        except (OSError, http.client.HTTPException):
            return None


def fault_of_open(asset: Asset, error: RasterioError, timeout_s: float) -> Fault:
    """Tells what a failure to open an asset means.

    Args:
        asset: The asset.
        error: What rasterio raised.
        timeout_s: Longest silence in seconds if the file is asked once more.

    Returns:
        A `PermanentFault` ("not_found" for 404 and 410, "forbidden" for 401), a `TransientFault` ("forbidden" for
        403, "throttled" for 429 and 503, "server_error", "timeout", "untrusted" for a certificate, "connection"),
        or `Undecodable` where the header is no TIFF's.
    """
    message = _message(asset, error)
    status = _STATUS.search(message)
    if status is not None:
        return _fault_of_status(asset, int(status[1]))
    if "CURL error" in message:
        said = message.lower()
        # Transient as all of these, so that no other date quietly stands in.
        reason = "timeout" if "timed out" in said else "untrusted" if "certificate" in said else "connection"
        return TransientFault(reason, f"{asset.shown}: {message}")
    if asset.is_local and not Path(asset.gdal_path).exists():
        return PermanentFault("not_found", f"{asset.shown}: there is no such file")
    if "Permission denied" in message:
        return PermanentFault("forbidden", f"{asset.shown}: {message}")
    peeked = asset.peek(0, HEADER_BYTES, timeout_s)
    if peeked is None or _is_sound_header(*peeked):
        return TransientFault("connection", f"{asset.shown}: the header could not be read: {message}")
    return Undecodable("corrupt", f"{asset.shown}: {message}")


def fault_of_read(asset: Asset, error: RasterioError, needs_bytes: int, timeout_s: float) -> Fault:
    """Tells what a failure to read pixels means.

    Args:
        asset: The asset.
        error: What rasterio raised.
        needs_bytes: Size that the file must have to hold what was read.
        timeout_s: Longest silence in seconds if the file is asked once more.

    Returns:
        `PermanentFault` "corrupt" where the file ends too early, `TransientFault` "truncated" where the bytes
        did not come, or `Undecodable`.
    """
    message = _message(asset, error)
    if _SHORT.search(message) is None:
        return Undecodable("corrupt", f"{asset.shown}: {message}")
    peeked = asset.peek(max(0, needs_bytes - 1), max(1, needs_bytes), timeout_s)
    size = None if peeked is None else peeked[1]
    if size is not None and size < needs_bytes:
        return PermanentFault(
            "corrupt", f"{asset.shown} must have {needs_bytes} bytes or more. Received: {size}"
        )
    return TransientFault("truncated", f"{asset.shown}: {message}")


def _fault_of_status(asset: Asset, status: int) -> Fault:
    detail = f"{asset.shown}: HTTP {status}"
    if status in (404, 410):
        return PermanentFault("not_found", detail)
    if status == 401:
        return PermanentFault("forbidden", detail)
    # Hosts say 403 to a client that asks too often, to a blocked address and to a signature that has expired: were
    # it permanent, other dates would quietly stand in.
    if status == 403:
        return TransientFault("forbidden", detail)
    # Anything else may be the mood of a proxy: a dead letter is seen, a wrongly skipped scene is not.
    return TransientFault("throttled" if status in (429, 503) else "server_error", detail)


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
