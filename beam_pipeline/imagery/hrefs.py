"""Where the assets of STAC items lie, and what an item may name.

An item of an API is a stranger's: it may name files on the web, nothing on the machine that reads it, and no host
inside the network that the API itself is not in.
"""

import ipaddress
import os
import re
import urllib.parse
import urllib.request

from beam_pipeline.runtime.faults import PermanentFault

PUBLIC_BUCKETS = {
    "sentinel-cogs": "https://sentinel-cogs.s3.us-west-2.amazonaws.com",
    "e84-earth-search-sentinel-data": "https://e84-earth-search-sentinel-data.s3.us-west-2.amazonaws.com",
}
"""Buckets that are read without an account.

Source: the hrefs and `storage:*` properties of Earth Search's items.
"""

_EXTENSIONS = (".tif", ".tiff")
_WEB = ("http", "https")
_MOST_CHARS = 8192
_LOCAL_NAMES = ("localhost", "metadata", "metadata.google.internal", "instance-data")
"""Names that mean this machine, or the metadata service of its cloud. Source: the clouds' documentation."""

_NAME = re.compile(r"[A-Za-z0-9._-]+\Z")
"""A host's name as it is looked up. Libraries make such names of others too, of `%2e` or full-width letters."""

_KEPT = "/:@!$&'()*+,;=%"
"""What stands in a path as it is, beside letters and digits; % because what is encoded must not be so twice."""

_WHITESPACE = re.compile(r"\s")

_EMBEDDING = (
    (ipaddress.IPv6Network("::/96"), 0),  # IPv4-compatible, withdrawn
    (ipaddress.IPv6Network("::ffff:0:0/96"), 0),  # IPv4-mapped
    (ipaddress.IPv6Network("64:ff9b::/96"), 0),  # NAT64
    (ipaddress.IPv6Network("2002::/16"), 80),  # 6to4
)
"""Networks whose addresses hold an IPv4 address, and how many bits follow it. Source: RFC 4291, 6052, 3056."""

_METADATA = (ipaddress.ip_network("100.100.100.200/32"), ipaddress.ip_network("fd00:ec2::254/128"))
"""Metadata services beyond link-local addresses. Source: the documentation of Alibaba Cloud and AWS."""


def readable_href(href: str, base_href: str, api_url: str = "") -> str:
    """Makes an asset's href absolute, and refuses what cannot or must not be read.

    Args:
        href: As the item has it.
        base_href: Path or file URL of an item on disk, http(s) URL of one of an API; "" for one of an API that does
            not say where it is. Only an item on disk may name files on disk.
        api_url: URL of the API that gave the item.

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
        raise _refusal(href, "a GeoTIFF ends in .tif or .tiff")
    on_disk = bool(base_href) and base.scheme in ("", "file")
    if url.scheme == "s3":
        if url.netloc not in PUBLIC_BUCKETS:
            raise _refusal(href, "the bucket is not known to be public")
        return PUBLIC_BUCKETS[url.netloc] + urllib.parse.quote(url.path, _KEPT)
    if not url.scheme and base.scheme in _WEB:
        url = urllib.parse.urlsplit(urllib.parse.urljoin(base_href, href))
    if url.scheme in _WEB:
        _check_host(url, href, None if on_disk else api_url)
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


def _check_host(url: urllib.parse.SplitResult, href: str, api_url: str | None) -> None:
    """Refuses a host that is none, or that the item of an API must not name; None for an item on disk."""
    if not _is_host(url.hostname) or not _is_port(url):
        raise _refusal(
            href, "a host is an address, or a name of ASCII letters; a port, a number from 1 to 65535"
        )
    if api_url is not None and is_inner_host(url.geturl(), api_url):
        raise _refusal(href, "the item of an API must not name hosts of an inner network")


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


def is_inner_host(url: str, asked: str) -> bool:
    """Tells whether a URL leads into an inner network, and not out of the one that was asked.

    It goes by what the URL says: what a name resolves to is not looked up. A host that says nothing plainly (`%2e` in
    its name, letters beyond ASCII) is taken for an inner one.

    Args:
        url: http(s) URL that a stranger names.
        asked: URL of what the user chose to ask. Where that is inside too, as a catalogue of one's own is, its
            neighbours are welcome; addresses of the link, where clouds keep credentials, never are.
    """
    kind = _network(url)
    return kind == "never" or (kind == "inner" and _network(asked) != "inner")


def _network(url: str) -> str:
    """Returns "inner", "never" for what must not be asked in any case, or "" for the web."""
    try:
        host = (urllib.parse.urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return "never"
    if not _is_host(host):
        return "never"
    if host in _LOCAL_NAMES:
        return "inner" if host == "localhost" else "never"
    address = _address(host)
    if address is None:
        return "inner" if host.endswith((".localhost", ".internal", ".local")) else ""
    for network, bits_after in _EMBEDDING:
        if address in network:
            address = ipaddress.IPv4Address(int(address) >> bits_after & 0xFFFF_FFFF)
    if address.is_link_local or any(address in network for network in _METADATA):
        return "never"
    return "" if address.is_global else "inner"


def _is_host(host: str | None) -> bool:
    """Whether it is a name in ASCII (that of another alphabet in its IDNA form), or an address without a zone."""
    if not host or _NAME.match(host):
        return bool(host)
    try:
        return "%" not in host and ipaddress.ip_address(host) is not None
    except ValueError:
        return False


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


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    # The forms that inet_aton takes too: 0x7f.1, 2130706433, 0177.0.0.1
    parts = host.split(".")
    try:
        numbers = [int(part, 16 if part[:2] == "0x" else 8 if part[:1] == "0" else 10) for part in parts]
    except ValueError:
        return None
    if len(parts) > 4 or any(number < 0 for number in numbers):
        return None
    value = numbers[-1] + sum(number << (8 * (3 - index)) for index, number in enumerate(numbers[:-1]))
    return ipaddress.IPv4Address(value) if value < 1 << 32 else None
