"""Files whose reads are counted, fail, or are followed by what others do to the file."""

import contextlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

from beam_pipeline.jobs.storage import BeamFiles


class CountedFiles(BeamFiles):
    """Counts what is opened and read.

    Attributes:
        opened: How many files were opened.
        closed: How many were closed.
        ranges: Offset and size of each read.
        failures: What the next reads raise, the last first.
        then: Is called after each read.
    """

    def __init__(self) -> None:
        self.opened = self.closed = 0
        self.ranges: list[tuple[int, int]] = []
        self.failures: list[Exception] = []
        self.then: Callable[[], object] = lambda: None

    @contextlib.contextmanager
    def open_ranges(self, path: str) -> Iterator[BinaryIO]:
        self.opened += 1
        try:
            with super().open_ranges(path) as file:
                yield _Counted(file, self)  # type: ignore[misc]
        finally:
            self.closed += 1


class _Counted:
    def __init__(self, file: BinaryIO, counts: CountedFiles) -> None:
        self._file, self._counts = file, counts

    def seek(self, offset: int) -> int:
        return self._file.seek(offset)

    def read(self, size: int) -> bytes:
        if self._counts.failures:
            raise self._counts.failures.pop()
        self._counts.ranges.append((self._file.tell(), size))
        content = self._file.read(size)
        self._counts.then()
        return content
