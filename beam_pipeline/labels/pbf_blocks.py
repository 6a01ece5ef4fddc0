"""Reads the blobs and blocks of an `.osm.pbf` file.

Source of the format: https://wiki.openstreetmap.org/wiki/PBF_Format
"""

import dataclasses
import os
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from beam_pipeline.labels.pbf_wire import AGAIN, fields

MOST_HEADER_BYTES = 64 << 10
"""Of a blob's header. Source: the format."""

MOST_BLOB_BYTES = 32 << 20
"""Of a blob, packed or not. Source: the format."""

WRITE_ANEW = "write it anew: osmium cat -o FILE.osm.pbf"
"""The advice on a file that is packed otherwise than usual."""

_RAW, _ZLIB, _LZ4 = 1, 3, 6  # fields of a Blob,
_OTHERS = (4, 5, 7)  # and LZMA, bzip2 and Zstandard
_TYPE, _SIZE = 1, 3  # of a blob's header
_DATA = b"OSMData"  # the type of all blobs but the first
_DATA_HEADER = b"\x0a\x07" + _DATA  # begins the header of such a blob
_SIZE_BYTES = 4  # before the header of a blob
_TAILS = 1 << 18, 1 << 22
"""Bytes at the end of a file in which blobs are looked for: the shorter holds several of most writers."""


@dataclasses.dataclass(frozen=True)
class BlobPlace:
    """Where a blob lies in a file.

    Attributes:
        start: Where its header's size begins.
        blob: Where the blob begins.
        end: Where it ends.
    """

    start: int
    blob: int
    end: int


def blocks(path: str | os.PathLike[str]) -> Iterator[bytes]:
    """Yields the blocks of a file, unpacked, without its header.

    Args:
        path: A local `.osm.pbf` file.

    Raises:
        EOFError: The file breaks off.
        ValueError: It is not what the format says, or a blob is packed otherwise than with zlib.
    """
    with open(path, "rb") as file:
        for number, blob in enumerate(_blobs(file)):
            if number:
                yield from _block_contents(blob)


def header_block(path: str | os.PathLike[str]) -> bytes:
    """Returns a file's header, unpacked; nothing of one that libosmium alone can unpack.

    Args:
        path: A local `.osm.pbf` file whose header libosmium has read.

    Raises:
        EOFError: The file breaks off.
        ValueError: It is not what the format says, or packed with LZ4.
    """
    with open(path, "rb") as file:
        return b"".join(_contents(next(_blobs(file), b"")))


def blob_places(path: str | os.PathLike[str]) -> list[BlobPlace]:
    """Finds the blobs of a file, its header first; only their own headers are read.

    Args:
        path: A local `.osm.pbf` file.

    Raises:
        EOFError: The file breaks off.
        ValueError: It is not what the format says.
    """
    found: list[BlobPlace] = []
    file_bytes = os.path.getsize(path)
    with open(path, "rb") as file:
        place = 0
        while size := file.read(_SIZE_BYTES):
            blob_bytes = _blob_bytes(_read_header(file, size), is_first=not found)
            _require_size(blob_bytes, MOST_BLOB_BYTES)
            blob = file.tell()
            if blob + blob_bytes > file_bytes:
                raise EOFError("it breaks off within a block")
            found.append(BlobPlace(place, blob, blob + blob_bytes))
            place = file.seek(blob_bytes, os.SEEK_CUR)
    return found


def block_at(file: BinaryIO, place: BlobPlace) -> bytes:
    """Returns the block of a blob, unpacked; b"" where it holds none.

    Args:
        file: The file.
        place: Where the blob lies.

    Raises:
        EOFError: The file breaks off.
        ValueError: As for `blocks`.
    """
    file.seek(place.blob)
    return b"".join(_block_contents(_read(file, place.end - place.blob, MOST_BLOB_BYTES)))


def string_tables(block: bytes) -> Iterator[bytes]:
    """Yields the string tables of a block, each a protobuf message whose fields 1 are the strings."""
    for field, table in fields(block):
        if field == 1 and isinstance(table, bytes):
            yield table


def breaks_off(path: str | os.PathLike[str]) -> bool:
    """Tells whether a file ends within a block; only the headers of blocks are looked at, of most files the last few.

    Args:
        path: A local `.osm.pbf` file whose header libosmium has read. A file that is garbled does not break off:
            `check_blocks` finds it.
    """
    end = os.path.getsize(path)
    with open(path, "rb") as file:
        # A file has a block about every 50 kB. Those in its last bytes say the same as all: few reads, not millions.
        if any(_tail_is_whole(file, end - tail) for tail in _TAILS):
            return False
        file.seek(0)
        try:
            return not _reaches_end(file)
        except ValueError:
            return False


