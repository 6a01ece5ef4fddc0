"""Rows by tile, gathered on disk: what is in memory is bounded, however many tiles and rows there are.

Rows are held until they take some megabytes. Then they are sorted by tile and written as one file, a run. A tile's
rows are a slice of each run; runs are mapped into memory, not read.
"""

import dataclasses
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from beam_pipeline.features.schema import SCHEMA
from beam_pipeline.labels.geometries import Indices
from beam_pipeline.runtime.whole_files import writing_whole

_MOST_HELD_BYTES = 64 << 20


class Spool:
    """Gathers rows by tile.

    Args:
        folder: A local folder, for the runs.
        most_bytes: What rows may take in memory before they are written.
    """

    def __init__(self, folder: Path, most_bytes: int = _MOST_HELD_BYTES) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._held: list[pa.RecordBatch] = []
        self._held_tiles: list[Indices] = []
        self._held_bytes = 0
        self._runs: list[_Run] = []

    def add(self, rows: pa.RecordBatch, tiles: Indices) -> None:
        """Takes rows.

        Args:
            rows: N rows; it owns them from now on.
            tiles: (N,) the number of the tile of each.
        """
        self._held.append(rows)
        self._held_tiles.append(tiles)
        self._held_bytes += rows.nbytes
        if self._held_bytes >= self._most_bytes:
            self._write_run()

    def tiles(self) -> Iterator[tuple[int, pa.Table]]:
        """Yields the number of each tile that has rows, ascending, and its rows in one chunk; to be called once."""
        # What is still held is no run: an extract of a small country never touches the disk.
        held, tiles, starts = self._sorted()
        runs = [tiles, *(run.tiles for run in self._runs)]
        for number in np.unique(np.concatenate(runs)).tolist():
            slices = [rows for run in self._runs for rows in run.rows_of(number)]
            for place in np.flatnonzero(tiles == number).tolist():
                slices += held.slice(starts[place], starts[place + 1] - starts[place]).to_batches()
            yield number, pa.Table.from_batches(slices, SCHEMA).combine_chunks()

    def _sorted(self) -> tuple[pa.Table, Indices, Indices]:
        """Returns what is held, by tile; the numbers of the tiles; and where the rows of each begin, and the end."""
        tiles = np.concatenate([np.empty(0, np.int64), *self._held_tiles])
        rows = pa.Table.from_batches(self._held, SCHEMA).combine_chunks()
        if (np.diff(tiles) < 0).any():
            order = np.argsort(tiles, kind="stable")
            rows, tiles = rows.take(pa.array(order)), tiles[order]
        numbers, starts = np.unique(tiles, return_index=True)
        return rows, numbers, np.append(starts, len(tiles))

    def _write_run(self) -> None:
        rows, tiles, starts = self._sorted()
        path = self._folder / f"{uuid.uuid4().hex}.run"
        with writing_whole(str(path)) as file, pa.ipc.new_file(file, SCHEMA) as run:
            run.write_batch(rows.to_batches()[0])
        self._runs.append(_Run(path, tiles, starts))
        self._held, self._held_tiles, self._held_bytes = [], [], 0


@dataclasses.dataclass(frozen=True)
class _Run:
    """Rows on disk, by tile.

    Attributes:
        path: The file.
        tiles: (T,) the numbers of the tiles, ascending.
        starts: (T + 1,) where the rows of each begin, and the end.
    """

    path: Path
    tiles: Indices
    starts: Indices

    def rows_of(self, number: int) -> Iterator[pa.RecordBatch]:
        """Yields the rows of a tile, if there are any."""
        place = int(np.searchsorted(self.tiles, number))
        if place < len(self.tiles) and self.tiles[place] == number:
            with pa.memory_map(str(self.path)) as mapped, pa.ipc.open_file(mapped) as run:
                start, end = self.starts[place : place + 2].tolist()
                yield run.get_batch(0).slice(start, end - start)
