"""Ranges of a file that stays open, local or remote: what is read is what was asked for."""

import contextlib
import threading
from typing import BinaryIO

from beam_pipeline.runtime.faults import PermanentFault
from beam_pipeline.runtime.files import Files
from beam_pipeline.runtime.retries import RetryPolicy


class FileRanges:
    """Reads ranges of a file that stays open; threads take turns.

    Args:
        files: Opens it.
        path: A local path or a URL.
        retry: How often each range is tried; a file whose reading failed is opened anew.

    Attributes:
        path: The path.
        size: Bytes of the file when it was first opened.

    Raises:
        PermanentFault: "not_found", or the file cannot be read.
        TransientFault: It could not be reached.
    """

    def __init__(self, files: Files, path: str, retry: RetryPolicy) -> None:
        self._files = files
        self._retry = retry
        self._lock = threading.Lock()
        self._opened = contextlib.ExitStack()
        self._file: BinaryIO | None = None
        self.path = path
        size = files.size(path)
        if size is None:
            raise PermanentFault("not_found", f"there is no such file: {path}")
        self.size = size

    def read(self, start: int, length: int) -> bytes:
        """Returns a range of bytes, all of them.

        Args:
            start: Offset in bytes.
            length: Number of bytes.

        Raises:
            PermanentFault: "short_file", it ends before; or it cannot be read.
            TransientFault: It could not be read for longer than the retries last.
        """
        with self._lock:
            return self._retry.call(lambda: self._read(start, length))

    def close(self) -> None:
        """Closes the file; a later `read` opens it anew."""
        with self._lock:
            self._file = None
            self._opened.close()

    def _read(self, start: int, length: int) -> bytes:
        if self._file is None:
            self._file = self._opened.enter_context(self._files.open_ranges(self.path))
        try:
            self._file.seek(start)
            content = self._file.read(length)
        except Exception as error:
            self._file = None
            # Whoever opened the file knows what kind of fault this is, and raises it.
            self._opened.__exit__(type(error), error, error.__traceback__)
            raise
        if len(content) != length:
            raise PermanentFault(
                "short_file",
                f"{self.path} ends before byte {start + length:,}: it was cut, or is another by now",
            )
        return content
