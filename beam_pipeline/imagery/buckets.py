"""Buckets of S3 that anybody may read without an account: they are read over HTTPS, and never signed for."""

import re
import urllib.parse
from collections.abc import Mapping
from typing import Any

from beam_pipeline.runtime.faults import InvalidInputError, PermanentFault
from beam_pipeline.runtime.reach import Reach, network_of, why_closed

PUBLIC_BUCKETS: Mapping[str, str] = {
    "sentinel-cogs": "https://sentinel-cogs.s3.us-west-2.amazonaws.com",
    "e84-earth-search-sentinel-data": "https://e84-earth-search-sentinel-data.s3.us-west-2.amazonaws.com",
}
"""Those that need not be named.

Source: the hrefs and `storage:*` properties of Earth Search's items.
"""

FLAG = "--public_buckets"

EXAMPLE = "deafrica-sentinel-2=https://deafrica-sentinel-2.s3.af-south-1.amazonaws.com"

_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]\Z")


def parse_buckets(text: str, reach: Reach) -> tuple[tuple[str, str], ...]:
    """Parses "NAME=https://HOST,...".

    Args:
        text: Buckets, separated by commas; "" for none.
        reach: What may be asked for files of the catalogue.

    Returns:
        (name, URL) of each, sorted; below the URL lie the bucket's objects.

    Raises:
        InvalidInputError: A part is malformed, or its host must not be asked.
    """
    buckets: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, url = part.partition("=")
        parts = urllib.parse.urlsplit(url)
        if not _NAME.match(name) or not parts.hostname or parts.scheme not in ("https", "http"):
            raise InvalidInputError(f"{FLAG} takes NAME=URL, e.g. {EXAMPLE}. Received: {part}")
        if parts.query or parts.fragment or parts.username or parts.password:
            raise InvalidInputError(
                f"{FLAG} takes buckets that anybody may read: a URL without user and query. Received: {part}"
            )
        network = network_of(url)
        if reach.closes(network):
            raise InvalidInputError(f"{FLAG}: {parts.hostname} {why_closed(network)}. Received: {part}")
        if parts.scheme == "http" and network != "inner":
            raise InvalidInputError(f"{FLAG}: buckets of the web are read over https. Received: {part}")
        if buckets.setdefault(name, url.rstrip("/")) != url.rstrip("/"):
            raise InvalidInputError(f"{FLAG} names a bucket twice. Received: {text}")
    return tuple(sorted(buckets.items()))


def require_free(href: str, asset: Mapping[str, Any], properties: Mapping[str, Any]) -> None:
    """Refuses a file in a bucket whose readers pay, as far as its item says so.

    Args:
        href: Of the asset; of other schemes than s3 nothing is asked for.
        asset: The asset as its item has it.
        properties: The item's.

    Raises:
        PermanentFault: "unreadable_href".
    """
    if not href.startswith("s3://"):
        return
    says = asset.get("storage:requester_pays", properties.get("storage:requester_pays"))
    schemes = asset.get("storage:schemes", properties.get("storage:schemes"))
    named = asset.get("storage:refs")
    if isinstance(schemes, Mapping) and isinstance(named, list):
        # Version 2 of the storage extension.
        chosen = [schemes.get(name) for name in named if isinstance(name, str)]
        says = says or any(isinstance(it, Mapping) and it.get("requester_pays") is True for it in chosen)
    if says is True:
        raise PermanentFault(
            "unreadable_href",
            "who reads this bucket pays for it (requester pays), and files are read without an account. "
            f"Received: {href}",
        )
