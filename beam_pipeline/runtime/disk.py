"""The files of this machine."""

import contextlib
import os
from collections.abc import Iterable, Iterator
from os.path import exists as path_exists
from typing import BinaryIO

from beam_pipeline.runtime.files import source_of_rename
from beam_pipeline.runtime.local_files import delete_path, matching_files
from beam_pipeline.runtime.regular_files import irregular_files, open_regular, read_regular, size_of
from beam_pipeline.runtime.storage_faults import storage_faults, with_retries
from beam_pipeline.runtime.whole_files import make_lasting, write_whole


def is_local(path: str) -> bool:
    """Tells whether a path is on this machine, and no URL."""
    return "://" not in path


class Disk:
    """The `runtime.files.Files` of local paths. Holds nothing, so it pickles."""

    def exists(self, path: str) -> bool:
        """Tells whether there is a file."""

        def look() -> bool:
            with storage_faults("look for", path):
                return path_exists(path)

        return with_retries(look)

    def size(self, path: str) -> int | None:
        """Returns a file's size in bytes, None where there is none."""

        def look() -> int | None:
            with storage_faults("look for", path):
                return size_of(path) if os.path.lexists(path) else None

        return with_retries(look)

    def read_bytes(self, path: str) -> bytes:
        """Returns a file's content."""

        def read() -> bytes:
            with storage_faults("read", path):
                return read_regular(path)

        return with_retries(read)

    @contextlib.contextmanager
    def open(self, path: str) -> Iterator[BinaryIO]:
        """Yields a file open for reading."""
        with storage_faults("read", path), open_regular(path) as file:
            yield file

    def open_ranges(self, path: str) -> contextlib.AbstractContextManager[BinaryIO]:
        """Opens a file for reading; ranges of it are at hand."""
        return self.open(path)

    def irregular(self, folder: str, inner: tuple[str, ...]) -> dict[str, str]:
        """Returns by name what is neither a regular file nor a folder."""
        with storage_faults("list", folder):
            return irregular_files(folder, inner)

    def read_text(self, path: str) -> str:
        """Returns the content of a UTF-8 file."""
        return self.read_bytes(path).decode()

    def write_bytes(self, path: str, chunks: Iterable[bytes], *, lasting: bool = True) -> None:
        """Writes a file of all chunks in turn, whole or not at all, and never through a link: `whole_files`."""
        with storage_faults("write", path):
            write_whole(path, chunks, lasting=lasting)

    def make_lasting(self, path: str) -> None:
        """Waits until the disk holds a file."""
        with storage_faults("write", path):
            make_lasting(path)

    def write_text(self, path: str, text: str) -> None:
        """Writes a UTF-8 file, as `write_bytes`."""
        with_retries(lambda: self.write_bytes(path, [text.encode()]))

    def rename(self, source: str, target: str) -> None:
        """Moves a file that was written aside, over an old one, and makes the folders it needs."""
        with source_of_rename(source), storage_faults("rename to", target):
            os.makedirs(os.path.dirname(target) or ".", exist_ok=True)
            os.replace(source, target)

    def glob(self, folder: str, pattern: str) -> list[str]:
        """Returns the paths of the files below a folder that match, sorted; `*` stops at a slash.

        Args:
            folder: A name, not a pattern.
            pattern: Relative to it.
        """

        def look() -> list[str]:
            with storage_faults("list", folder):
                return matching_files(folder, pattern)

        return with_retries(look)

    def delete(self, path: str) -> None:
        """Deletes a file, or a folder and all in it; nothing happens where there is none."""

        def delete() -> None:
            with storage_faults("delete", path):
                delete_path(path)

        with_retries(delete)
