"""Files on a disk, whatever signs their names hold: only what is said to be a pattern is taken for one."""

import errno
import fnmatch
import glob
import os
import shutil

_TRIES = 5
"""Of deleting a folder into which others write."""


def matching_files(folder: str, pattern: str) -> list[str]:
    """Returns the paths of the files below a folder that match a pattern, sorted.

    Args:
        folder: A folder by its name; "" for the current one. One that is not there holds no file.
        pattern: Parts that `fnmatch` takes, between slashes.

    Raises:
        OSError: A folder cannot be listed.
    """
    first, _, rest = pattern.partition("/")
    try:
        names = os.listdir(folder or ".")
    except (FileNotFoundError, NotADirectoryError):
        return []
    paths = [os.path.join(folder, name) for name in sorted(names) if fnmatch.fnmatchcase(name, first)]
    if rest:
        return [path for inner in paths if os.path.isdir(inner) for path in matching_files(inner, rest)]
    return [path for path in paths if os.path.exists(path) and not os.path.isdir(path)]


def named_files(text: str) -> list[str]:
    """Returns the files that a name or a pattern of a person's names, sorted; a file of that very name goes first.

    Args:
        text: A path, or a pattern as shells take it, `**` included; hidden files are found by their names only.
    """
    if os.path.exists(text):
        return [text]
    found = glob.glob(text, recursive=True) if glob.has_magic(text) else []
    return sorted(path for path in found if not os.path.isdir(path))


def delete_path(path: str) -> None:
    """Deletes a file, a link, or a folder and all in it; nothing happens where there is none.

    Others may delete at the same time. What they go on writing into the folder stays.

    Raises:
        OSError: It cannot be deleted.
    """
    for _ in range(_TRIES):
        try:
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path)
            else:
                os.remove(path)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTEMPTY):
                raise
        if not os.path.lexists(path):
            return
