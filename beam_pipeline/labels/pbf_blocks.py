"""Reads the blocks of an `.osm.pbf` file, and refuses what no program may be given.

A file comes from strangers. libosmium, which assembles areas, makes of a block what it says, however much that is, and
keeps tags as strings that end in NUL: a string that holds a NUL makes it walk out of its memory, which kills the
process. So blocks are looked at before anybody uses them. What libosmium would read otherwise than it is read here is
refused.

Source of the format: https://wiki.openstreetmap.org/wiki/PBF_Format
"""

import contextlib
import dataclasses
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from beam_pipeline.labels.pbf_order import ObjectOrder
from beam_pipeline.labels.pbf_sizes import decoded_bytes
from beam_pipeline.labels.pbf_wire import AGAIN, fields, texts_of
from beam_pipeline.runtime.faults import PermanentFault

MOST_HEADER_BYTES = 64 << 10
"""Of a blob's header. Source: the format."""

MOST_BLOB_BYTES = 32 << 20
"""Of a blob, packed or not. Source: the format."""

MOST_DECODED_BYTES = 256 << 20
"""Of what is made of a block. The 8,000 objects that writers put into one take 2 to 20 MB."""

MOST_UNPACKED_BYTES = 8 << 20
"""Of all blocks of a file, and besides it `MOST_RATIO` times its size."""

MOST_RATIO = 10
"""Maps are packed to a half or a third; a byte that is repeated to a thousandth."""

_RAW, _ZLIB, _LZ4 = 1, 3, 6  # fields of a Blob,
_OTHERS = (4, 5, 7)  # and LZMA, bzip2 and Zstandard
_TYPE, _SIZE = 1, 3  # of a blob's header
_DATA = b"OSMData"
_CAT = "write it anew: osmium cat -o FILE.osm.pbf"


@dataclasses.dataclass(frozen=True)
class Block:
    """A block that has been looked at.

    Attributes:
        content: The block, unpacked.
        texts: Those of its string table; no one holds a NUL.
    """

    content: bytes
    texts: list[bytes]


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


def check_blocks(path: str | os.PathLike[str]) -> None:
    """Refuses a file in which a string holds a NUL, that is made to fill memory, or that is not what the format says.

    So is one refused whose objects are not in order, or of which one is in it twice.

    Args:
        path: A local `.osm.pbf` file. Its header is left to libosmium.

    Raises:
        PermanentFault: "truncated_extract", "corrupt_extract", "unsorted_extract" or "doubled_extract". It is corrupt
            also where a blob is packed otherwise than with zlib.
    """
    name = Path(path).name
    order = ObjectOrder(name)
    with naming_damage(name):
        for block in checked_blocks(path):
            order.check(block.content)


@contextlib.contextmanager
def naming_damage(name: str) -> Iterator[None]:
    """Makes faults of what is raised about a damaged file.

    Args:
        name: Of the file, for messages.

    Raises:
        PermanentFault: "truncated_extract" or "corrupt_extract".
    """
    try:
        yield
    except EOFError as error:
        raise PermanentFault("truncated_extract", f"{name}: {error}; {AGAIN}") from error
    except UnicodeDecodeError as error:
        raise PermanentFault("corrupt_extract", f"{name}: a text is not in UTF-8; {AGAIN}") from error
    except ValueError as error:
        raise PermanentFault("corrupt_extract", f"{name}: {error}") from error


def checked_blocks(path: str | os.PathLike[str]) -> Iterator[Block]:
    """Yields the blocks of a file, unpacked, without its header, each when it has been looked at.

    Args:
        path: As for `check_blocks`. The order of objects is not looked at.

    Raises:
        EOFError: The file breaks off.
        ValueError: It is not what the format says, or one of its blocks is to be refused.
    """
    unpacked_bytes = 0
    for block in blocks(path):
        unpacked_bytes += len(block)
        require_ratio(path, unpacked_bytes)
        yield check_block(block)


