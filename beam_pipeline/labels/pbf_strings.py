"""Looks through the strings of an `.osm.pbf` file before libosmium reads it.

libosmium keeps an object's tags as strings that end in NUL, one behind the other: a string that holds a NUL
makes it walk out of its memory, which kills the process. Keys, values, roles and user names all lie in the
string tables of a file's blocks, so these alone are looked at. What libosmium would read otherwise than it is
read here is refused.

Source of the format: https://wiki.openstreetmap.org/wiki/PBF_Format
"""

import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from beam_pipeline.runtime.faults import PermanentFault

MOST_HEADER_BYTES = 64 << 10
"""Of a blob's header. Source: the format."""

MOST_BLOB_BYTES = 32 << 20
"""Of a blob, packed or not. Source: the format."""

_RAW, _ZLIB, _LZ4 = 1, 3, 6  # fields of a Blob
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types
_EMPTY_STRING = b"\x0a\x00"  # by custom the first of a table, as index 0 means "none"
_AGAIN = "download or make it again"


def check_strings(path: str | os.PathLike[str]) -> None:
    """Refuses a file in which a string holds a NUL, or that is not what the format says.

    Args:
        path: A local `.osm.pbf` file. Its header is left to libosmium, and so are blobs that libosmium says
            itself that it cannot unpack (LZMA, Zstandard).

    Raises:
        PermanentFault: "truncated_extract" or "corrupt_extract". The latter also where a blob is packed with
            LZ4, which libosmium reads and this module does not.
    """
    name = Path(path).name
    try:
        for table in string_tables(path):
            _check_table(table)
    except EOFError as error:
        raise PermanentFault("truncated_extract", f"{name}: {error}; {_AGAIN}") from error
    except ValueError as error:
        raise PermanentFault("corrupt_extract", f"{name}: {error}") from error


def string_tables(path: str | os.PathLike[str]) -> Iterator[bytes]:
    """Yields the string tables of a file, each a protobuf message whose fields 1 are the strings.

    Args:
        path: As for `check_strings`.

    Raises:
        EOFError: The file breaks off.
        ValueError: It is not what the format says, or a blob is packed with LZ4.
    """
    with open(path, "rb") as file:
        for number, blob in enumerate(_blobs(file)):
            if number:
                yield from _tables(blob)


def breaks_off(path: str | os.PathLike[str]) -> bool:
    """Tells whether a file ends within a block; only the blocks' own headers are read.

    Args:
        path: A local `.osm.pbf` file whose header libosmium has read. A file that is garbled does not break off:
            `check_strings` finds it.
    """
    end = os.path.getsize(path)
    with open(path, "rb") as file:
        try:
            while size := file.read(4):
                blob_bytes = _blob_bytes(_read_header(file, size))
                if not 0 < blob_bytes <= MOST_BLOB_BYTES:
                    return False
                if file.seek(blob_bytes, os.SEEK_CUR) > end:
                    return True
        except EOFError:
            return True
        except ValueError:
            return False
    return False


def begins_with_lz4(path: str | os.PathLike[str]) -> bool:
    """Returns whether the first blob of a file, its header, is packed with LZ4; the others then are too.

    Args:
        path: A local `.osm.pbf` file whose header libosmium has read.
    """
    with open(path, "rb") as file:
        return any(field == _LZ4 for field, _ in _fields(next(_blobs(file))))


def _blobs(file: BinaryIO) -> Iterator[bytes]:
    """Yields the blobs of a file as they are, packed."""
    while size := file.read(4):
        yield _read(file, _blob_bytes(_read_header(file, size)), MOST_BLOB_BYTES)


def _read_header(file: BinaryIO, size: bytes) -> bytes:
    """Reads a blob's header behind its size, four bytes where the file does not break off in them."""
    return _read(file, int.from_bytes(size, "big") if len(size) == 4 else -1, MOST_HEADER_BYTES)


def _blob_bytes(header: bytes) -> int:
    """Returns the size of a blob, from its header; 0 where that does not say."""
    sizes = [value for field, value in _fields(header) if field == 3 and isinstance(value, int)]
    return sizes[-1] if sizes else 0


def _read(file: BinaryIO, size: int, most: int) -> bytes:
    if size < 0:
        raise EOFError("it breaks off between two blocks")
    # libosmium takes a size of 0 for the end of the file. Zeros are what a download leaves that was not ended.
    if not 0 < size <= most:
        raise ValueError(f"a block says that it has {size} bytes; {_AGAIN}")
    content = file.read(size)
    if len(content) < size:
        raise EOFError("it breaks off within a block")
    return content


def _tables(blob: bytes) -> Iterator[bytes]:
    for field, value in _fields(blob):
        if field == _LZ4:
            raise ValueError("it is packed with LZ4; write it anew: osmium cat -o FILE.osm.pbf")
        if field in (_RAW, _ZLIB) and isinstance(value, bytes):
            for inner, table in _fields(value if field == _RAW else _unpacked(value)):
                if inner == 1 and isinstance(table, bytes):
                    yield table


def _unpacked(packed: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(packed, MOST_BLOB_BYTES + 1)
    except zlib.error as error:
        raise ValueError(f"a block cannot be unpacked ({error}); {_AGAIN}") from error
    if len(content) > MOST_BLOB_BYTES:
        raise ValueError(f"a block unpacks to more than {MOST_BLOB_BYTES} bytes; {_AGAIN}")
    if not unpacker.eof:
        raise ValueError(f"a block cannot be unpacked (it breaks off); {_AGAIN}")
    return content


def _check_table(table: bytes) -> None:
    # Counted at once: a table has thousands of strings, and most have no other NUL than the length of the first.
    if table.count(0) == table.startswith(_EMPTY_STRING):
        return
    for field, text in _fields(table):
        if field == 1 and isinstance(text, bytes) and 0 in text:
            raise ValueError(f"a key, value or role holds a NUL ({text[:40]!r}); {_AGAIN}")


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yields (number, value) of the fields of a protobuf message; fixed-width values as bytes."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        # libosmium cuts tags to 32 bits, and so would take a larger one for another.
        if not 8 <= tag < 1 << 32:
            raise ValueError(f"a block is garbled; {_AGAIN}")
        wire = tag & 7
        if wire == _VARINT:
            value, place = _varint(message, place)
            yield tag >> 3, value
            continue
        size = {_FIXED64: 8, _FIXED32: 4}.get(wire, -1)
        if wire == _BYTES:
            size, place = _varint(message, place)
        if not 0 <= size <= len(message) - place:
            raise ValueError(f"a block is garbled; {_AGAIN}")
        yield tag >> 3, message[place : place + size]
        place += size


def _varint(message: bytes, place: int) -> tuple[int, int]:
    """Returns the number at a place, and the place behind it."""
    number = 0
    for shift, byte in zip(range(0, 70, 7), message[place : place + 10], strict=False):
        number |= (byte & 127) << shift
        place += 1
        if byte < 128:
            return number, place
    raise ValueError(f"a block is garbled; {_AGAIN}")
