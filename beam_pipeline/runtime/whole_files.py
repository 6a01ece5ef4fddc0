"""The one way in which a local file is written: aside, whole, and then moved to its name.

So a file that has its name is whole, nothing is written through a link, and a writer that dies leaves the old file.
"""

import contextlib
import errno
import os
import uuid
from collections.abc import Iterable, Iterator
from typing import BinaryIO

PARTIAL_SUFFIX = ".part"
"""Ends the name of a file while it grows beside its own name; no glob for results finds it."""


@contextlib.contextmanager
def writing_whole(path: str, *, lasting: bool = True) -> Iterator[BinaryIO]:
    """Yields a file beside a path, and moves it there when the block ends without an error.

    The file is new and has a name that nobody can foresee. What has the path's name (a file, a link, another name
    of some file) is replaced and never written to. Folders that are missing are made.

    Args:
        path: Where the file goes; "." and its like are no files.
        lasting: Whether the file outlives a power cut, for which the disk is waited for. False for what is of use to
            this run alone.

    Yields:
        A binary file, open for writing. Its `name` is a path, for libraries that write to one.

    Raises:
        OSError: The path is a folder, a device, a pipe or a link to one of these; or it cannot be written. What was
            written aside is gone then. It has no `errno` where another program deleted the file as it grew, or its
            folder: then another try may help.
    """
    _require_file(path)
    folder = os.path.dirname(path)
    os.makedirs(folder or ".", exist_ok=True)
    # Without the file's own name, which may be as long as a name can be, and by which others look for files.
    aside = os.path.join(folder, f".{uuid.uuid4().hex}{PARTIAL_SUFFIX}")
    with _deleted_by_others(path):
        file = open(aside, "xb")  # noqa: SIM115 - fails where anything has the name, and follows no link
    try:
        with file:
            yield file
            if lasting:
                file.flush()
                # A rename may outlive a power cut that the data before it does not.
                os.fsync(file.fileno())
        with _deleted_by_others(path):
            os.replace(aside, path)
    except BaseException:
        with contextlib.suppress(OSError):  # what happened first says more
            os.remove(aside)
        raise


def write_whole(path: str, chunks: Iterable[bytes], *, lasting: bool = True) -> None:
    """Writes a file of all chunks in turn, whole or not at all, as `writing_whole` does.

    Args:
        path: The file.
        chunks: Its content. What their maker raises passes unchanged.
        lasting: As of `writing_whole`; False also where `make_lasting` follows for many files at once.

    Raises:
        OSError: As `writing_whole`.
    """
    with writing_whole(path, lasting=lasting) as file:
        for chunk in chunks:
            file.write(chunk)


def make_lasting(path: str) -> None:
    """Waits until the disk holds a file that was written before.

    After many files this is much faster than to wait for each as it is written: the disk writes them together.

    Raises:
        OSError: There is none, or the disk failed.
    """
    # Not through a link, nor waiting for a pipe's writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _deleted_by_others(path: str) -> Iterator[None]:
    """Tells what was there a moment ago from what was never there."""
    try:
        yield
    except FileNotFoundError as error:
        raise OSError(f"{path} was deleted by another program while it was written") from error


def _require_file(path: str) -> None:
    if os.path.exists(path) and not os.path.isfile(path):
        code = errno.EISDIR if os.path.isdir(path) else errno.EEXIST
        raise OSError(code, "Not a regular file", path)
