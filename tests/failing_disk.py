"""Disks that fail: a small real one, one that takes no file above a size, and one that is full after some changes."""

import contextlib
import errno
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def no_file_above(num_bytes: int) -> Iterator[None]:
    """Has writing beyond so many bytes of a file fail, as on a disk that is full. Python ignores the signal of it."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


class SmallDisk:
    """A tmpfs of its own, in memory: the kernel itself says when it is full.

    Attributes:
        folder: Where it is mounted.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def remount(self, options: str) -> None:
        """Changes how it is mounted, e.g. "ro" or "rw,size=50m"."""
        subprocess.run(["mount", "-o", f"remount,{options}", self.folder], check=True)

    def fill(self) -> None:
        """Takes all room that is left."""
        with contextlib.suppress(OSError), (self.folder / "filler").open("wb", buffering=0) as filler:
            while filler.write(bytes(4096)):
                pass

    def fail(self, how: str) -> None:
        """Makes it "full" or "read-only"."""
        if how == "full":
            self.fill()
        else:
            self.remount("ro")


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[SmallDisk]:
    """Mounts a disk of a size such as "64k" on a folder, which is made; without the right to, the test is skipped."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount")
    if mounted.returncode:
        pytest.skip(f"no tmpfs may be mounted: {mounted.stderr.strip()}")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


class _Disk:
    """The state that the hook below asks for: audit hooks stay as long as the process."""

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
