"""One file of a store, opened: what it says of itself is checked, and its rows are read by row groups.

It may be damaged, or made by others: what pyarrow could not bear is refused first, as with catalogues.
"""

import contextlib
import hashlib
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import parquet

from beam_pipeline.features.footer import TileFooter, WrittenFile
from beam_pipeline.features.rows import corners_of
from beam_pipeline.features.schema import CORNERS, FOOTER_KEY, GEO_KEY, SCHEMA, SCHEMA_VERSION
from beam_pipeline.labels.chip_boxes import Boxes
from beam_pipeline.runtime.faults import PermanentFault
from beam_pipeline.runtime.parquet_footer import FAILURES, MAGIC, parse_footer, require_parsable
from beam_pipeline.runtime.parquet_statistics import statistics_of

DAMAGED = "damaged_store"
"""Reason of the faults of a file that is truncated, damaged or none of a store."""

OTHER_SCHEMA = "other_store_schema"
"""Reason of the faults of a file that another version wrote."""

_TAIL_BYTES = 8  # the length of the footer, and the magic
_MOST_FOOTER_BYTES = 32 << 20
_MOST_ROWS = 1 << 16
_MOST_GROUP_BYTES = 1 << 30
"""Most bytes of a row group when it is decompressed. Its rows are 8192, of 10,000 nodes each at most."""

_COPY_BYTES = 1 << 20

_ADVICE = "Delete it and give the command again"
_TURN = 360.0


class StoredTile:
    """A piece or a tile file.

    Args:
        file: Open for reading, for as long as this is used.
        name: Its path, for messages.
        known: `digest` of the file as it was written; where it is not known, or is another one, the footer is parsed in
            a process of its own first, which takes a third of a second.

    Attributes:
        digest: SHA-256 of the end of the file, which describes the rest, and holds the hash of that.
        footer: What it says of itself.

    Raises:
        PermanentFault: `DAMAGED` or `OTHER_SCHEMA`.
    """

    def __init__(self, file: BinaryIO, name: str, *, known: str = "") -> None:
        self._name = name
        try:
            tail = _tail(file)
        except ValueError as error:
            raise self._damaged(str(error)) from error
        self.digest = hashlib.sha256(tail).hexdigest()
        with self._naming_damage("its footer"):
            if self.digest != known:
                require_parsable(tail)
            metadata = parse_footer(tail)
            self.footer = self._own_footer(metadata)
            self._require_columns(metadata.schema.to_arrow_schema())
            self._require_bounds(metadata, file.seek(0, 2) - len(tail))
            self._metadata = metadata
            self._file = parquet.ParquetFile(
                file, metadata=metadata, pre_buffer=False, page_checksum_verification=True
            )

    @property
    def geo(self) -> str:
        """The description of its geometries that GeoParquet asks for; "" where there is none."""
        said: bytes = (self._metadata.metadata or {}).get(GEO_KEY.encode(), b"")
        return said.decode(errors="replace")

    def rows(self, boxes: Boxes | None = None) -> Iterator[pa.RecordBatch]:
        """Yields rows.

        Args:
            boxes: (N, 4) west, south, east and north in degrees; those beyond 180 mean the other side. None for all
                rows.

        Yields:
            The rows of a row group whose bbox meets a box, in order of the file; row groups without any are not read.

        Raises:
            PermanentFault: `DAMAGED`.
        """
        wanted = None if boxes is None else _BoxFilter(boxes)
        for number in range(self._metadata.num_row_groups):
            with self._naming_damage(f"row group {number}"):
                if wanted and not wanted.may_meet(self._box_of(number)):
                    continue
                table = self._file.read_row_group(number, SCHEMA.names, use_threads=False).combine_chunks()
                if table.num_rows != self._metadata.row_group(number).num_rows:
                    raise ValueError(f"it has {table.num_rows:,} rows")
                # The names and nullability of inner fields are Parquet's.
                batches = table.cast(SCHEMA).to_batches()
            for batch in batches:
                yield batch if wanted is None else batch.filter(wanted.meets(corners_of(batch)))

    def _box_of(self, number: int) -> Boxes:
        """Returns (1, 4) the box of a row group; endless where it does not say."""
        leaves = {self._metadata.schema.column(i).path: i for i in range(self._metadata.num_columns)}
        wanted = {corner: leaves[f"bbox.{corner}"] for corner in CORNERS}
        said = statistics_of(self._metadata.row_group(number), wanted)
        if len(said) < len(CORNERS):
            return np.full((1, 4), np.inf)
        xmin, ymin, xmax, ymax = (said[corner] for corner in CORNERS)
        return np.array([[xmin.low, ymin.low, xmax.high, ymax.high]], np.float64)

    def _own_footer(self, metadata: parquet.FileMetaData) -> TileFooter:
        text = (metadata.metadata or {}).get(FOOTER_KEY.encode())
        if text is None:
            raise self._damaged("it is no file of a store: its footer does not say what it holds")
        footer = TileFooter.from_json(text)
        if footer.schema_version != SCHEMA_VERSION:
            raise PermanentFault(
                OTHER_SCHEMA,
                f"{self._name} has schema {footer.schema_version}, and this version reads {SCHEMA_VERSION}. {_ADVICE}",
            )
        if footer.rows != metadata.num_rows:
            raise self._damaged(
                f"it has {metadata.num_rows:,} rows, and its footer speaks of {footer.rows:,}"
            )
        return footer

    def _require_columns(self, schema: pa.Schema) -> None:
        for field in SCHEMA:
            position = schema.get_field_index(field.name)
            given = schema.field(position).type if position >= 0 else None
            if given != field.type:
                raise self._damaged(
                    f"its column {field.name} is {given or 'missing'}, and should be {field.type}"
                )

    def _require_bounds(self, metadata: parquet.FileMetaData, end: int) -> None:
        """Refuses row groups that lie elsewhere, or would take too much memory, before any is read."""
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            chunks = [group.column(i) for i in range(group.num_columns)]
            plain = sum(chunk.total_uncompressed_size for chunk in chunks)
            if group.num_rows > _MOST_ROWS or plain > _MOST_GROUP_BYTES:
                raise self._damaged(
                    f"row group {number} would take {group.num_rows:,} rows and {plain:,} bytes"
                )
            starts = [(chunk.dictionary_page_offset or chunk.data_page_offset) for chunk in chunks]
            sizes = [chunk.total_compressed_size for chunk in chunks]
            lies_elsewhere = any(
                start < len(MAGIC) or size < 0 or start + size > end
                for start, size in zip(starts, sizes, strict=True)
            )
            if lies_elsewhere or any(chunk.num_values < group.num_rows for chunk in chunks):
                raise self._damaged(f"row group {number} cannot be what the footer says")

    @contextlib.contextmanager
    def _naming_damage(self, part: str) -> Iterator[None]:
        try:
            yield
        except FAILURES as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # of the disk, not of the file
            raise self._damaged(f"{part} cannot be read: {error}") from error

    def _damaged(self, why: str) -> PermanentFault:
        return PermanentFault(DAMAGED, f"{self._name} cannot be used: {why}. {_ADVICE}")


