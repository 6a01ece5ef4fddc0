"""Reads STAC GeoParquet whose footer is damaged here and there.

    python -m tests.imagery.damaged_footers FILE SEED ...

It is a process of its own, because what is not caught ends it.
"""

import random
import sys
from pathlib import Path

from beam_pipeline.imagery.parquet_file import ParquetItems
from beam_pipeline.runtime.faults import PermanentFault
from beam_pipeline.runtime.file_ranges import FileRanges
from beam_pipeline.runtime.retries import RetryPolicy


class OnDisk:
    """As much of `Files` as ranges need."""

    def size(self, path: str) -> int:
        return Path(path).stat().st_size

    def open_ranges(self, path: str):
        return Path(path).open("rb")


def damage(whole: bytes, seed: int) -> bytes:
    """Returns a file some bytes of whose footer are others."""
    draw = random.Random(seed)
    damaged = bytearray(whole)
    end = len(whole) - 8
    for _ in range(draw.choice((1, 2, 4, 16))):
        at = draw.randrange(end - int.from_bytes(whole[-8:-4], "little"), end)
        damaged[at] = draw.choice((0, 0x15, 0x19, 0x1C, 0x7F, 0x80, 0xFF, damaged[at] ^ 1, damaged[at] ^ 4))
    return bytes(damaged)


def main():
    path = Path(sys.argv[1])
    whole = path.read_bytes()
    for seed in map(int, sys.argv[2:]):
        path.write_bytes(damage(whole, seed))
        try:
            items = ParquetItems(FileRanges(OnDisk(), str(path), RetryPolicy(1)))
            for group in range(len(items.rows)):
                list(items.keys(group))
        except PermanentFault as fault:
            print(seed, fault)
        else:
            print(seed, "read")


if __name__ == "__main__":
    main()
