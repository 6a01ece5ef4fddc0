"""Which files of a folder are opened, by whomever: Linux tells by inotify."""

import contextlib
import ctypes
import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

_OPEN = 0x20  # Source: inotify(7), sys/inotify.h
_EVENT = struct.Struct("iIII")


@contextlib.contextmanager
def noted_openings(folder: Path) -> Iterator[set[str]]:
    """Yields a set that holds, once the context is left, the names of the files in the folder that were opened."""
    if sys.platform != "linux":
        pytest.skip("which files are opened is known on Linux only")
    libc = ctypes.CDLL(None, use_errno=True)
    handle = libc.inotify_init1(os.O_NONBLOCK)
    names: set[str] = set()
    try:
        assert libc.inotify_add_watch(handle, os.fsencode(folder), _OPEN) > 0
        yield names
        with contextlib.suppress(BlockingIOError):
            while events := os.read(handle, 1 << 16):
                while events:
                    *_, length = _EVENT.unpack_from(events)
                    name = events[_EVENT.size : _EVENT.size + length].rstrip(b"\0")
                    events = events[_EVENT.size + length :]
                    names.update([os.fsdecode(name)] if name else [])
    finally:
        os.close(handle)
