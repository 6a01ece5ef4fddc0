"""Where the blocks of a GeoTIFF lie in its file, by GDAL's metadata domain TIFF."""

import itertools
from collections.abc import Iterator
from typing import Any


def places_of_blocks(dataset: Any) -> Iterator[tuple[int, int]]:
    """Returns (row, column) of every block of an open dataset, or of the overview that is open."""
    height, width = dataset.block_shapes[0]
    return itertools.product(range(-(-dataset.height // height)), range(-(-dataset.width // width)))


def extent_of_block(dataset: Any, row: int, column: int) -> tuple[int, int]:
    """Returns the first byte of a block of the first band, and one past its last; (0, 0) for one that is not stored."""
    offset, size = (
        int(dataset.get_tag_item(f"BLOCK_{kind}_{column}_{row}", "TIFF", bidx=1) or 0)
        for kind in ("OFFSET", "SIZE")
    )
    return offset, offset + size