def require_ratio(path: str | os.PathLike[str], unpacked_bytes: int) -> None:
    """Refuses a file that is made to fill memory, or to take time without end.

    Args:
        path: The file.
        unpacked_bytes: Of some of its blocks together.

    Raises:
        ValueError: It is refused.
    """
    if unpacked_bytes > MOST_UNPACKED_BYTES + MOST_RATIO * os.path.getsize(path):
        raise ValueError(f"it unpacks to more than {MOST_RATIO} times its size; {AGAIN}")


def check_block(content: bytes) -> Block:
    """Refuses a block that takes too much memory, or in which a string holds a NUL.

    Args:
        content: The block, unpacked.

    Raises:
        ValueError: It is refused.
    """
    texts: list[bytes] = []
    for table in string_tables(content):
        of_table = texts_of(table)
        # Counted at once: most have no other NULs than the lengths of empty texts.
        if table.count(0) != of_table.count(b""):
            _check_texts(of_table)
        texts += of_table
    if decoded_bytes(content, texts, MOST_DECODED_BYTES) > MOST_DECODED_BYTES:
        raise ValueError(f"a block takes more than {MOST_DECODED_BYTES >> 20} MiB of memory; {_CAT}")
    return Block(content, texts)


def blocks(path: str | os.PathLike[str]) -> Iterator[bytes]:
    """Yields the blocks of a file, unpacked, without its header.

    Args:
        path: As for `check_blocks`.

    Raises:
        EOFError: The file breaks off.
        ValueError: It is not what the format says, or a blob is packed otherwise than with zlib.
    """
    with open(path, "rb") as file:
        for number, blob in enumerate(_blobs(file)):
            if number:
                yield from _contents(blob)


def blob_places(path: str | os.PathLike[str]) -> list[BlobPlace]:
    """Finds the blobs of a file, its header first; only their own headers are read.

    Args:
        path: As for `check_blocks`.

    Raises:
        EOFError: The file breaks off.
        ValueError: It is not what the format says.
    """
    found = []
    file_bytes = os.path.getsize(path)
    with open(path, "rb") as file:
        place = 0
        while size := file.read(4):
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
    return b"".join(_contents(_read(file, place.end - place.blob, MOST_BLOB_BYTES)))


def string_tables(block: bytes) -> Iterator[bytes]:
    """Yields the string tables of a block, each a protobuf message whose fields 1 are the strings."""
    for field, table in fields(block):
        if field == 1 and isinstance(table, bytes):
            yield table


def breaks_off(path: str | os.PathLike[str]) -> bool:
    """Tells whether a file ends within a block; only the blocks' own headers are read.

    Args:
        path: A local `.osm.pbf` file whose header libosmium has read. A file that is garbled does not break off:
            `check_blocks` finds it.
    """
    try:
        blob_places(path)
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
        return any(field == _LZ4 for field, _ in fields(next(_blobs(file))))


def _blobs(file: BinaryIO) -> Iterator[bytes]:
    """Yields the blobs of a file as they are, packed."""
    is_first = True
    while size := file.read(4):
        yield _read(file, _blob_bytes(_read_header(file, size), is_first=is_first), MOST_BLOB_BYTES)
        is_first = False


def _contents(blob: bytes) -> Iterator[bytes]:
    """Yields what is packed in a blob."""
    holds_data = False
    for field, value in fields(blob):
        if field == _LZ4:
            raise ValueError(f"it is packed with LZ4; {_CAT}")
        if field in _OTHERS:
            raise ValueError(f"a block is packed in a way that is not supported; {_CAT}")
        if field in (_RAW, _ZLIB) and isinstance(value, bytes):
            holds_data = True
            yield value if field == _RAW else _unpacked(value)
    if not holds_data:
        raise ValueError(f"a block holds no data; {AGAIN}")


def _read_header(file: BinaryIO, size: bytes) -> bytes:
    """Reads a blob's header behind its size, four bytes where the file does not break off in them."""
    return _read(file, int.from_bytes(size, "big") if len(size) == 4 else -1, MOST_HEADER_BYTES)


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


def _check_texts(texts: list[bytes]) -> None:
    for text in texts:
        if 0 in text:
            raise ValueError(f"a key, value or role holds a NUL ({text[:40]!r}); {AGAIN}")
