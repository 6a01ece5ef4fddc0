"""Keeps the locations of a file's nodes while its ways are read: in memory where they fit, else in files.

The files have no names. So they are gone with the process that reads, however that ends.
"""

import dataclasses
import os
import tempfile
from typing import Protocol

import numpy as np
import numpy.typing as npt

from beam_pipeline.runtime.faults import TransientFault
from beam_pipeline.runtime.free_room import free_disk

Ids = npt.NDArray[np.int64]
Places = npt.NDArray[np.int32]

NOWHERE = (1 << 31) - 1
"""Longitude and latitude of no location."""

_NO_LOCATION = np.int64(NOWHERE << 32 | NOWHERE)

MAKE_ROOM = "Make room there, or name a folder of a larger disk: --osm_index_dir FOLDER"
"""The advice on a disk that is too small for temporary files."""

_SPARSE_BYTES = 16
"""Of a node in a list of ids, longitudes and latitudes."""

_DENSE_BYTES = 8
"""Of an id, used or not, in an array of longitudes and latitudes."""

_GROWTH = 2
"""A list in memory comes in parts, which become one: both are there for a moment."""

_MOST_OF_MEMORY = 0.5
"""Of what is free, what an index in memory may take."""

_STEP_BYTES = 64 << 20
"""By which an array grows, at least."""


@dataclasses.dataclass(frozen=True)
class Counts:
    """Nodes of a file.

    Attributes:
        nodes: How many there are.
        highest_id: The highest id, 0 where there is none above.
    """

    nodes: int
    highest_id: int


@dataclasses.dataclass(frozen=True)
class IndexPlan:
    """The way in which the locations of nodes are kept, and the most that it takes.

    Attributes:
        storage: "memory", or of files "list" or "table".
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
        An index in memory where it takes half of what is free at most; else on disk a list of nodes or an array by id,
        whichever is the smaller.
    """
    sparse = _SPARSE_BYTES * counts.nodes
    dense = _DENSE_BYTES * (max(counts.highest_id, 0) + 1)
    in_memory = _GROWTH * sparse
    if in_memory <= _MOST_OF_MEMORY * memory_bytes:
        return IndexPlan("memory", in_memory, 0)
    if dense < sparse:
        return IndexPlan("table", 0, dense + _STEP_BYTES)
    return IndexPlan("list", 0, sparse + _STEP_BYTES)


class NodeIndex:
    """Takes the locations of a file's nodes, and then gives those of the nodes of its ways.

    Args:
        plan: For the file, or for one with more nodes.
        folder: Where it lies if it is on disk; None for the folder of temporary files.

    Raises:
        TransientFault: "no_disk": the folder's disk has too little room.
    """

    def __init__(self, plan: IndexPlan, folder: str | None = None) -> None:
        folder = folder or tempfile.gettempdir()
        if plan.disk_bytes:
            require_disk(plan.disk_bytes, folder, "The locations of an extract's nodes take")
        storages: dict[str, type[_Storage]] = {"memory": _InMemory, "list": _List, "table": _Table}
        self._storage = storages[plan.storage](folder)
        self._is_whole = False

    def add(self, ids: Ids, places: Places) -> None:
        """Takes the locations of nodes; to be called in order of ids, and before the first `find`.

        Args:
            ids: (N,) their ids. Negative ones are passed over.
            places: (N, 2) longitudes and latitudes in units of 1e-7 degrees, or `NOWHERE`.

        Raises:
            OSError: The disk is full.
        """
        first = int(np.searchsorted(ids > 0, True)) if len(ids) and ids[0] <= 0 else 0
        if first and ids[0] == 0:
            self._storage.add(ids[:1], _packed(places[:1]))
        if first < len(ids):
            self._storage.add(ids[first:], _packed(places[first:]))

    def find(self, ids: Ids) -> Places:
        """Returns the locations of nodes.

        Args:
            ids: (P,) ids of nodes.

        Returns:
            (P, 2) longitudes and latitudes; `NOWHERE` where there is none.
        """
        if not self._is_whole:
            self._storage.close()
            self._is_whole = True
        order = np.argsort(ids)  # what is sought in order is found much faster
        found = np.empty(len(ids), np.int64)
        found[order] = self._storage.find(ids[order])
        return found.view(np.int32).reshape(-1, 2)


class _Storage(Protocol):
    """Keeps locations, each in an int64."""

    def __init__(self, folder: str) -> None: ...

    def add(self, ids: Ids, locations: Ids) -> None:
        """Takes locations in order of ids, (N,) both."""

    def close(self) -> None:
        """Ends taking."""

    def find(self, ids: Ids) -> Ids:
        """Returns (P,) the locations of (P,) sorted ids."""


class _InMemory:
    """A list in memory."""

    def __init__(self, folder: str) -> None:
        self._parts: list[tuple[Ids, Ids]] = [(np.empty(0, np.int64), np.empty(0, np.int64))]
        self._ids, self._locations = self._parts[0]

    def add(self, ids: Ids, locations: Ids) -> None:
        self._parts.append((ids, locations))

    def close(self) -> None:
        self._ids = np.concatenate([ids for ids, _ in self._parts])
        self._locations = np.concatenate([locations for _, locations in self._parts])
        self._parts = []

    def find(self, ids: Ids) -> Ids:
        return _found(self._ids, self._locations, ids)


class _List:
    """A list in two files: ids, and locations."""

    def __init__(self, folder: str) -> None:
        self._files = [tempfile.TemporaryFile(dir=folder) for _ in range(2)]  # noqa: SIM115 - they close with it
        self._ids = self._locations = np.empty(0, np.int64)

    def add(self, ids: Ids, locations: Ids) -> None:
        for file, column in zip(self._files, (ids, locations), strict=True):
            file.write(np.ascontiguousarray(column).data)

    def close(self) -> None:
        for file in self._files:
            file.flush()
        if self._files[0].tell():  # nothing cannot be mapped
            self._ids, self._locations = (np.memmap(file, np.int64, "r") for file in self._files)

    def find(self, ids: Ids) -> Ids:
        return _found(self._ids, self._locations, ids)


class _Table:
    """An array by id in a file. What is not written is 0: so that has to stand for no location."""

    def __init__(self, folder: str) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - it closes with it
        self._table = np.empty(0, np.int64)

    def add(self, ids: Ids, locations: Ids) -> None:
        if int(ids[-1]) >= len(self._table):
            bytes_now = len(self._table) * _DENSE_BYTES
            more = max((int(ids[-1]) + 1) * _DENSE_BYTES - bytes_now, _STEP_BYTES)
            # Room that is missing when a page is written would end the process.
            os.posix_fallocate(self._file.fileno(), bytes_now, more)
            self._table = np.memmap(self._file, np.int64, "r+")
        self._table[ids] = locations ^ _NO_LOCATION

    def close(self) -> None:
        pass

    def find(self, ids: Ids) -> Ids:
        there = (ids >= 0) & (ids < len(self._table))
        found: Ids = np.zeros(len(ids), np.int64)
        found[there] = self._table[ids[there]]
        return found ^ _NO_LOCATION


def _found(all_ids: Ids, locations: Ids, ids: Ids) -> Ids:
    places = np.searchsorted(all_ids, ids)
    within = places < len(all_ids)
    there = np.flatnonzero(within)[all_ids[places[within]] == ids[within]]
    found = np.full(len(ids), _NO_LOCATION)
    found[there] = locations[places[there]]
    return found


def _packed(places: Places) -> Ids:
    return np.ascontiguousarray(places).view(np.int64)[:, 0]


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
