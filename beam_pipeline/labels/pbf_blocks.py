"""Looks through the blocks of an `.osm.pbf` file before libosmium reads it.

libosmium keeps an object's tags as strings that end in NUL, one behind the other: a string that holds a NUL
makes it walk out of its memory, which kills the process. Keys, values, roles and user names all lie in the
string tables of a file's blocks, so these alone are looked at. And libosmium makes of a block what it says, however
much that is. What libosmium would read otherwise than it is read here is refused.

Source of the format: https://wiki.openstreetmap.org/wiki/PBF_Format
"""

import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from beam_pipeline.labels.pbf_order import Counts, ObjectOrder
from beam_pipeline.labels.pbf_sizes import decoded_bytes
from beam_pipeline.labels.pbf_wire import AGAIN, fields
from beam_pipeline.runtime.faults import PermanentFault

MOST_HEADER_BYTES = 64 << 10
"""Of a blob's header. Source: the format."""

MOST_BLOB_BYTES = 32 << 20
"""Of a blob, packed or not. Source: the format."""

MOST_DECODED_BYTES = 256 << 20
"""Of what libosmium makes of a block. The 8,000 objects that writers put into one take 2 to 20 MB."""

MOST_UNPACKED_BYTES = 8 << 20
"""Of all blocks of a file, and besides it `MOST_RATIO` times its size."""

MOST_RATIO = 10
"""Maps are packed to a half or a third; a byte that is repeated to a thousandth."""

_RAW, _ZLIB, _LZ4 = 1, 3, 6  # fields of a Blob
_SIZE_BYTES = 4  # before the header of a blob
_DATA = b"\x0a\x07OSMData"  # begins such a header, of all blobs but the first
_TAILS = 1 << 18, 1 << 22
"""Bytes at the end of a file in which blobs are looked for: the shorter holds several of most writers."""
_EMPTY_STRING = b"\x0a\x00"  # by custom the first of a table, as index 0 means "none"


def check_blocks(path: str | os.PathLike[str]) -> Counts:
    """Refuses a file in which a string holds a NUL, that is made to fill memory, or that is not what the format says.

    So is one refused whose objects are not in order, or of which one is in it twice.

    Args:
        path: A local `.osm.pbf` file. Its header is left to libosmium, and so are blobs that libosmium says
            itself that it cannot unpack (LZMA, Zstandard).

    Returns:
        How many objects are in it.

    Raises:
        PermanentFault: "truncated_extract", "corrupt_extract", "unsorted_extract" or "doubled_extract". It is corrupt
            also where a blob is packed with LZ4, which libosmium reads and this module does not.
    """
    name = Path(path).name
    order = ObjectOrder(name)
    left = MOST_UNPACKED_BYTES + MOST_RATIO * os.path.getsize(path)
    try:
        for block in blocks(path):
            left -= len(block)
            if left < 0:
                raise ValueError(f"it unpacks to more than {MOST_RATIO} times its size; {AGAIN}")
            if decoded_bytes(block, MOST_DECODED_BYTES) > MOST_DECODED_BYTES:
                raise ValueError(
                    f"a block takes more than {MOST_DECODED_BYTES >> 20} MiB of memory; write it anew: "
                    "osmium cat -o FILE.osm.pbf"
                )
            for table in string_tables(block):
                _check_table(table)
            order.check(block)
    except EOFError as error:
        raise PermanentFault("truncated_extract", f"{name}: {error}; {AGAIN}") from error
    except ValueError as error:
        raise PermanentFault("corrupt_extract", f"{name}: {error}") from error
    return order.counts()


def blocks(path: str | os.PathLike[str]) -> Iterator[bytes]:
    """Yields the blocks of a file, unpacked, without its header.

    Args:
        path: As for `check_blocks`.

    Raises:
        EOFError: The file breaks off.
        ValueError: It is not what the format says, or a blob is packed with LZ4.
    """
    with open(path, "rb") as file:
        for number, blob in enumerate(_blobs(file)):
            if number:
                yield from _contents(blob)


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


def _contents(blob: bytes) -> Iterator[bytes]:
    for field, value in fields(blob):
        if field == _LZ4:
            raise ValueError("it is packed with LZ4; write it anew: osmium cat -o FILE.osm.pbf")
        if field in (_RAW, _ZLIB) and isinstance(value, bytes):
            yield value if field == _RAW else _unpacked(value)


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
    place = file.read().find(_DATA, _SIZE_BYTES)
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
            blob_bytes = _blob_bytes(_read_header(file, size))
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
    while size := file.read(_SIZE_BYTES):
        yield _read(file, _blob_bytes(_read_header(file, size)), MOST_BLOB_BYTES)


def _read_header(file: BinaryIO, size: bytes) -> bytes:
    """Reads a blob's header behind its size, four bytes where the file does not break off in them."""
    return _read(file, int.from_bytes(size, "big") if len(size) == _SIZE_BYTES else -1, MOST_HEADER_BYTES)


def _blob_bytes(header: bytes) -> int:
    """Returns the size of a blob, from its header; 0 where that does not say."""
    sizes = [value for field, value in fields(header) if field == 3 and isinstance(value, int)]
    return sizes[-1] if sizes else 0


def _read(file: BinaryIO, size: int, most: int) -> bytes:
    if size < 0:
        raise EOFError("it breaks off between two blocks")
    # libosmium takes a size of 0 for the end of the file. Zeros are what a download leaves that was not ended.
    if not 0 < size <= most:
        raise ValueError(f"a block says that it has {size} bytes; {AGAIN}")
    content = file.read(size)
    if len(content) < size:
        raise EOFError("it breaks off within a block")
    return content


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


def _check_table(table: bytes) -> None:
    # Counted at once: a table has thousands of strings, and most have no other NUL than the length of the first.
    if table.count(0) == table.startswith(_EMPTY_STRING):
        return
    for field, text in fields(table):
        if field == 1 and isinstance(text, bytes) and 0 in text:
            raise ValueError(f"a key, value or role holds a NUL ({text[:40]!r}); {AGAIN}")
