"""Night-light composites as EOG ships them, .tif.gz: expanded once, before anything is read of them."""

import gzip
import os
import zlib
from collections.abc import Iterator
from typing import Any

from beam_pipeline.jobs.storage import BeamFiles, FileSystems, open_bytes
from beam_pipeline.runtime.cache import cache_folder
from beam_pipeline.runtime.faults import Fault, InvalidInputError
from beam_pipeline.runtime.files import join
from beam_pipeline.runtime.progress import Progress

MOST_BYTES = 1 << 34
"""Of an expanded composite. Source: 86401 x 33601 float32 are 11.6 GB; a few bytes may expand to any number."""

_CHUNK_BYTES = 1 << 20

_MIB = 1 << 20


def default_folder() -> str:
    """Returns where composites are expanded to: `cache_folder`."""
    return str(cache_folder("night-lights"))


def expanded(path: str, folder: str) -> str:
    """Returns the path of an expanded composite, and expands it where that has not been done.

    It is read and written in pieces, beside its final name, and renamed when its length and check sum have been
    found right: what has the name is whole.

    Args:
        path: Path or URL; one that does not end in .gz is returned as it is.
        folder: Where expanded files lie, local or gs://.

    Returns:
        The path of the .tif.

    Raises:
        InvalidInputError: The file is no gzip, or is cut short or corrupt.
    """
    if not path.endswith(".gz"):
        return path
    files = BeamFiles()
    target = join(folder, _name(path))
    if files.exists(target):
        return target
    aside = f"{target}.part-{os.getpid()}"
    try:
        with open_bytes(path) as source, Progress(None, f"expanding {path.rpartition('/')[2]}", "MiB") as bar:
            files.write_bytes(aside, _pieces(source, bar))
        files.rename(aside, target)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InvalidInputError(
            f"--night_lights cannot be expanded: {error}. Fetch it again. Received: {path}"
        ) from error
    except Fault as fault:
        raise InvalidInputError(f"--night_lights cannot be expanded: {fault}. Received: {path}") from fault
    finally:
        files.delete(aside)
    return target


def _name(path: str) -> str:
    """Returns a name that changes when the file does."""
    metadata: Any = FileSystems.get_filesystem(path).metadata(
        path
    )  # no match, which would take it for a pattern
    stem = path.rpartition("/")[2].removesuffix(".gz").removesuffix(".tif")
    return f"{stem}-{metadata.size_in_bytes}-{int(metadata.last_updated_in_seconds)}.tif"


def _pieces(source: Any, progress: Progress) -> Iterator[bytes]:
    size = 0
    with gzip.GzipFile(fileobj=source) as file:
        while piece := file.read(_CHUNK_BYTES):
            size += len(piece)
            if size > MOST_BYTES:
                raise gzip.BadGzipFile(
                    f"it expands to more than {MOST_BYTES >> 30} GiB, and a composite does not"
                )
            yield piece
            progress.update(size // _MIB - progress.done)