def _tail_is_whole(file: BinaryIO, start: int) -> bool:
    """Tells whether blobs from a place in a file on follow each other up to its end; False where none is found."""
    start = max(start, 0)
    file.seek(start)
    place = file.read().find(_DATA_HEADER, _SIZE_BYTES)
    if place < 0:
        return False
    file.seek(start + place - _SIZE_BYTES)
    try:
        return _reaches_end(file)
    except ValueError:  # what was found is in the middle of a blob
        return False


def _reaches_end(file: BinaryIO) -> bool:
    """Tells whether blobs follow each other up to a file's end; False where the last one breaks off.

    Raises:
        ValueError: There is something else between.
    """
    end = os.fstat(file.fileno()).st_size
    try:
        while size := file.read(_SIZE_BYTES):
            blob_bytes = _blob_bytes(_read_header(file, size), is_first=True)
            if not 0 < blob_bytes <= MOST_BLOB_BYTES:
                raise ValueError(f"a block says that it has {blob_bytes} bytes; {AGAIN}")
            if file.seek(blob_bytes, os.SEEK_CUR) > end:
                return False
    except EOFError:
        return False
    return True


def begins_with_lz4(path: str | os.PathLike[str]) -> bool:
    """Returns whether the first blob of a file, its header, is packed with LZ4; the others then are too.

    Args:
        path: A local `.osm.pbf` file whose header libosmium has read.
    """
    with open(path, "rb") as file:
        return any(field == _LZ4 for field, _ in fields(next(_blobs(file))))


def _blobs(file: BinaryIO) -> Iterator[bytes]:
    """Yields the blobs of a file as they are, packed."""
    is_first = True
    while size := file.read(_SIZE_BYTES):
        yield _read(file, _blob_bytes(_read_header(file, size), is_first=is_first), MOST_BLOB_BYTES)
        is_first = False


def _block_contents(blob: bytes) -> Iterator[bytes]:
    """Yields what is packed in a blob that is no header.

    Raises:
        ValueError: Nothing is, or otherwise than with zlib.
    """
    holds_data = False
    if any(field in _OTHERS for field, _ in fields(blob)):
        raise ValueError(f"a block is packed in a way that is not supported; {WRITE_ANEW}")
    for content in _contents(blob):
        holds_data = True
        yield content
    if not holds_data:
        raise ValueError(f"a block holds no data; {AGAIN}")


def _contents(blob: bytes) -> Iterator[bytes]:
    for field, value in fields(blob):
        if field == _LZ4:
            raise ValueError(f"it is packed with LZ4; {WRITE_ANEW}")
        if field in (_RAW, _ZLIB) and isinstance(value, bytes):
            yield value if field == _RAW else _unpacked(value)


def _read_header(file: BinaryIO, size: bytes) -> bytes:
    """Reads a blob's header behind its size, four bytes where the file does not break off in them."""
    return _read(file, int.from_bytes(size, "big") if len(size) == _SIZE_BYTES else -1, MOST_HEADER_BYTES)


def _blob_bytes(header: bytes, *, is_first: bool) -> int:
    """Returns the size of a blob, from its header; 0 where that does not say."""
    said = dict(fields(header))
    if not is_first and said.get(_TYPE) != _DATA:
        raise ValueError(f"a block is not of type {_DATA.decode()}; {AGAIN}")
    size = said.get(_SIZE, 0)
    return size if isinstance(size, int) else 0


def _read(file: BinaryIO, size: int, most: int) -> bytes:
    _require_size(size, most)
    content = file.read(size)
    if len(content) < size:
        raise EOFError("it breaks off within a block")
    return content


def _require_size(size: int, most: int) -> None:
    if size < 0:
        raise EOFError("it breaks off between two blocks")
    # libosmium takes a size of 0 for the end of the file. Zeros are what a download leaves that was not ended.
    if not 0 < size <= most:
        raise ValueError(f"a block says that it has {size} bytes; {AGAIN}")


def _unpacked(packed: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(packed, MOST_BLOB_BYTES + 1)
    except zlib.error as error:
        raise ValueError(f"a block cannot be unpacked ({error}); {AGAIN}") from error
    if len(content) > MOST_BLOB_BYTES:
        raise ValueError(f"a block unpacks to more than {MOST_BLOB_BYTES} bytes; {AGAIN}")
    if not unpacker.eof:
        raise ValueError(f"a block cannot be unpacked (it breaks off); {AGAIN}")
    return content
