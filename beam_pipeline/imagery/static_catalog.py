"""STAC items on disk: a catalogue, a folder of items, an item collection or one item."""

import hashlib
import json
import os
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from beam_pipeline.imagery.catalog_settings import CatalogInfo, CatalogSettings
from beam_pipeline.imagery.hrefs import local_path, readable_href
from beam_pipeline.imagery.stac_item import links_of
from beam_pipeline.runtime.faults import InvalidInputError, PermanentFault
from beam_pipeline.runtime.foreign_text import without_secrets
from beam_pipeline.runtime.json_weight import parsed_bytes

_ROOTS = ("catalog.json", "collection.json")

_MOST_BYTES = 1 << 29
"""Of a STAC file: about 20,000 items in one collection."""

_MOST_PARSED_BYTES = 64 << 20
_MOST_FACTOR = 16
"""Bytes that a parsed STAC file may take: the former, and the latter times its size."""

StaticItem = tuple[dict[str, Any], str]
"""An item and the path of the file that holds it."""


class StaticCatalog:
    """A catalogue on disk, which is small enough to be read whole.

    Args:
        settings: Of the catalogue.
        path: Where it lies.
    """

    def __init__(self, settings: CatalogSettings, path: str) -> None:
        self._settings = settings
        self._path = path

    def check(self, years: Sequence[int] = ()) -> CatalogInfo:
        """Looks at the catalogue before a run; all of it, whatever the years.

        Raises:
            InvalidInputError: As `read_static`, or it has no item of the collection.
        """
        collection = self._settings.collection
        name, items = read_static(self._path)
        chosen = self._of_collection(items)
        if not chosen:
            there = sorted({str(item.get("collection")) for item, _ in items})
            raise InvalidInputError(
                f"The catalogue {self._settings.url} has no item of that collection, but of: "
                f"{', '.join(there) or 'none'}. Received: {collection}"
            )
        identity = (
            f"static:{name}:{collection}:{digest_items(chosen, self._path, self._settings.all_buckets)}"
        )
        return CatalogInfo("static", collection, identity)

    def items(self, tile: str, year: int) -> Iterator[StaticItem]:
        """Yields the items of the collection, whatever their tile and year.

        Raises:
            InvalidInputError: As `read_static`.
        """
        yield from self._of_collection(read_static(self._path)[1])

    def _of_collection(self, items: Iterable[StaticItem]) -> list[StaticItem]:
        """Keeps the items of the collection; one that names none belongs to all."""
        return [found for found in items if found[0].get("collection") in (self._settings.collection, None)]


def read_static(path: str) -> tuple[str, list[StaticItem]]:
    """Reads all items of a catalogue on disk.

    Args:
        path: A catalog.json or collection.json, whose child and item links are followed; a folder that holds
            one of them, else whose .json files, in sub-folders too, are items; a FeatureCollection of items;
            or one item.

    Returns:
        (name, items): the id of the catalogue, "items" where there is none; the items in the order of their
        paths.

    Raises:
        InvalidInputError: The path or a linked file is missing, is no JSON or no STAC, or a link leads off
            the disk.
    """
    root = Path(path)
    if root.is_dir():
        root = next((root / name for name in _ROOTS if (root / name).is_file()), root)
    if root.is_dir():
        files = sorted(root.rglob("*.json"))
        if not files:
            raise InvalidInputError(
                f"The folder holds neither a catalog.json nor items (*.json). Received: {path}"
            )
        return "items", [found for file in files for found in _items_of(file, _load(file))]
    content = _load(root)
    if content.get("type") in ("Catalog", "Collection"):
        return str(content.get("id", "items")), sorted(_walk(root, content), key=lambda found: found[1])
    return "items", list(_items_of(root, content))


