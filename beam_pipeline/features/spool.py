"""Rows by tile, gathered on disk: what is in memory is bounded, however many tiles and rows there are.

Rows are held until they take some megabytes. Then they are sorted by tile and written as one file, a run. A tile's
rows are a slice of each run; runs are mapped into memory, not read.
"""

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
        self._runs: list[tuple[Path, Indices, Indices]] = []

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
        """Yields the number of each tile that has rows, ascending, and its rows in the order in which they came."""
        self._write_run()
        numbers = np.unique(np.concatenate([tiles for _, tiles, _ in self._runs] or [np.empty(0, np.int64)]))
        for number in numbers.tolist():
            yield number, pa.Table.from_batches(list(self._slices(number)), SCHEMA)

    def _slices(self, number: int) -> Iterator[pa.RecordBatch]:
        for path, tiles, starts in self._runs:
            (place,) = np.searchsorted(tiles, [number])
            if place < len(tiles) and tiles[place] == number:
                with pa.memory_map(str(path)) as mapped, pa.ipc.open_file(mapped) as run:
                    start, end = starts[place : place + 2].tolist()
                    yield run.get_batch(0).slice(start, end - start)

    def _write_run(self) -> None:
        """Writes what is held."""
        if not self._held:
            return
        tiles = np.concatenate(self._held_tiles)
        order = np.argsort(tiles, kind="stable")
        rows = pa.Table.from_batches(self._held).take(pa.array(order)).combine_chunks()
        path = self._folder / f"{uuid.uuid4().hex}.run"
        with writing_whole(str(path)) as file, pa.ipc.new_file(file, SCHEMA) as run:
            run.write_batch(rows.to_batches()[0])
        numbers, starts = np.unique(tiles[order], return_index=True)
        self._runs.append((path, numbers, np.append(starts, len(tiles))))
        self._held, self._held_tiles, self._held_bytes = [], [], 0
