"""Files that are put into a store's folder whole or not at all, also where it lies in a bucket."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from beam_pipeline.dataset.folder import DatasetFolder
from beam_pipeline.runtime.faults import Fault
from beam_pipeline.runtime.files import aside_path
from beam_pipeline.runtime.storage_faults import with_retries

_COPY_BYTES = 1 << 20


def put_file(folder: DatasetFolder, name: str, source: Path) -> None:
    """Puts a local file into a folder, over an old one.

    Args:
        folder: The folder.
        name: The file's name in it.
        source: The file.

    Raises:
        Fault: The storage failed.
    """
    with_retries(lambda: _put(folder, name, source))


def _put(folder: DatasetFolder, name: str, source: Path) -> None:
    aside = aside_path(folder.path)
    try:
        folder.files.write_bytes(aside, _chunks(source))
        folder.files.rename(aside, folder.at(name))
    except Exception:
        with contextlib.suppress(Fault):  # what happened first says more
            folder.files.delete(aside)
        raise


def _chunks(source: Path) -> Iterator[bytes]:
    with source.open("rb") as file:
        while chunk := file.read(_COPY_BYTES):
            yield chunk
