"""One STAC GeoParquet file: its footer is checked and kept, and its rows are read by ranges.

rustac, which writes such files, is not used to read them: it reads them whole, and its search wants extensions of
DuckDB that are fetched from the web.
"""

import contextlib
import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence

import pyarrow as pa
from pyarrow import parquet

from beam_pipeline.imagery.parquet_blocks import Blocks, chunks_of
from beam_pipeline.imagery.parquet_columns import HREFS, KEYS, column_problem, is_needed, is_property
from beam_pipeline.imagery.parquet_rows import Item, items_of
from beam_pipeline.imagery.parquet_tile_year import INDEXED, PER_SECOND, TIME
from beam_pipeline.runtime.faults import PermanentFault
from beam_pipeline.runtime.file_ranges import FileRanges
from beam_pipeline.runtime.parquet_footer import (
    FAILURES,
    MAGIC,
    KeptFooters,
    parse_footer,
    require_parsable,
)
from beam_pipeline.runtime.parquet_statistics import Statistics, statistics_of

DAMAGED = "damaged_catalogue"
"""Reason of the faults of a file that is no STAC GeoParquet, or breaks its own word."""

CHANGED = "changed"
"""Reason of the faults of a file that is another than before."""

REWRITE = "Write it with row groups of about 50,000 items"

_TAIL_BYTES = 8  # the length of the footer, and the magic
_MOST_FOOTER_BYTES = 32 << 20
"""Parsed, a footer takes 8 times as much. A row group of Earth Search's items adds 0.1 MB."""

_FOOTERS = KeptFooters(2)
"""Those of further files are parsed again when their rows are read."""

_MOST_LEAVES = 20_000
_MOST_ROWS = 1 << 20
_MOST_LINKS = 64
"""Links of an item; what counts is their mean over a row group."""

_MOST_GROUP_BYTES = 64 << 20
_MOST_PLAIN_BYTES = 512 << 20
"""The bytes that are read of a row group, and those that it takes decompressed, page by page."""

_MOST_KEPT_BYTES = 256 << 20
"""Bytes of the chosen items of a row group: those of a tile and year are some hundreds, of a few kB each."""

_MOST_BLOCK_BYTES = 4 << 20
"""Bytes of a row group that are read at a time, but for a field that takes more."""

_BATCH_ROWS = 1000