def describe(file: BinaryIO) -> WrittenFile:
    """Returns what a store notes of a file that was just written.

    Args:
        file: Open for reading.
    """
    tail = _tail(file)
    rows = parse_footer(tail).num_rows
    return WrittenFile(rows=rows, bytes=file.seek(0, 2), digest=hashlib.sha256(tail).hexdigest())


def data_sha256(file: BinaryIO) -> str:
    """Returns the SHA-256 of all of a file before its footer. Page checksums tell of accidents alone.

    Args:
        file: Open for reading, a file that `StoredTile` accepts.
    """
    left = file.seek(0, 2) - len(_tail(file))
    sha256 = hashlib.sha256()
    file.seek(0)
    while left and (chunk := file.read(min(left, _COPY_BYTES))):
        sha256.update(chunk)
        left -= len(chunk)
    return sha256.hexdigest()


def _tail(file: BinaryIO) -> bytes:
    """Returns the end of a file: its footer, the length of that, and `MAGIC`.

    Raises:
        ValueError: It is no Parquet file, or was cut off.
    """
    size = file.seek(0, 2)
    if size < len(MAGIC) + _TAIL_BYTES:
        raise ValueError(f"it has {size} bytes")
    file.seek(size - _TAIL_BYTES)
    end = file.read(_TAIL_BYTES)
    length = int.from_bytes(end[:4], "little")
    if end[4:] != MAGIC:
        raise ValueError("it does not end as a Parquet file does: it was cut off, or is another kind of file")
    if length > min(size - _TAIL_BYTES - len(MAGIC), _MOST_FOOTER_BYTES):
        raise ValueError(f"its footer would take {length:,} bytes")
    file.seek(size - _TAIL_BYTES - length)
    return file.read(length + _TAIL_BYTES)


class _BoxFilter:
    """Tells which bboxes meet one of many boxes."""

    def __init__(self, boxes: Boxes) -> None:
        turns = [boxes + turn * np.array([1.0, 0.0, 1.0, 0.0]) for turn in (0.0, -_TURN, _TURN)]
        self._boxes = np.concatenate(turns)

    def may_meet(self, box: Boxes) -> bool:
        """Tells whether a box, (1, 4), meets one; always where it is endless."""
        return not np.isfinite(box).all() or bool(_meet(self._boxes, box[0]).any())

    def meets(self, corners: Boxes) -> pa.BooleanArray:
        """Returns N booleans for (N, 4) bboxes."""
        if not len(corners):
            return pa.array([], pa.bool_())
        # Boxes are few: to compare each with all rows takes a tenth of the time of a tree, which wants objects.
        around = np.concatenate([np.fmin.reduce(corners[:, :2]), np.fmax.reduce(corners[:, 2:])])
        found = np.zeros(len(corners), np.bool_)
        by_side = np.ascontiguousarray(corners.T).T
        for box in self._boxes[_meet(self._boxes, around)]:
            found |= _meet(by_side, box)
        return pa.array(found)


def _meet(boxes: Boxes, box: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Tells which of (N, 4) boxes meet one, in an edge too; those that are no numbers meet none."""
    west, south, east, north = box
    meet: npt.NDArray[np.bool_] = (
        (boxes[:, 0] <= east) & (boxes[:, 2] >= west) & (boxes[:, 1] <= north) & (boxes[:, 3] >= south)
    )
    return meet
