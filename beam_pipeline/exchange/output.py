"""The places that a format writes to: the files of a shard, and those of the whole."""

import collections
from collections.abc import Iterable

from beam_pipeline.exchange.record import EXPORT_FOLDER
from beam_pipeline.exchange.source import Letter
from beam_pipeline.runtime.faults import PermanentFault
from beam_pipeline.runtime.files import Files, join
from beam_pipeline.runtime.storage_faults import with_retries


class WholeOutput:
    """Takes files, each of a name of its own.

    They outlive a power cut from `make_lasting` on: to wait for the disk at each would take as long as all else.

    Args:
        files: The file system.
        folder: The export's folder.

    Attributes:
        sizes: Bytes of each file that was written, by its name relative to the folder.
    """

    def __init__(self, files: Files, folder: str) -> None:
        self.files = files
        self._folder = folder
        self.sizes: dict[str, int] = {}

    def write(self, name: str, content: bytes | Iterable[bytes]) -> None:
        """Writes a file, whole or not at all.

        Args:
            name: Relative to the export's folder, with slashes. No part is hidden or leads upward.
            content: The file's bytes, or pieces of them in turn, for a file larger than memory.

        Raises:
            ValueError: The name is none.
            PermanentFault: "doubled_file": it was written already; or the storage failed.
            TransientFault: The storage failed.
        """
        parts = name.split("/")
        if parts[0] == EXPORT_FOLDER or any(not part or part.startswith(".") for part in parts):
            raise ValueError(f"A file of an export cannot be called {name!r}")
        if name in self.sizes:
            raise PermanentFault(
                "doubled_file", f"{name} would be written twice: is a cell in the shard twice?"
            )
        path, size = join(self._folder, name), 0

        def counted(chunks: Iterable[bytes]) -> Iterable[bytes]:
            nonlocal size
            for chunk in chunks:
                size += len(chunk)
                yield chunk

        if isinstance(content, bytes):
            with_retries(lambda: self.files.write_bytes(path, [content], lasting=False))
            size = len(content)
        else:
            # Pieces may come only once: the shard is tried again.
            self.files.write_bytes(path, counted(content), lasting=False)
        self.sizes[name] = size

    def make_lasting(self) -> None:
        """Waits until the disk holds all files; to be called before a record says that they are there.

        Raises:
            PermanentFault: A file is gone, or the storage failed.
            TransientFault: The storage failed.
        """
        for name in self.sizes:
            self.files.make_lasting(join(self._folder, name))


class ShardOutput(WholeOutput):
    """Takes the files of one shard, and what is to be said of them.

    Attributes:
        cells: Ids of the cells that were written.
        counts: What else was written, by name.
        left_out: Number of cells that the format does not take, by reason.
        letters: What could not be read or written.
    """

    def __init__(self, files: Files, folder: str) -> None:
        super().__init__(files, folder)
        self.cells: list[int] = []
        self.counts: collections.Counter[str] = collections.Counter()
        self.left_out: collections.Counter[str] = collections.Counter()
        self.letters: list[Letter] = []

    def wrote_cell(self, cell_id: int) -> None:
        """Says that a cell was written; once a cell."""
        self.cells.append(cell_id)

    def count(self, what: str, number: int = 1) -> None:
        """Adds to a count of the closing table.

        Args:
            what: In the plural, e.g. "images".
            number: How many.
        """
        self.counts[what] += number

    def leave_out(self, reason: str) -> None:
        """Says that the format does not take a cell.

        Args:
            reason: A short stable word for counting, e.g. "no_pair".
        """
        self.left_out[reason] += 1

    def dead_letter(self, cell_id: int, year: int | None, reason: str, detail: str) -> None:
        """Says that a cell, or a year of it, could not be written, and the rest goes on.

        Args:
            cell_id: The cell.
            year: The year, None where all years failed.
            reason: A short stable word for counting.
            detail: What happened, for people.
        """
        self.letters.append((cell_id, year, reason, detail))