def digest_items(items: Iterable[StaticItem], path: str, buckets: Mapping[str, str]) -> str:
    """Hashes what the pipeline uses of items: ids, properties and asset hrefs, wherever the catalogue lies.

    Args:
        items: From `read_static`, in any order.
        path: The path given to `read_static`; hrefs are hashed relative to it.
        buckets: As `readable_href`.

    Returns:
        A SHA-256 in hexadecimal digits. The rasters themselves are not hashed.
    """
    root = os.path.abspath(path if os.path.isdir(path) else os.path.dirname(path))
    lines = sorted(json.dumps(_canonical(item, file, root, buckets), sort_keys=True) for item, file in items)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _canonical(item: Mapping[str, Any], file: str, root: str, buckets: Mapping[str, str]) -> list[Any]:
    hrefs = {}
    assets = item.get("assets")
    for key, asset in assets.items() if isinstance(assets, Mapping) else ():
        href = str(asset.get("href", "") if isinstance(asset, Mapping) else "")
        try:
            href = readable_href(href, file, buckets=buckets)
        except PermanentFault:
            continue  # what cannot be read is not used either
        hrefs[key] = os.path.relpath(href, root) if os.path.isabs(href) else without_secrets(href)
    return [item.get("id"), item.get("collection"), item.get("properties"), hrefs]


def _load(file: Path) -> dict[str, Any]:
    try:
        size = file.stat().st_size
        if not file.is_file() or size > _MOST_BYTES:  # a link may lead to a device, which has no end
            raise InvalidInputError(
                f"A STAC file is a file of at most {_MOST_BYTES >> 20} MiB. Received: {file}, {size} bytes"
            )
        text = file.read_bytes()
        if parsed_bytes(text) > _MOST_PARSED_BYTES + _MOST_FACTOR * len(text):
            raise InvalidInputError(
                f"A STAC file holds items; this one holds so many small values that it takes more than {_MOST_FACTOR} "
                f"times its size to read. Received: {file}"
            )
        content = json.loads(text)
    except OSError as error:
        raise InvalidInputError(
            f"The STAC file cannot be read: {error.strerror}. Received: {file}"
        ) from error
    except InvalidInputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"The STAC file is no JSON: {error}. Received: {file}") from error
    if not isinstance(content, dict) or content.get("type") not in (
        "Catalog",
        "Collection",
        "Feature",
        "FeatureCollection",
    ):
        raise InvalidInputError(
            'A STAC file is an object whose "type" is Catalog, Collection, Feature (an item) or '
            f"FeatureCollection. Received: {file}"
        )
    return content


def _items_of(file: Path, content: dict[str, Any]) -> Iterator[StaticItem]:
    if content["type"] == "Feature":
        yield content, str(file.absolute())
    elif content["type"] == "FeatureCollection":
        features = content.get("features")
        if not isinstance(features, list) or not all(isinstance(feature, dict) for feature in features):
            raise InvalidInputError(f'"features" must be a list of items. Received: {file}')
        for feature in features:
            yield feature, str(file.absolute())


def _walk(file: Path, content: dict[str, Any]) -> Iterator[StaticItem]:
    """Follows the child and item links; a file that is linked twice is read once."""
    seen = {file.resolve()}
    ahead = [(file, link) for link in links_of(content)]
    while ahead:
        file, link = ahead.pop()
        if link.get("rel") not in ("child", "item"):
            continue
        target = _linked(file, str(link.get("href", "")))
        if target.resolve() in seen:
            continue
        seen.add(target.resolve())
        linked = _load(target)
        if linked["type"] in ("Catalog", "Collection"):
            ahead += [(target, link) for link in links_of(linked)]
        else:
            yield from _items_of(target, linked)


def _linked(file: Path, href: str) -> Path:
    try:
        url = urllib.parse.urlsplit(href)
    except ValueError as error:
        raise InvalidInputError(f"{file} links to what is no URL: {error}. Received: {href}") from error
    if not href.isprintable():
        raise InvalidInputError(f"{file} links to control characters. Received: {href!r}")
    if url.scheme not in ("", "file"):
        raise InvalidInputError(
            f"{file} links to {href}: a static catalogue must lie on disk whole. Download it first, or give "
            "the URL of its STAC API."
        )
    try:
        return Path(local_path(href, str(file)))
    except PermanentFault as fault:
        raise InvalidInputError(f"{file} links to what is no file: {fault.detail}") from fault
