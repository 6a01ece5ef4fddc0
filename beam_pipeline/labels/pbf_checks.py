"""Refuses `.osm.pbf` files that no program may be given.

A file comes from strangers. libosmium, which assembles areas, makes of a block what it says, however much that is, and
keeps tags as strings that end in NUL: a string that holds a NUL makes it walk out of its memory, which kills the
process. So blocks are looked at before anybody uses them. What libosmium would read otherwise than it is read here is
refused.

Source of the format: https://wiki.openstreetmap.org/wiki/PBF_Format
"""

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

from beam_pipeline.labels.pbf_blocks import WRITE_ANEW, blocks, string_tables
from beam_pipeline.labels.pbf_order import ObjectOrder
from beam_pipeline.labels.pbf_sizes import decoded_bytes
from beam_pipeline.labels.pbf_wire import AGAIN, texts_of
from beam_pipeline.runtime.faults import PermanentFault

MOST_DECODED_BYTES = 256 << 20
"""Of what is made of a block. The 8,000 objects that writers put into one take 2 to 20 MB."""

MOST_UNPACKED_BYTES = 8 << 20
"""Of all blocks of a file, and besides it `MOST_RATIO` times its size."""

MOST_RATIO = 10
"""Maps are packed to a half or a third; a byte that is repeated to a thousandth."""


@dataclasses.dataclass(frozen=True)
class Block:
    """A block that has been looked at.

    Attributes:
        content: The block, unpacked.
        texts: Those of its string table; no one holds a NUL.
    """

    content: bytes
    texts: list[bytes]


def check_blocks(path: str | os.PathLike[str]) -> ObjectOrder:
    """Refuses a file in which a string holds a NUL, that is made to fill memory, or that is not what the format says.

    So is one refused whose objects are not in order, or of which one is in it twice.

    Args:
        path: A local `.osm.pbf` file. Its header is left to libosmium.

    Returns:
        The order of its objects, which was looked at.

    Raises:
        PermanentFault: "truncated_extract", "corrupt_extract", "unsorted_extract" or "doubled_extract". It is corrupt
            also where a blob is packed otherwise than with zlib.
    """
    name = Path(path).name
    order = ObjectOrder(name)
    with naming_damage(name):
        for block in checked_blocks(path):
            order.check(block.content)
    return order


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
        raise ValueError(f"a block takes more than {MOST_DECODED_BYTES >> 20} MiB of memory; {WRITE_ANEW}")
    return Block(content, texts)


def _check_texts(texts: list[bytes]) -> None:
    for text in texts:
        if 0 in text:
            raise ValueError(f"a key, value or role holds a NUL ({text[:40]!r}); {AGAIN}")
