"""Reads files on a disk that a stranger may have made: regular ones, and of those no more than they may weigh.

A link may lead to a device that never ends or to what is nobody's business; opening a pipe waits for whoever writes to
it. Neither is followed or opened: each is refused with what it is.
"""

import contextlib
import io
import os
import stat

from beam_pipeline.runtime.faults import PermanentFault

MOST_BYTES = 1 << 30
"""Of a file that is read as a whole. The plan of 7 million cells has so many."""

_KINDS = (
    (stat.S_ISLNK, "a link"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
)


def kind_of(path: str) -> str:
    """Tells what has a path's name; "" for a regular file, else e.g. "a link" or "a pipe".

    Raises:
        OSError: Nothing has it, or it cannot be looked at.
    """
    return _kind(os.lstat(path).st_mode)


def size_of(path: str) -> int:
    """Returns the size of a regular file in bytes.

    Raises:
        OSError: As `kind_of`.
        PermanentFault: "irregular", it is none.
    """
    found = os.lstat(path)
    _require_regular(path, found.st_mode)
    return found.st_size


def open_regular(path: str) -> io.BufferedReader:
    """Opens a regular file for reading.

    Raises:
        OSError: It cannot be opened.
        PermanentFault: "irregular", it is a link or no file.
    """
    # Looked at before it is opened, as opening a device may do things, and after, as it may be another by then.
    _require_regular(path, os.lstat(path).st_mode)
    file = open(path, "rb", opener=_open_without_waiting)  # noqa: SIM115 - the caller closes it
    try:
        _require_regular(path, os.fstat(file.fileno()).st_mode)
    except BaseException:
        file.close()
        raise
    return file


def read_regular(path: str, most_bytes: int = MOST_BYTES) -> bytes:
    """Returns the content of a regular file.

    Args:
        path: The file.
        most_bytes: What it may weigh; a file may claim any length and take no room on the disk.

    Raises:
        OSError: It cannot be read.
        PermanentFault: "irregular", as `open_regular`; "too_large".
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most_bytes:
            raise PermanentFault(
                "too_large",
                f"{path} has {size:,} bytes, and may have {most_bytes:,}: it is not what was written",
            )
        return file.read(size)  # as much room is made as is asked for


def irregular_files(folder: str, inner: tuple[str, ...]) -> dict[str, str]:
    """Looks for what is neither a regular file nor a folder.

    Args:
        folder: Is looked at, not what lies deeper; it may itself be a link.
        inner: Names of folders in it that are looked at however deep they go.

    Returns:
        By name, relative to the folder and sorted, what it is, e.g. "a link"; none where there is no folder.

    Raises:
        OSError: A folder cannot be listed.
    """
    found: dict[str, str] = {}
    rooms = [""]
    for room in rooms:  # grows
        with (
            contextlib.suppress(FileNotFoundError, NotADirectoryError),
            os.scandir(os.path.join(folder, room) or ".") as entries,
        ):
            for (
                entry
            ) in entries:  # which know what they are; a look at each of 100,000 shards may take minutes
                name = os.path.join(room, entry.name)
                if entry.is_dir(follow_symlinks=False):
                    rooms += [name] if room or entry.name in inner else []
                elif not entry.is_file(follow_symlinks=False):
                    found[name] = kind_of(entry.path)
    return dict(sorted(found.items()))


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)


def _kind(mode: int) -> str:
    if stat.S_ISREG(mode):
        return ""
    return next((kind for is_it, kind in _KINDS if is_it(mode)), "a device")


def _require_regular(path: str, mode: int) -> None:
    if kind := _kind(mode):
        raise PermanentFault("irregular", f"{path} is {kind}. {put_files_there(kind)}")


def put_files_there(kind: str) -> str:
    """Says what to do about something that is no regular file."""
    if kind == "a link":
        return (
            "Links in a folder are not followed, as they may lead anywhere: put what it leads to in its place"
        )
    return "A regular file is wanted: copy the folder again, or delete it"
