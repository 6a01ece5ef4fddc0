"""Looks ahead in an `.osm.pbf` file: what lies where is told by a few of its blocks, as its objects are in order.

Whether they are is not looked at here: where they are not, the file is refused when it is read.
"""

import os
from typing import BinaryIO

from beam_pipeline.labels.node_index import Counts
from beam_pipeline.labels.pbf_blocks import BlobPlace, blob_places, block_at
from beam_pipeline.labels.pbf_checks import check_block, require_ratio
from beam_pipeline.labels.pbf_order import ids_of

_LEAST_NODE_BYTES = 4
"""Of a node in a file, with metadata or without; most take 8."""


def quick_counts(path: str | os.PathLike[str]) -> Counts:
    """Returns more nodes than a file of its size is likely to have, without a look at it; the highest id is 0."""
    return Counts(os.path.getsize(path) // _LEAST_NODE_BYTES, 0)


def count_nodes(path: str | os.PathLike[str]) -> Counts:
    """Counts the nodes of a file by a few of its blocks.

    Args:
        path: A local `.osm.pbf` file, in order.

    Raises:
        EOFError: The file breaks off.
        ValueError: It is not what the format says.
    """
    places = blob_places(path)[1:]
    sizes, highest = [], 0
    low, high = 0, len(places)  # the first block without nodes is sought
    with open(path, "rb") as file:
        while low < high:
            middle = (low + high) // 2
            runs = ids_of(_checked(file, places[middle]))
            nodes = [ids for kind, ids in runs if kind == "node" and len(ids)]
            if nodes:
                low = middle + 1
                sizes.append(sum(map(len, nodes)))
                highest = max(highest, *(int(ids.max()) for ids in nodes))
            else:
                high = middle
    return Counts(low * max(sizes, default=0), highest)


def copy_relations(path: str | os.PathLike[str], target: BinaryIO) -> None:
    """Writes the header of a file and its blocks with relations, which come last, to another file.

    Args:
        path: A local `.osm.pbf` file, in order.
        target: Open for writing, and empty.

    Raises:
        EOFError: The file breaks off.
        ValueError: It is not what the format says, or one of these blocks is to be refused.
        OSError: It cannot be written.
    """
    header, *places = blob_places(path)
    with open(path, "rb") as file:
        first = len(places)
        unpacked_bytes = 0
        while first:
            block = _checked(file, places[first - 1])
            unpacked_bytes += len(block)
            require_ratio(path, unpacked_bytes)
            kinds = {kind for kind, ids in ids_of(block) if len(ids)}
            if kinds and "relation" not in kinds:
                break
            first -= 1
        for place in (header, *places[first:]):
            file.seek(place.start)
            target.write(file.read(place.end - place.start))
    target.flush()


def _checked(file: BinaryIO, place: BlobPlace) -> bytes:
    return check_block(block_at(file, place)).content
