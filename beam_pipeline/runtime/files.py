"""The operations that the records need of a file system, local or remote."""

import contextlib
import posixpath
import re
import uuid
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import BinaryIO, Protocol

from beam_pipeline.runtime.faults import PermanentFault, TransientFault
from beam_pipeline.runtime.whole_files import PARTIAL_SUFFIX

TEMPORARY_FOLDER = "tmp"
"""Folder below the output in which shards grow before they are renamed; no glob for results looks there."""


class Files(Protocol):
    """A file system. Paths are strings: local ones, or URLs such as gs://bucket/folder.

    Every method raises `PermanentFault("not_found")` where the path must exist and does not, and
    `TransientFault("storage")` for what another try may mend, after a few of its own where it can. What is read from a
    disk must be a regular file: `PermanentFault("irregular")` is raised for links, pipes, devices and folders.
    """

    def exists(self, path: str) -> bool:
        """Tells whether there is a file."""

    def size(self, path: str) -> int | None:
        """Returns a file's size in bytes, None where there is none."""

    def read_bytes(self, path: str) -> bytes:
        """Returns a file's content; a local one may have `regular_files.MOST_BYTES`, or it is "too_large"."""

    def open(self, path: str) -> AbstractContextManager[BinaryIO]:
        """Opens a file for reading, for as long as the context lasts; what fails later is not tried again."""

    def open_ranges(self, path: str) -> AbstractContextManager[BinaryIO]:
        """Opens a file of which ranges are read here and there, as `open`; little more is fetched than is read."""

    def irregular(self, folder: str, inner: tuple[str, ...]) -> dict[str, str]:
        """Returns what a folder holds that is neither a regular file nor a folder, as `irregular_files`."""

    def read_text(self, path: str) -> str:
        """Returns the content of a UTF-8 file."""

    def write_bytes(self, path: str, chunks: Iterable[bytes], *, lasting: bool = True) -> None:
        """Writes a file of all chunks in turn, over an old one, and makes the folders it needs.

        A local one is written whole or not at all. It outlives a power cut at once, or, where it is not `lasting`, from
        `make_lasting` on.
        """

    def make_lasting(self, path: str) -> None:
        """Waits until the disk holds a file that `write_bytes` wrote; what lies in a bucket lasts."""

    def write_text(self, path: str, text: str) -> None:
        """Writes a UTF-8 file whole or not at all, over an old one, and makes the folders it needs."""

    def rename(self, source: str, target: str) -> None:
        """Moves a file that was written aside, over an old one, and makes the folders it needs.

        Raises:
            TransientFault: "storage", also where the source is gone: a run that ends deletes what lies aside, another's
                too. It is to be written again.
        """

    def glob(self, folder: str, pattern: str) -> list[str]:
        """Returns the paths of the files below a folder that match, sorted; `*` stops at a slash.

        Args:
            folder: A name, not a pattern.
            pattern: Relative to it.
        """

    def delete(self, path: str) -> None:
        """Deletes a file, or a folder and all in it; nothing happens where there is none.

        Others may delete at the same time. What they write into the folder meanwhile may stay.
        """


_ASIDE = re.compile(rf"(.*\.)?[0-9a-f]{{32}}({re.escape(PARTIAL_SUFFIX)})?", re.DOTALL)
"""Names of what grows aside."""


def join(folder: str, *names: str) -> str:
    """Joins a folder, local or URL, and relative names."""
    return posixpath.join(folder, *names)


def aside_path(output: str) -> str:
    """Returns a path below the output that no other attempt has, be it a retry or a straggler."""
    # uuid4 names the file only while it grows: nothing that is kept depends on it.
    return join(output, TEMPORARY_FOLDER, uuid.uuid4().hex)


def is_aside(path: str) -> bool:
    """Tells by its name whether a file is one of ours that grew aside."""
    return _ASIDE.fullmatch(path.rpartition("/")[2]) is not None


@contextlib.contextmanager
def source_of_rename(source: str) -> Iterator[None]:
    """Turns the fault of a file that is gone into one that asks for another try, as `Files.rename` promises."""
    try:
        yield
    except PermanentFault as fault:
        if fault.reason != "not_found":
            raise
        raise TransientFault(
            "storage", f"{source} is gone, as behind a run that ends: {fault.detail}"
        ) from fault


def delete_leftovers(files: Files, output: str) -> None:
    """Deletes what killed attempts left aside; to be called at the end of a run.

    Another run may be writing here. It finds its file gone as it renames it, and writes it again: nobody can tell the
    files of a run that goes on from those of one that was killed, least of all in a bucket.
    """
    files.delete(join(output, TEMPORARY_FOLDER))
    for pattern in (f"*{PARTIAL_SUFFIX}", f"*/*{PARTIAL_SUFFIX}"):
        for path in files.glob(output, pattern):
            if is_aside(path):  # a browser's downloads may end like that too
                files.delete(path)
