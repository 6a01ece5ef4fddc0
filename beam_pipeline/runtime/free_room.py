"""Tells how much memory and disk a process may still take on its machine."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

_MEMINFO = Path("/proc/meminfo")
_MEMBERSHIP = Path("/proc/self/cgroup")
_CGROUPS = Path("/sys/fs/cgroup")

_LIMITS = {"": ("memory.max", "memory.current"), "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes")}
"""By the controller that a line of `/proc/self/cgroup` names ("" in version 2): a group's limit, and what it takes.

Source: https://docs.kernel.org/admin-guide/cgroup-v2.html and .../cgroup-v1/memory.html"""

_CACHES = ("inactive_file", "total_inactive_file")
"""In a group's `memory.stat`: what the kernel gives back by itself when memory runs short."""


def free_memory() -> int:
    """Returns the bytes of memory that this process may still take.

    That is what the machine has left, or what is left within the limit of a container. A system that tells neither
    is taken to have no end of it.
    """
    return min([*_of_machine(), *_of_groups(_MEMBERSHIP, _CGROUPS)], default=sys.maxsize)


def free_disk(folder: str | os.PathLike[str]) -> int:
    """Returns the bytes that this process may still write below a folder.

    Raises:
        OSError: There is no such folder.
    """
    return shutil.disk_usage(folder).free


def _of_machine() -> Iterator[int]:
    for line in _lines(_MEMINFO):
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) << 10


def _of_groups(membership: Path, root: Path) -> Iterator[int]:
    """Yields what is left in each control group that holds this process and has a limit."""
    for line in _lines(membership):
        _, controllers, name = line.split(":", 2)
        named = [it for it in controllers.split(",") if it in _LIMITS]
        for controller in named:
            limit_file, taken_file = _LIMITS[controller]
            top = root / controller
            folder = top / name.strip().lstrip("/")
            # A container sees its own group at the top, and still reads its name on the host.
            for group in (folder, *folder.parents) if folder.is_dir() else (top,):
                limit, taken = _number(group / limit_file), _number(group / taken_file)
                if limit is not None and taken is not None:
                    yield max(0, limit - taken + _cached(group))
                if group == top:
                    break


def _cached(group: Path) -> int:
    stats = dict(line.split() for line in _lines(group / "memory.stat") if len(line.split()) == 2)
    return max((int(stats.get(name, 0)) for name in _CACHES), default=0)


def _number(file: Path) -> int | None:
    text = "".join(_lines(file)).strip()
    return int(text) if text.isdecimal() else None  # "max": no limit


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:
        return []
