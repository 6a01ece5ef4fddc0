"""Keeps the locations of a file's nodes while its ways are read: in memory where they fit, else in a file.

The file has no name. So it is gone with the process that reads, however that ends.
"""

import dataclasses
import tempfile
from typing import Any

import osmium

from beam_pipeline.labels.pbf_order import Counts
from beam_pipeline.runtime.faults import TransientFault
from beam_pipeline.runtime.free_room import free_disk, free_memory

OUT_OF_DISK = "Not enough space"
"""Is in libosmium's error of an index that finds its disk full. Source: libosmium's `osmium/util/file.hpp`."""

MAKE_ROOM = "Make room there, or name a folder of a larger disk: --osm_index_dir FOLDER"
"""What to do about a disk that is too small for temporary files."""

_SPARSE_BYTES = 16
"""Of a node in a list of (id, longitude and latitude). Source: libosmium's `osmium/index/map/sparse_*`."""

_DENSE_BYTES = 8
"""Of an id, used or not, in an array of longitudes and latitudes. Source: libosmium's `osmium/index/map/dense_*`."""

_GROWTH = 3
"""A list in memory that is full moves to one of twice its size: both are there for a moment."""

_MOST_OF_MEMORY = 0.5
"""Of what is free, what an index in memory may take."""

_SPARE_BYTES = 64 << 20
"""libosmium lets its files grow by steps of 16 MiB, or 8 MiB for the array."""


@dataclasses.dataclass(frozen=True)
class IndexPlan:
    """How the locations of nodes are kept.

    Attributes:
        storage: libosmium's name of it.
        memory_bytes: What it takes of memory at most; for a file, whose pages the system can take back, 0.
        disk_bytes: What it takes of disk at most.
    """

    storage: str
    memory_bytes: int
    disk_bytes: int


def plan_node_index(counts: Counts, memory_bytes: int) -> IndexPlan:
    """Chooses how the locations of nodes are kept.

    Args:
        counts: Of the file.
        memory_bytes: What is free.

    Returns:
        An index in memory where it takes half of what is free at most; else a file, a list of nodes or an array by id,
        whichever is the smaller.
    """
    sparse = _SPARSE_BYTES * counts.nodes
    dense = _DENSE_BYTES * (max(counts.highest_node_id, 0) + 1)
    in_memory = _GROWTH * sparse
    if in_memory <= _MOST_OF_MEMORY * memory_bytes:
        return IndexPlan("flex_mem", in_memory, 0)
    if dense < sparse:
        return IndexPlan("dense_file_array", 0, dense + _SPARE_BYTES)
    return IndexPlan("sparse_file_array", 0, sparse + _SPARE_BYTES)


def create_node_index(counts: Counts, folder: str | None = None) -> Any:
    """Returns an empty index of libosmium's for the locations of a file's nodes.

    Args:
        counts: Of the file.
        folder: Where it lies if memory is too small for it; None for the folder of temporary files.

    Raises:
        TransientFault: "no_disk": the folder's disk has too little room.
    """
    plan = plan_node_index(counts, free_memory())
    if not plan.disk_bytes:
        return osmium.index.create_map(plan.storage)
    folder = folder or tempfile.gettempdir()
    require_disk(plan.disk_bytes, folder, "The locations of an extract's nodes take")
    with tempfile.TemporaryFile(dir=folder) as file:
        # libosmium opens it once more. A name that it had would be cut at its first comma.
        return osmium.index.create_map(f"{plan.storage},/dev/fd/{file.fileno()}")


def require_disk(needed_bytes: int, folder: str, what: str) -> None:
    """Looks for room on a disk.

    Args:
        needed_bytes: What is needed.
        folder: A folder on the disk.
        what: Begins the message, up to the number.

    Raises:
        TransientFault: "no_disk".
    """
    if (free := free_disk(folder)) < needed_bytes:
        raise TransientFault(
            "no_disk",
            f"{what} about {needed_bytes / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free in {folder}. {MAKE_ROOM}",
        )
