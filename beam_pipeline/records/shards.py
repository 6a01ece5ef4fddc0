"""TFRecord shards: names, framing, and the commit by renaming.

A unit of work writes its shard aside, then its summary, then renames the shard: the rename is the commit. A
shard under its own name is therefore whole and has its summary.

Source of the framing: tensorflow/core/lib/io/record_writer.h.
"""

import hashlib
import io
import re
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple, Protocol

import google_crc32c

from beam_pipeline.cells.cell import SPLITS, Split
from beam_pipeline.runtime.faults import PermanentFault
from beam_pipeline.runtime.files import Files, join

DATASET_NAME = "opensentinelmap"
SUMMARIES_FOLDER = "summaries"
SUMMARY_SUFFIX = ".summary.json"

_SHARD_NAME = re.compile(rf"{DATASET_NAME}-({'|'.join(SPLITS)})\.tfrecord-([0-9]{{5,9}})-of-([0-9]{{5,9}})\Z")
_LENGTH = struct.Struct("<Q")
_CRC = struct.Struct("<I")
_HEAD_BYTES = _LENGTH.size + _CRC.size

_PIECE_BYTES = 1 << 20

MOST_RECORD_BYTES = 1 << 24
"""Of an example, whose pixels have 1 MB unpacked. What is longer is refused before it is read."""


def shard_name(split: Split, index: int, count: int) -> str:
    """Returns a shard's file name, e.g. "opensentinelmap-training.tfrecord-00003-of-00012"."""
    return f"{DATASET_NAME}-{split}.tfrecord-{index:05d}-of-{count:05d}"


def parse_shard_name(name: object) -> tuple[Split, int, int]:
    """Returns (split, index, count) of a shard's file name.

    What passes holds no path: a foreign dataset's names may be joined to its folder once they were parsed.

    Raises:
        ValueError: It is no shard's name.
    """
    match = _SHARD_NAME.match(name) if isinstance(name, str) else None
    parsed = (SPLITS[SPLITS.index(match[1])], int(match[2]), int(match[3])) if match is not None else None
    if parsed is None or shard_name(*parsed) != name:  # one name a shard: no zeros beyond the five digits
        raise ValueError(f'A shard is named like "{shard_name("training", 3, 12)}". Received: {name!r}')
    return parsed


def summary_path(output: str, name: str) -> str:
    """Returns the path of a unit's summary."""
    return join(output, SUMMARIES_FOLDER, f"{name}{SUMMARY_SUFFIX}")


def frame(payload: bytes) -> bytes:
    """Returns a TFRecord: length, CRC of the length, payload, CRC of the payload."""
    length = _LENGTH.pack(len(payload))
    return b"".join((length, _CRC.pack(_masked_crc(length)), payload, _CRC.pack(_masked_crc(payload))))


def read_shard(files: Files, path: str) -> Iterator[bytes]:
    """Reads a shard's payloads one by one, each checked against its CRC.

    Args:
        files: The file system.
        path: The shard.

    Yields:
        The serialised examples, in order.

    Raises:
        PermanentFault: "corrupt_shard" (names the record and the byte) or "not_found".
    """
    with files.open(path) as file:
        yield from parse_shard(file, path)


class Readable(Protocol):
    """A file that a shard is read from."""

    def read(self, size: int, /) -> bytes:
        """Returns so many bytes, fewer only at the end."""


class HashedFile:
    """A file of which is known how much was read of it, and the hash of that.

    Args:
        file: Open for reading, at its beginning.

    Attributes:
        sha256: Of what was read.
        num_bytes: How much that is.
    """

    def __init__(self, file: Readable) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()
        self.num_bytes = 0

    def read(self, size: int, /) -> bytes:
        """Reads so many bytes, fewer only where the file ends."""
        piece = self._file.read(size)
        self.sha256.update(piece)
        self.num_bytes += len(piece)
        return piece

    def read_to(self, end: int) -> None:
        """Reads on until so many bytes were read in all, or the file ends."""
        while self.num_bytes < end and self.read(min(_PIECE_BYTES, end - self.num_bytes)):
            pass


class Place(NamedTuple):
    """Where in a shard a record lies.

    Attributes:
        record: Its number.
        start: Byte at which it begins, with its head.
        payload: Byte at which its payload begins.
        length: Bytes of its payload.
    """

    record: int
    start: int
    payload: int
    length: int


def parse_shard(file: Readable, name: str, record: int = 0, start: int = 0) -> Iterator[bytes]:
    """Splits a shard into payloads, as `read_shard`.

    Args:
        file: Reads the shard from where a record begins.
        name: Its name, for messages.
        record: The number of that record, for messages.
        start: Byte at which that record begins, for messages.

    Yields:
        The serialised examples, in order.

    Raises:
        PermanentFault: "corrupt_shard"; names the record and the byte.
    """
    while head := file.read(_HEAD_BYTES):
        length = _length(head, name, record, start)
        payload = file.read(length)
        crc = file.read(_CRC.size)
        got = len(payload) + len(crc)
        if got < length + _CRC.size:
            raise _fault(name, record, start, f"is cut off: {got} of {length + _CRC.size} bytes")
        if _CRC.unpack(crc)[0] != _masked_crc(payload):
            raise _fault(name, record, start, "has a wrong CRC of its payload")
        yield payload
        start += _HEAD_BYTES + got
        record += 1


def record_places(file: BinaryIO, name: str) -> Iterator[Place]:
    """Finds the records of a shard by their heads alone; payloads are not read.

    Args:
        file: The shard, in which ranges can be read. Whoever takes the places may move in it meanwhile.
        name: Its name, for messages.

    Yields:
        The places, in order.

    Raises:
        PermanentFault: "corrupt_shard"; names the record and the byte.
    """
    end = file.seek(0, io.SEEK_END)
    record = start = 0
    while start < end:
        file.seek(start)
        length = _length(file.read(_HEAD_BYTES), name, record, start)
        left = end - start - _HEAD_BYTES
        if left < length + _CRC.size:
            raise _fault(name, record, start, f"is cut off: {left} of {length + _CRC.size} bytes")
        yield Place(record, start, start + _HEAD_BYTES, length)
        start += _HEAD_BYTES + length + _CRC.size
        record += 1


def _length(head: bytes, name: str, record: int, start: int) -> int:
    """Returns the length of a record's payload by its head."""
    if len(head) < _HEAD_BYTES:
        raise _fault(name, record, start, f"is cut off in its head: {len(head)} of {_HEAD_BYTES} bytes")
    (length,) = _LENGTH.unpack_from(head)
    if _CRC.unpack_from(head, _LENGTH.size)[0] != _masked_crc(head[: _LENGTH.size]):
        raise _fault(name, record, start, "has a wrong CRC of its length")
    if length > MOST_RECORD_BYTES:
        more = f"has {length:,} bytes, and an example has no more than {MOST_RECORD_BYTES:,}"
        raise _fault(name, record, start, more)
    return int(length)


def _fault(name: str, record: int, start: int, what: str) -> PermanentFault:
    return PermanentFault("corrupt_shard", f"{name}: record {record}, at byte {start}, {what}")


def _masked_crc(data: bytes) -> int:
    crc: int = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