class ParquetItems:
    """STAC items in one GeoParquet file, of which no more than the footer is kept; threads may share it.

    Args:
        ranges: The file.
        known: The digests of the files that the launch saw, of which this must be one; where there are none, its footer
            is parsed in a process of its own first.

    Attributes:
        path: Where the file lies.
        digest: SHA-256 of the footer and the file's size, the same wherever the file lies.
        rows: The number of items in each row group.
        statistics: What each row group says of its columns.
        per_second: What its timestamps count.

    Raises:
        PermanentFault: `DAMAGED`: it is no such file, or wants more memory than any gets; `CHANGED`: it is none that
            the launch saw; or as `FileRanges`.
        TransientFault: As `FileRanges`.
    """

    def __init__(self, ranges: FileRanges, known: Collection[str] = ()) -> None:
        self._ranges = ranges
        self.path = ranges.path
        tail = self._read_tail()
        self.digest = self._digest(tail)
        self._end = tail[-_TAIL_BYTES:]
        if known and self.digest not in known:
            raise self.changed()
        with self._naming_damage("its footer"):
            if not known:
                require_parsable(tail)
            metadata = _FOOTERS.of(self, lambda: parse_footer(tail))
            leaves = {metadata.schema.column(i).path: i for i in range(metadata.num_columns)}
            schema = metadata.schema.to_arrow_schema()
        self.per_second = self._require_columns(schema, leaves)
        properties = frozenset(field.name for field in schema if is_property(field))
        self._leaves = leaves
        self._keys = [path for path in leaves if path in KEYS]
        self._columns = [path for path in leaves if is_needed(path, properties)]
        self._require_bounds(metadata, ranges.size - len(tail))
        indexed = {path: number for path, number in leaves.items() if path in INDEXED}
        with self._naming_damage("its statistics"):
            groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
            self.rows = tuple(group.num_rows for group in groups)
            self.statistics: tuple[Statistics, ...] = tuple(statistics_of(group, indexed) for group in groups)

    def keys(self, group: int) -> Iterator[Item]:
        """Yields what the items of a row group say of tile, time, place and collection; raises as `items`."""
        for batch in self._read(self._opened(group, self._keys), group, self._keys):
            with self._naming_damage(f"row group {group}"):
                found = items_of(batch)
            yield from found

    def items(self, group: int, choose: Callable[[pa.RecordBatch], pa.Array]) -> Iterator[Item]:
        """Yields items of a row group.

        The columns that tell tile, time and place are read first, and the others only where an item is chosen.

        Args:
            group: Its number.
            choose: Takes those columns of some rows, and returns a boolean for each.

        Raises:
            PermanentFault: `DAMAGED`; `CHANGED`, the file is another by now; or as `FileRanges`.
            TransientFault: As `FileRanges`.
        """
        with self._naming_damage(f"row group {group}"):
            batches = self._read(self._opened(group, self._keys), group, self._keys)
            chosen = [choose(batch) for batch in batches]
            if not any(rows.true_count for rows in chosen):
                return
            kept = self._filtered(group, chosen)
        # Who puts another object into a bucket while it is read changes at least this.
        if self._range(self._ranges.size - _TAIL_BYTES, _TAIL_BYTES) != self._end:
            raise self.changed()
        while kept:
            with self._naming_damage(f"row group {group}"):
                found = items_of(*kept.pop(0))
            yield from found

    def _filtered(self, group: int, chosen: Sequence[pa.Array]) -> list[list[pa.RecordBatch]]:
        """Returns the rows that were chosen of each batch; one field is decoded at a time, and few rows of it stay."""
        kept: list[list[pa.RecordBatch]] = [[] for _ in chosen]
        kept_bytes = 0
        for run in self._runs(group):
            file = self._opened(group, [path for field in run for path in field])
            for columns in run:
                for rows, fields, batch in zip(chosen, kept, self._read(file, group, columns), strict=True):
                    if rows.true_count:
                        fields.append(batch.filter(rows))
                        kept_bytes += fields[-1].nbytes
                if kept_bytes > _MOST_KEPT_BYTES:
                    raise self._damaged(
                        f"items of row group {group} take more than {_MOST_KEPT_BYTES >> 20} MiB. {REWRITE}"
                    )
            del file  # with its bytes, before the next ones are read
        return kept

    def _runs(self, group: int) -> Iterator[list[list[str]]]:
        """Yields fields that are read in one go."""
        said = self._metadata().row_group(group)
        run: list[list[str]] = []
        taken = 0
        for field in _fields(self._columns):
            size = sum(said.column(self._leaves[path]).total_compressed_size for path in field)
            if run and taken + size > _MOST_BLOCK_BYTES:
                yield run
                run, taken = [], 0
            run.append(field)
            taken += size
        yield run

    def close(self) -> None:
        """Closes the file."""
        _FOOTERS.forget(self)
        self._ranges.close()

    def _opened(self, group: int, columns: Sequence[str]) -> parquet.ParquetFile:
        """Reads the bytes of columns of a row group, and returns them as a file."""
        metadata = self._metadata()
        with self._naming_damage("its footer"):
            ranges = chunks_of(metadata, group, [self._leaves[path] for path in columns])
        blocks = Blocks(self._ranges.size, self._range, ranges)
        with self._naming_damage(f"row group {group}"):
            return parquet.ParquetFile(blocks, metadata=metadata, pre_buffer=False)

    def _read(
        self, file: parquet.ParquetFile, group: int, columns: Sequence[str]
    ) -> Iterator[pa.RecordBatch]:
        """Yields columns of a row group, all of its rows."""
        count = 0
        with self._naming_damage(f"row group {group}"):
            for batch in file.iter_batches(_BATCH_ROWS, [group], columns, use_threads=False):
                count += batch.num_rows
                yield batch
                del batch
                # Arrow's memory pool would keep 50 MB of what was decompressed.
                pa.default_memory_pool().release_unused()
        if count != self.rows[group]:
            raise self._damaged(
                f"row group {group} has {count:,} items, and {self.rows[group]:,} by its footer"
            )

    def changed(self) -> PermanentFault:
        """Returns the fault of a file that is another than before."""
        return PermanentFault(
            CHANGED,
            f"{self.path} is not as it was at launch. Put that back, or give the command again with another --output",
        )

    def _metadata(self) -> parquet.FileMetaData:
        return _FOOTERS.of(self, self._parse_again)

    def _parse_again(self) -> parquet.FileMetaData:
        tail = self._same_tail()
        with self._naming_damage("its footer"):
            return parse_footer(tail)

    def _digest(self, tail: bytes) -> str:
        digest = hashlib.sha256(b"%d:" % self._ranges.size)
        digest.update(tail)
        return digest.hexdigest()

    def _read_tail(self) -> bytes:
        size = self._ranges.size
        if size < len(MAGIC) + _TAIL_BYTES:
            raise self._damaged(f"it has {size} bytes")
        tail = self._ranges.read(size - _TAIL_BYTES, _TAIL_BYTES)
        if tail[4:] != MAGIC:
            raise self._damaged("it does not end as a Parquet file does, or is encrypted")
        length = int.from_bytes(tail[:4], "little")
        if length > size - _TAIL_BYTES - len(MAGIC):
            raise self._damaged("its footer is longer than the file")
        if length > _MOST_FOOTER_BYTES:
            raise self._damaged(
                f"its footer takes {length >> 20} MiB, and may take {_MOST_FOOTER_BYTES >> 20}. {REWRITE}, or write "
                "several files"
            )
        return self._ranges.read(size - _TAIL_BYTES - length, length + _TAIL_BYTES)

    def _require_columns(self, schema: pa.Schema, leaves: dict[str, int]) -> int:
        """Refuses a file without what every item has; returns what its timestamps count."""
        problem = column_problem(schema)
        if problem:
            raise self._damaged(problem)
        if not leaves.keys() & HREFS:
            raise self._damaged("its column 'assets' has none of the asset keys that are known")
        if len(leaves) > _MOST_LEAVES:
            raise self._damaged(f"it has {len(leaves):,} columns, and may have {_MOST_LEAVES:,}")
        return PER_SECOND[schema.field(TIME).type.unit]

    def _require_bounds(self, metadata: parquet.FileMetaData, end: int) -> None:
        """Refuses row groups that lie elsewhere, or would take too much memory, before any is read."""
        numbers = [self._leaves[path] for path in {*self._columns, *self._keys}]
        is_list = [metadata.schema.column(number).max_repetition_level > 0 for number in numbers]
        for group in range(metadata.num_row_groups):
            with self._naming_damage("its footer"):
                said = metadata.row_group(group)
                chunks = [said.column(number) for number in numbers]
                ranges = chunks_of(metadata, group, numbers)
            taken = sum(chunk.total_compressed_size for chunk in chunks)
            plain_bytes = sum(chunk.total_uncompressed_size for chunk in chunks)
            if said.num_rows > _MOST_ROWS or taken > _MOST_GROUP_BYTES or plain_bytes > _MOST_PLAIN_BYTES:
                raise self._damaged(
                    f"row group {group} has {said.num_rows:,} items; {taken >> 20} MiB of it would be read, "
                    f"{plain_bytes >> 20} MiB when decompressed. {REWRITE}"
                )
            if not said.num_rows:
                continue
            lies_elsewhere = any(not len(MAGIC) <= start <= stop <= end for start, stop in ranges)
            most_values = [said.num_rows * (_MOST_LINKS if each else 1) for each in is_list]
            counts = zip(chunks, most_values, strict=True)
            if lies_elsewhere or any(not said.num_rows <= chunk.num_values <= most for chunk, most in counts):
                raise self._damaged(f"row group {group} cannot be what its footer says")

    @contextlib.contextmanager
    def _naming_damage(self, part: str) -> Iterator[None]:
        """Turns what pyarrow says of a damaged file into a fault; storage that fails raises faults of its own."""
        try:
            yield
        except FAILURES as error:
            self._same_tail()
            raise self._damaged(f"{part} cannot be read: {error}") from error

    def _same_tail(self) -> bytes:
        """Reads the footer again; raises `CHANGED` where the file was replaced since it was opened."""
        try:
            tail = self._read_tail()
        except PermanentFault as fault:
            raise self.changed() from fault
        if self._digest(tail) != self.digest:
            raise self.changed()
        return tail

    def _range(self, start: int, length: int) -> bytes:
        """Reads a range of which the footer says that it is there."""
        try:
            return self._ranges.read(start, length)
        except PermanentFault:
            self._same_tail()
            raise

    def _damaged(self, why: str) -> PermanentFault:
        return PermanentFault(DAMAGED, f"{self.path} is no STAC GeoParquet that can be read: {why}")


def _fields(columns: Sequence[str]) -> list[list[str]]:
    """Groups the columns that are one field, or of one asset."""
    fields: dict[tuple[str, ...], list[str]] = {}
    for path in columns:
        names = tuple(path.split(".", 2)[: 1 + path.startswith("assets.")])
        fields.setdefault(names, []).append(path)
    return list(fields.values())
