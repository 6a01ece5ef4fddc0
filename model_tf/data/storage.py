"""Files of datasets and runs: on a disk by our own walls, elsewhere (gs://, s3://) by TensorFlow.

On a disk only regular files are read, as a stranger may have made the folder, and each is written aside, whole.
"""

import contextlib
import io
import os
import posixpath
import shutil
import tempfile
from collections.abc import Iterator
from typing import BinaryIO

import tensorflow as tf

from beam_pipeline.runtime.faults import Fault, InvalidInputError, PermanentFault
from beam_pipeline.runtime.files import aside_path, join
from beam_pipeline.runtime.regular_files import (
    kind_of,
    open_regular,
    put_files_there,
    read_regular,
    size_of,
)
from beam_pipeline.runtime.whole_files import writing_whole


def is_local(path: str) -> bool:
    """Tells whether a path is of a disk."""
    return "://" not in path


def read_bytes(path: str) -> bytes:
    """Returns a file's content.

    Raises:
        PermanentFault: "not_found"; "irregular" or "too_large", as `read_regular`; "storage".
    """
    with _faults("read", path):
        if is_local(path):
            return read_regular(path)
        with tf.io.gfile.GFile(path, "rb") as file:
            content: bytes = file.read()
            return content


def size(path: str) -> int | None:
    """Returns a file's size in bytes, None where there is none.

    Raises:
        PermanentFault: "irregular", it is a link or no file; "storage".
    """
    try:
        with _faults("look for", path):
            found: int = size_of(path) if is_local(path) else tf.io.gfile.stat(path).length
    except PermanentFault as fault:
        if fault.reason != "not_found":
            raise
        return None
    return found


@contextlib.contextmanager
def opened(path: str) -> Iterator[io.BufferedReader]:
    """Yields a file open for reading anywhere in it; one that is elsewhere is copied first.

    Raises:
        PermanentFault: As `read_bytes`.
    """
    with contextlib.ExitStack() as stack:
        with _faults("read", path):
            if not is_local(path):
                local = os.path.join(stack.enter_context(tempfile.TemporaryDirectory()), "copy")
                tf.io.gfile.copy(path, local)
            file = stack.enter_context(open_regular(path if is_local(path) else local))
        yield file


def write_bytes(path: str, content: bytes) -> None:
    """Writes a file whole or not at all, over an old one, and makes the folders it needs.

    Raises:
        PermanentFault: "storage".
    """
    with writing(path) as file:
        file.write(content)


def publish(local: str, path: str) -> None:
    """Copies a local file to where it belongs, as `write_bytes`."""
    with open(local, "rb") as source, writing(path) as file:
        shutil.copyfileobj(source, file)


@contextlib.contextmanager
def writing(path: str) -> Iterator[BinaryIO]:
    """Yields a local file for what has a path when the block ends without an error, over an old one.

    Raises:
        PermanentFault: "storage".
    """
    with _faults("write", path):
        if is_local(path):
            with writing_whole(path) as file:
                yield file
            return
        with tempfile.TemporaryDirectory() as folder:
            local = os.path.join(folder, "new")
            with open(local, "xb") as file:
                yield file
            _upload(local, path)


def require_own_folders(folder: str, names: tuple[str, ...]) -> None:
    """Refuses folders in a folder that lie elsewhere: what is written there would go through a link.

    Args:
        folder: May itself be a link, as a person gave it.
        names: Of folders in it, which need not be there.

    Raises:
        InvalidInputError: One is a link.
    """
    for path in (join(folder, name) for name in names):
        if is_local(path) and os.path.islink(path):
            raise InvalidInputError(f"{path} is a link. {put_files_there(kind_of(path))}")


def _upload(local: str, path: str) -> None:
    aside = aside_path(posixpath.dirname(path))
    tf.io.gfile.makedirs(posixpath.dirname(aside))
    tf.io.gfile.copy(local, aside)
    tf.io.gfile.rename(aside, path, overwrite=True)


@contextlib.contextmanager
def _faults(action: str, path: str) -> Iterator[None]:
    """Turns what a file system raises into faults."""
    try:
        yield
    except Fault:
        raise
    except (tf.errors.NotFoundError, FileNotFoundError, NotADirectoryError) as error:
        raise PermanentFault("not_found", f"there is no {path}") from error
    except tf.errors.OpError as error:
        raise PermanentFault("storage", f"cannot {action} {path}: {error.message}") from error
    except OSError as error:
        raise PermanentFault("storage", f"cannot {action} {path}: {error.strerror or error}") from error
