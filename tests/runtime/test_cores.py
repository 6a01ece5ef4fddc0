"""The number of processes that are of use: by the machine's own files, made here, and by what is asked for."""

import os
import subprocess
from pathlib import Path

import pytest

from beam_pipeline.runtime.cores import Machine, choose_processes, this_machine

GB = 10**9


@pytest.mark.parametrize(
    ("given", "machine", "pieces", "count", "bound"),
    [
        (None, Machine(8), 100, 8, "8 cores"),
        (None, Machine(2, of_group=True), 100, 2, "2 cores of the control group"),
        (None, Machine(1, of_group=True), 100, 1, "1 core of the control group"),
        (None, Machine(8, free_memory=5 * GB), 100, 5, "5.0 GB of free memory, 1.0 each"),
        (None, Machine(8, free_memory=GB // 2), 100, 1, "0.5 GB of free memory, 1.0 each"),
        (None, Machine(8, free_memory=80 * GB), 3, 3, "3 shards to do"),
        (None, Machine(8), 1, 1, "1 shard to do"),
        (None, Machine(8), 0, 1, "0 shards to do"),
        (3, Machine(8), 100, 3, "--processes 3"),
        (16, Machine(2, free_memory=GB), 100, 16, "--processes 16"),
        (16, Machine(2), 5, 5, "5 shards to do"),
        (1, Machine(8), 100, 1, "--processes 1"),
    ],
)
def test_the_narrowest_bound_holds_and_is_told(
    given: int | None, machine: Machine, pieces: int, count: int, bound: str
) -> None:
    chosen = choose_processes(given, machine, pieces=pieces, piece="shard", piece_memory=GB)
    assert (chosen.count, chosen.bound) == (count, bound)


def test_this_machine_is_as_other_programs_find_it() -> None:
    found = this_machine()
    assert 1 <= found.cores <= int(subprocess.check_output("nproc"))
    assert found.free_memory is not None
    assert 0 < found.free_memory <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_cores_that_the_scheduler_keeps_away_are_not_counted() -> None:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert this_machine().cores == 1
    finally:
        os.sched_setaffinity(0, allowed)


def _write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


MEMINFO = {"proc/meminfo": "MemTotal: 64000000 kB\nMemAvailable:   32000000 kB\n"}

V2 = {
    "proc/self/cgroup": "0::/user.slice/build.service\n",
    "sys/fs/cgroup/user.slice/cpu.max": "max 100000\n",
    "sys/fs/cgroup/user.slice/build.service/cpu.max": "50000 100000\n",
    "sys/fs/cgroup/user.slice/memory.max": "4000000000\n",
    "sys/fs/cgroup/user.slice/memory.current": "3000000000\n",
    "sys/fs/cgroup/user.slice/memory.stat": "anon 1000000000\ninactive_file 1500000000\nactive_file 500000000\n",
    "sys/fs/cgroup/user.slice/build.service/memory.max": "max\n",
}
CONTAINER_V2 = {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "100000 100000\n"}
CONTAINER_V1 = {
    # The names are the host's; in the container its own group is the root.
    "proc/self/cgroup": "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n",
    "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "90000\n",
    "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": "2000000000\n",
    "sys/fs/cgroup/memory/memory.usage_in_bytes": "500000000\n",
}
UNLIMITED_V1 = {
    "proc/self/cgroup": "4:memory:/\n3:cpu:/\n",
    "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
    "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
}
GARBLED = {
    "proc/self/cgroup": "0::/../..\n3:cpu:/\n\n7\n",
    "sys/fs/cgroup/cpu.max": "\n",
    "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "x",
}


@pytest.mark.parametrize(
    ("files", "of_group", "free"),
    [
        ({}, False, None),
        (MEMINFO, False, 32_768_000_000),
        (MEMINFO | V2, True, 3_000_000_000),
        (MEMINFO | CONTAINER_V2, True, 32_768_000_000),
        (MEMINFO | CONTAINER_V1, True, 1_500_000_000),
        (MEMINFO | UNLIMITED_V1, False, 32_768_000_000),
        (MEMINFO | GARBLED, False, 32_768_000_000),
    ],
)
def test_control_groups_bound_cores_and_memory(
    files: dict[str, str], of_group: bool, free: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    found = this_machine(_write(tmp_path, files))
    assert found == Machine(1 if of_group else 8, of_group, free)


def test_a_part_of_a_core_counts_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    files = {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "250000 100000\n"}
    assert this_machine(_write(tmp_path, files)).cores == 3
