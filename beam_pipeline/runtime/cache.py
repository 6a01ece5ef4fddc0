"""Where what can be made again is kept."""

import os
import stat
import tempfile
from pathlib import Path

from beam_pipeline.runtime.faults import InvalidInputError

_NAME = "opensentinelmap"


def cache_folder(name: str) -> Path:
    """Returns the user's folder of a cache: in $XDG_CACHE_HOME, else in ~/.cache, else among temporary files.

    The last is for a user without a home, or with one that cannot be written, such as in a container that runs as any
    number. It belongs to that user alone, and the next run finds it.

    Args:
        name: Of the cache.

    Returns:
        The folder; it need not exist.

    Raises:
        InvalidInputError: There is no place for it, or somebody else has the place.
    """
    given = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(given):  # others are to be ignored. Source: the XDG Base Directory Specification
        return Path(given, _NAME, name)
    try:
        cache = Path.home() / ".cache"
    except RuntimeError:  # no HOME, and the user has no name
        return _temporary() / name
    return cache / _NAME / name if _can_be_made(cache / _NAME) else _temporary() / name


def _can_be_made(folder: Path) -> bool:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK)


def _temporary() -> Path:
    advice = "Name a folder of yours in XDG_CACHE_HOME"
    try:
        folder = Path(tempfile.gettempdir(), f"{_NAME}-{os.getuid()}")
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise InvalidInputError(f"There is no folder for a cache: {error}. {advice}") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise InvalidInputError(f"{folder} belongs to somebody else, so it is no place for a cache. {advice}")
    return folder
