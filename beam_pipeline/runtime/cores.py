"""Decides how many processes a command starts on this machine: by cores, free memory and the work that there is."""

import dataclasses
import math
import os
from collections.abc import Iterator
from pathlib import Path

_NO_LIMIT = 1 << 60
"""Bytes from which on a limit of memory is none; version 1 of control groups writes 2^63 less a page."""


@dataclasses.dataclass(frozen=True)
class Machine:
    """The part of its machine that this process may use.

    Attributes:
        cores: At least 1.
        of_group: Whether a control group bounds them: a container or service may have fewer than the machine.
        free_memory: Bytes that can be taken without swapping; None where nobody tells.
    """

    cores: int
    of_group: bool = False
    free_memory: int | None = None

    @property
    def cores_told(self) -> str:
        """The cores, in words."""
        named = "core" if self.cores == 1 else "cores"
        return f"{self.cores} {named}{' of the control group' if self.of_group else ''}"


@dataclasses.dataclass(frozen=True)
class Processes:
    """A number of processes.

    Attributes:
        count: At least 1.
        bound: What holds it there, for a message, e.g. "2 cores".
    """

    count: int
    bound: str


def choose_processes(
    given: int | None, machine: Machine, *, pieces: int, piece: str, piece_memory: int
) -> Processes:
    """Chooses as many processes as can be of use.

    Args:
        given: What a person asks for: more cores or memory than there are do not bound it. None for all that fit.
        machine: From `this_machine`.
        pieces: Of the work; a process does one at a time.
        piece: One of them in a word, e.g. "shard".
        piece_memory: Bytes that a process holds at most.

    Returns:
        At least one process.
    """
    bounds = [(pieces, f"{pieces} {piece}{'' if pieces == 1 else 's'} to do")]
    if given is not None:
        bounds.append((given, f"--processes {given}"))
    else:
        bounds.append((machine.cores, machine.cores_told))
        if machine.free_memory is not None:
            fit = machine.free_memory // piece_memory
            bounds.append(
                (fit, f"{machine.free_memory / 1e9:.1f} GB of free memory, {piece_memory / 1e9:.1f} each")
            )
    count, bound = min(bounds, key=lambda found: found[0])
    return Processes(max(1, count), bound)


def this_machine(root: Path = Path("/")) -> Machine:
    """Looks at this machine.

    Args:
        root: Where its `proc` and `sys` lie.

    Returns:
        What this process may use. Cores are those that the scheduler lets it run on, as `taskset` sets them, or what
        the control groups above it grant, as `docker run --cpus` and systemd's `CPUQuota` set it, if that is less; a
        part of a core counts as one.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [*_cpu_quotas(root)]
    free = [*_free_memory(root)]
    granted = max(1, math.ceil(min(quotas))) if quotas else cores
    return Machine(
        min(cores, granted),
        granted < cores,
        max(0, min(free)) if free else None,
    )


def _cpu_quotas(root: Path) -> Iterator[float]:
    """Yields the cores that each control group above this process grants, of those that have a limit.

    Source: Linux, Documentation/admin-guide/cgroup-v2.rst (cpu.max) and scheduler/sched-bwc.rst (version 1).
    """
    for group in _groups(root, ""):
        quota, _, period = _text(group / "cpu.max").partition(" ")
        if quota.isdecimal() and period.strip().isdecimal() and int(period):
            yield int(quota) / int(period)
    for group in _groups(root, "cpu"):
        quota, period = _text(group / "cpu.cfs_quota_us"), _text(group / "cpu.cfs_period_us")
        if quota.strip().isdecimal() and period.strip().isdecimal() and int(period):  # -1 is no limit
            yield int(quota) / int(period)


def _free_memory(root: Path) -> Iterator[int]:
    """Yields the bytes that are free on the machine and in each control group that has a limit.

    What files left in memory is free too. Source: proc(5), and as `_cpu_quotas` (memory.max, memory.stat).
    """
    for line in _text(root / "proc/meminfo").splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            yield _number(value.removesuffix("kB")) * 1024
    for version, limit, used in (
        ("", "memory.max", "memory.current"),
        ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        for group in _groups(root, version):
            most = _text(group / limit).strip()
            if most.isdecimal() and int(most) < _NO_LIMIT:
                kept = (line.split() for line in _text(group / "memory.stat").splitlines())
                of_files = sum(
                    _number(words[1])
                    for words in kept
                    if len(words) == 2 and words[0] in ("inactive_file", "active_file")
                )
                yield int(most) - _number(_text(group / used)) + of_files


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Yields the folders of the control groups that this process is in, from the root on; "" is version 2.

    In a container the root is its own group, and the names above it are not to be seen. Source: cgroups(7).
    """
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, colon, name = rest.partition(":")
        if colon and controller in controllers.split(","):
            below = Path(name.lstrip("/"))
            if ".." not in below.parts:
                yield from (
                    root / "sys/fs/cgroup" / controller / it for it in (*reversed(below.parents), below)
                )


def _number(text: str) -> int:
    return int(text) if text.strip().isdecimal() else 0


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):  # another system, version or controller
        return ""
