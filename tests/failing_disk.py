"""Disks that fail: one that takes no file above a size, whoever writes it, and one that is full after some changes."""

import contextlib
import errno
import os
import resource
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def no_file_above(num_bytes: int) -> Iterator[None]:
    """Has writing beyond so many bytes of a file fail, as on a disk that is full. Python ignores the signal of it."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


class _Disk:
    """What the hook below asks: audit hooks stay as long as the process."""

    def __init__(self) -> None:
        self.folders: tuple[str, ...] = ()
        self.left = 0
        self.hooked = False

    def hear(self, event: str, arguments: tuple[object, ...]) -> None:
        """Fails what makes a file or folder, once the disk is full. Source: Python's audit events table."""
        if not self.folders or event not in ("open", "os.mkdir"):
            return
        path = arguments[0]
        writes = event == "os.mkdir" or int(str(arguments[2])) & (os.O_WRONLY | os.O_RDWR)
        if writes and isinstance(path, str | os.PathLike) and os.fspath(path).startswith(self.folders):
            self.left -= 1
            if self.left < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(path))


_DISK = _Disk()


@contextlib.contextmanager
def full_after(changes: int, *folders: str) -> Iterator[None]:
    """Lets Python make so many files and folders in some folders, and none after them, as a full disk does.

    What C libraries open by themselves is not seen.
    """
    if not _DISK.hooked:
        sys.addaudithook(_DISK.hear)
        _DISK.hooked = True
    _DISK.folders, _DISK.left = folders, changes
    try:
        yield
    finally:
        _DISK.folders = ()
