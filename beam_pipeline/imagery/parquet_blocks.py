"""The columns of a row group of a Parquet file: where they lie, and their bytes as a file of their own."""

import io
from collections.abc import Callable, Sequence

from pyarrow import parquet

_MOST_GAP_BYTES = 1 << 16
"""Ranges that are less apart are read in one go."""


class Blocks(io.RawIOBase):
    """The ranges of a file that were read, as a file: nothing else of it can be read.

    So pyarrow decodes what is here already, and storage that fails is told apart from a file that is damaged.

    Args:
        size: Bytes of the file.
        read: Reads a range, by its offset and length; this raises what it raises.
        wanted: Where each range begins and ends.
    """

    def __init__(self, size: int, read: Callable[[int, int], bytes], wanted: list[tuple[int, int]]) -> None:
        self._size = size
        self._at = 0
        self._blocks = [(start, read(start, end - start)) for start, end in _joined(wanted)]

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Goes to an offset of the file."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        """Returns the offset in the file."""
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Returns bytes that were read already, or raises an OSError."""
        for start, block in self._blocks:
            offset = self._at - start
            if offset >= 0 and 0 <= size <= len(block) - offset:
                self._at += size
                return block[offset : offset + size]
        raise OSError(f"bytes {self._at:,} to {self._at + size:,} are none of its columns'")


def chunks_of(metadata: parquet.FileMetaData, group: int, columns: Sequence[int]) -> list[tuple[int, int]]:
    """Returns where columns of a row group, by their numbers, begin and end in the file."""
    found = []
    for number in columns:
        chunk = metadata.row_group(group).column(number)
        starts = [chunk.data_page_offset]
        if chunk.has_dictionary_page and chunk.dictionary_page_offset is not None:
            starts.append(chunk.dictionary_page_offset)
        found.append((min(starts), min(starts) + chunk.total_compressed_size))
    return found


def _joined(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Joins ranges that overlap or are close to each other."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if joined and start - joined[-1][1] <= _MOST_GAP_BYTES:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((start, end))
    return joined
