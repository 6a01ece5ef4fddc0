"""Where the assets of STAC items lie, and what an item may name.

An item of an API is a stranger's: it may name files on the web, nothing on the machine that reads it, and no host
inside a network that the API itself is not in. One on disk may name those too, but no metadata service.
"""

import os
import re
import urllib.parse
import urllib.request
from collections.abc import Mapping

from beam_pipeline.imagery.buckets import FLAG, PUBLIC_BUCKETS
from beam_pipeline.runtime.faults import PermanentFault
from beam_pipeline.runtime.foreign_text import one_line
from beam_pipeline.runtime.reach import WEB, Reach, is_host, network_of, why_closed

_EXTENSIONS = (".tif", ".tiff")
_JPEG_2000 = (".jp2", ".j2k", ".jpx")
_CDSE_BUCKET = "eodata"
_WEB = ("http", "https")
_MOST_NAME_CHARS = 63
_MOST_CHARS = 8192
_KEPT = "/:@!$&'()*+,;=%"
"""Kept as they are in a path, beside letters and digits; % because what is encoded must not be so twice."""

_WHITESPACE = re.compile(r"\s")


def readable_href(
    href: str, base_href: str, reach: Reach = WEB, buckets: Mapping[str, str] = PUBLIC_BUCKETS
) -> str:
    """Makes an asset's href absolute, and refuses what cannot or must not be read.

    Args:
        href: As the item has it.
        base_href: Path or file URL of an item on disk, http(s) URL of one of an API; "" for one of an API that does
            not say where it is. Only an item on disk may name files on disk.
        reach: What the catalogue that gave the item may name. One on disk may name inner hosts too.
        buckets: The URL of each S3 bucket that is read, by name.

    Returns:
        An http(s) URL in which what may not stand in one is percent-encoded, without fragment; or an absolute local
        path.

    Raises:
        PermanentFault: "unreadable_href": a JPEG 2000 file, a requester-pays or unknown bucket, another
            scheme, a host or port that is none, what is not meant for a stranger, or a relative href of an item that
            does not say where it is.
    """
    if not href.isprintable() or len(href) > _MOST_CHARS:
        raise _refusal(href, "it holds control characters, or is endless")
    try:
        url, base = urllib.parse.urlsplit(href), urllib.parse.urlsplit(base_href)
    except ValueError as error:
        raise _refusal(href, f"it is no URL: {error}") from error
    if not url.path.lower().endswith(_EXTENSIONS):
        raise _refusal(href, _why_no_geotiff(url))
    on_disk = bool(base_href) and base.scheme in ("", "file")
    if url.scheme == "s3":
        if url.netloc not in buckets:
            raise _refusal(
                href,
                f"the bucket is not known to be public; if anybody may read it, name it by {FLAG} "
                f"{one_line(url.netloc, _MOST_NAME_CHARS)}=https://HOST",
            )
        if not {".", ".."}.isdisjoint(urllib.parse.unquote(url.path).split("/")):
            raise _refusal(href, "its path must not lead out of the bucket")
        url = urllib.parse.urlsplit(buckets[url.netloc] + urllib.parse.quote(url.path, _KEPT))
        _check_host(url, href, reach)
        return url.geturl()
    if not url.scheme and base.scheme in _WEB:
        url = urllib.parse.urlsplit(urllib.parse.urljoin(base_href, href))
    if url.scheme in _WEB:
        _check_host(url, href, reach.of_file(url.geturl()) if on_disk else reach)
        return _encoded(url)
    if url.scheme not in ("", "file"):
        raise _refusal(href, "only http, https, s3 and file are read")
    if not on_disk:
        absolute = url.scheme or os.path.isabs(href)
        raise _refusal(
            href,
            "the item of an API must not name files of this machine"
            if absolute
            else "relative, and the item does not say where it is",
        )
    return local_path(href, base_href)


def _why_no_geotiff(url: urllib.parse.SplitResult) -> str:
    if not url.path.lower().endswith(_JPEG_2000):
        return "a GeoTIFF ends in .tif or .tiff"
    host = "the Copernicus Data Space (CDSE) holds" if url.netloc == _CDSE_BUCKET else "this is"
    return f"{host} JPEG 2000, and only GeoTIFFs are read"


def _check_host(url: urllib.parse.SplitResult, href: str, reach: Reach) -> None:
    """Refuses a host that is none, or that the item must not name."""
    if not is_host(url.hostname) or not _is_port(url):
        raise _refusal(
            href, "a host is an address, or a name of ASCII letters; a port, a number from 1 to 65535"
        )
    network = network_of(url.geturl())
    if reach.closes(network):
        raise _refusal(href, f"its host {why_closed(network)}")


def _refusal(href: str, why: str) -> PermanentFault:
    # A query ends at whitespace for who hides it.
    received = _WHITESPACE.sub(lambda sign: urllib.parse.quote(sign[0]), href)
    return PermanentFault("unreadable_href", f"{why}. Received: {received}")


def local_path(href: str, base_href: str) -> str:
    """Returns the path that an href in a file on disk leads to.

    Args:
        href: A path, relative or not, or a file URL.
        base_href: Path or URL of the file that it stands in.

    Returns:
        An absolute path. Other folders than the file's may be named, as STAC catalogues do.

    Raises:
        PermanentFault: "unreadable_href" for one of GDAL's virtual file systems, which is no path on disk.
    """
    base = urllib.parse.urlsplit(base_href)
    folder = urllib.request.url2pathname(base.path) if base.scheme == "file" else base_href
    url = urllib.parse.urlsplit(href)
    path = urllib.request.url2pathname(url.path) if url.scheme == "file" else href
    path = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(folder)), path))
    require_on_disk(path)
    return path


def require_on_disk(path: str) -> None:
    """Refuses what GDAL would take for anything but a file on disk: /vsicurl/, /vsizip/ and their like.

    Raises:
        PermanentFault: "unreadable_href".
    """
    if "\0" in path or path.lstrip("/").startswith("vsi"):
        raise PermanentFault("unreadable_href", f"it is no path on disk. Received: {path}")


def _is_port(url: urllib.parse.SplitResult) -> bool:
    try:
        return url.port != 0
    except ValueError:
        return False


def _encoded(url: urllib.parse.SplitResult) -> str:
    """Percent-encodes what may not stand in a URL: libcurl refuses a space, and hosts what they please."""
    netloc, path, query = (
        urllib.parse.quote(part, _KEPT + more)
        for part, more in ((url.netloc, "[]"), (url.path, ""), (url.query, "?"))
    )
    return urllib.parse.urlunsplit((url.scheme, netloc, path, query, ""))
