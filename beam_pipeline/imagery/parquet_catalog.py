"""STAC GeoParquet as a catalogue: one file, or several, in place of a search for each tile and year."""

import atexit
import contextlib
import functools
import hashlib
import logging
import os
import threading
from collections.abc import Iterator, Sequence

import pyarrow as pa

from beam_pipeline.imagery.catalog_settings import CatalogInfo, CatalogSettings
from beam_pipeline.imagery.parquet_file import CHANGED, REWRITE, ParquetItems
from beam_pipeline.imagery.parquet_rows import booleans, wanted_rows
from beam_pipeline.imagery.parquet_tile_year import TileYear
from beam_pipeline.imagery.stac_item import sensing_time, tile_of_item
from beam_pipeline.imagery.static_catalog import StaticItem
from beam_pipeline.runtime.faults import InvalidInputError, PermanentFault
from beam_pipeline.runtime.file_ranges import FileRanges
from beam_pipeline.runtime.files import Files
from beam_pipeline.runtime.retries import RetryPolicy

_log = logging.getLogger(__name__)

_MANY_ROWS = 200_000
"""Items among which those of a tile and year should lie: some row groups of 50,000."""

_TRIED = 8
"""The number of tiles and years that are tried at launch, to see what a search costs."""


class ParquetCatalog:
    """STAC GeoParquet files, local or in a bucket, of which each search reads a few ranges.

    Args:
        settings: Of the catalogue.
        path: The path of a file, or a pattern of those of several in one folder.
        retry: How often each range is tried.
    """

    def __init__(self, settings: CatalogSettings, path: str, retry: RetryPolicy) -> None:
        if settings.files is None:
            raise ValueError("STAC GeoParquet wants the settings to say what reads files")
        self._settings = settings
        self._path = path
        self._files = settings.files
        self._retry = retry

    def check(self, years: Sequence[int] = ()) -> CatalogInfo:
        """Looks at the footers before a run, and at the first item of the collection, of whatever year.

        Raises:
            InvalidInputError: There is no such file, one is no STAC GeoParquet or is damaged, or there is no item of
                the collection.
            TransientFault: The bucket cannot be reached.
        """
        try:
            parts = self._parts(anew=True)
            self._require_collection(parts)
            self._warn_unsorted(parts)
        except PermanentFault as fault:
            raise InvalidInputError(
                f"The catalogue cannot be used: {fault.detail}. Received: {self._settings.url}"
            ) from fault
        # What is hashed is what is known without reading gigabytes: sizes, counts, least and greatest values.
        footers = _digests(parts)
        digest = hashlib.sha256("\n".join(footers).encode()).hexdigest()
        collection = self._settings.collection
        return CatalogInfo("static", collection, f"static:parquet:{collection}:{digest}", footers=footers)

    def items(self, tile: str, year: int) -> Iterator[StaticItem]:
        """Yields the items of a tile and year, and those that do not say of which they are but may be.

        Args:
            tile: Five characters.
            year: The year, in UTC.

        Yields:
            The item, and the path of the file where that lies on disk, else "".

        Raises:
            PermanentFault: "damaged_catalogue"; "changed", the files are others than at launch; or a file is there no
                more.
            TransientFault: The bucket failed for longer than the retries last.
        """
        asked = TileYear(tile, year)
        for part in self._parts():
            choose = functools.partial(self._choose, part.per_second, asked)
            base_href = "" if "://" in part.path else part.path
            for group, said in enumerate(part.statistics):
                if asked.may_be_in(said, part.per_second):
                    for item in part.items(group, choose):
                        yield item, base_href

    def _choose(self, per_second: int, asked: TileYear, rows: pa.RecordBatch) -> pa.Array:
        return wanted_rows(rows, asked, per_second, self._settings.collection)

    def _parts(self, anew: bool = False) -> list[ParquetItems]:
        return _OPEN.get(self._files, self._path, self._retry, self._settings.footers, anew)

    def _require_collection(self, parts: Sequence[ParquetItems]) -> None:
        """Reads items until one is of the collection."""
        wanted = self._settings.collection
        there: set[str] = set()
        for part in parts:
            for group, said in enumerate(part.statistics):
                named = said.get("collection")
                if named is not None and not named.has_nulls and named.holds_none_of((wanted,)):
                    there |= {named.low, named.high}
                    continue
                for item in part.keys(group):
                    if item["collection"] in (wanted, None):
                        # Its other columns too: a damaged one is found now.
                        next(part.items(group, _first))
                        return
                    there.add(item["collection"])
        raise InvalidInputError(
            f"The catalogue {self._settings.url} has no item of that collection, but of: "
            f"{', '.join(sorted(there)) or 'none'}. Received: {wanted}"
        )

    def _warn_unsorted(self, parts: Sequence[ParquetItems]) -> None:
        """Warns where the statistics do not tell in which row groups a tile and year lie."""
        groups = [(part, group) for part in parts for group, rows in enumerate(part.rows) if rows]
        costs = []
        for part, group in groups[:: max(1, len(groups) // _TRIED)]:
            item = next(part.keys(group))
            tile, sensed = tile_of_item(item), sensing_time(item)
            with contextlib.suppress(ValueError):  # a tile that ESA has not, or a year that Python has not
                costs.append(_cost(parts, TileYear(tile or "", int(sensed[:4]))))
        mean = sum(rows for rows, _ in costs) // max(1, len(costs))
        if mean > _MANY_ROWS:
            _log.warning(
                "%s: a search of one tile and year looks through %d of %d row groups, which hold %d items. Sort the "
                "items by tile and time, and see docs/sources.md. %s",
                self._settings.url,
                sum(touched for _, touched in costs) // len(costs),
                len(groups),
                mean,
                REWRITE,
            )


def _first(rows: pa.RecordBatch) -> pa.Array:
    """Chooses the first of some rows."""
    return booleans([number == 0 for number in range(rows.num_rows)])


def _cost(parts: Sequence[ParquetItems], asked: TileYear) -> tuple[int, int]:
    """Returns how many items and row groups a search looks through."""
    touched = [
        rows
        for part in parts
        for rows, said in zip(part.rows, part.statistics, strict=True)
        if asked.may_be_in(said, part.per_second)
    ]
    return sum(touched), len(touched)


class _OpenCatalogues:
    """The files that this process has open: each is opened once, by the thread that comes first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._parts: dict[tuple[object, ...], list[ParquetItems]] = {}

    def get(
        self, files: Files, path: str, retry: RetryPolicy, known: tuple[str, ...], anew: bool
    ) -> list[ParquetItems]:
        """Returns the files of a path or pattern, opened anew where asked to, or where one on disk has changed.

        Files of which the launch knew are those that are `known`, or this raises a PermanentFault.
        """
        with self._lock:
            paths = _paths(files, path) if anew or "://" not in path else None
            stamp = (
                (path, known, *(_stamp(each) for each in paths if "://" not in path))
                if paths
                else (path, known)
            )
            if anew or stamp not in self._parts:
                self._forget(path)
                paths = _paths(files, path) if paths is None else paths
                self._parts[stamp] = _opened(files, paths, retry, known, path)
            return self._parts[stamp]

    def _forget(self, path: object) -> None:
        for stamp in [stamp for stamp in self._parts if stamp[0] == path]:
            for part in self._parts.pop(stamp):
                part.close()

    def close(self) -> None:
        """Closes all files, while there is still something to say where that fails."""
        for stamp in list(self._parts):
            self._forget(stamp[0])


_OPEN = _OpenCatalogues()
atexit.register(_OPEN.close)


def _opened(
    files: Files, paths: Sequence[str], retry: RetryPolicy, known: tuple[str, ...], pattern: str
) -> list[ParquetItems]:
    """Opens the files of a pattern, all or none."""
    with contextlib.ExitStack() as opened:
        parts = []
        for path in paths:
            ranges = opened.enter_context(contextlib.closing(FileRanges(files, path, retry)))
            parts.append(ParquetItems(ranges, known))
        if known and _digests(parts) != known:
            raise PermanentFault(
                CHANGED, f"{pattern} names other files than at launch: {len(parts)}, not {len(known)}"
            )
        opened.pop_all()
    return parts


def _digests(parts: Sequence[ParquetItems]) -> tuple[str, ...]:
    return tuple(sorted(part.digest for part in parts))


def _paths(files: Files, path: str) -> list[str]:
    """Returns the files that a path or a pattern names, at least one."""
    folder, _, name = path.rpartition("/")
    found = [path] if "*" not in name else files.glob(folder, name)
    if not found:
        raise PermanentFault("not_found", f"there is no such file: {path}")
    # A person may give a link; what storage opens is what it leads to.
    return [each if "://" in each else os.path.realpath(each) for each in found]


def _stamp(path: str) -> tuple[object, ...]:
    with contextlib.suppress(OSError):
        found = os.stat(path)
        return path, found.st_size, found.st_mtime_ns, found.st_ino
    return (path,)
