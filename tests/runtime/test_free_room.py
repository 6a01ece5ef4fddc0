"""The memory and disk that are left, on a machine and in a container."""

import os
import sys
from pathlib import Path

import pytest

from beam_pipeline.runtime import free_room

MB = 1 << 20


@pytest.fixture
def system(tmp_path, monkeypatch):
    """Files as Linux has them; nothing is there but what a test writes."""
    monkeypatch.setattr(free_room, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(free_room, "_MEMBERSHIP", tmp_path / "cgroup")
    monkeypatch.setattr(free_room, "_CGROUPS", tmp_path / "groups")
    return tmp_path


def group(folder: Path, limit: object, taken: int, cached: int = 0, version: int = 2) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = (
        ("memory.max", "memory.current")
        if version == 2
        else ("memory.limit_in_bytes", "memory.usage_in_bytes")
    )
    for name, value in zip(names, (limit, taken), strict=True):
        (folder / name).write_text(f"{value}\n")
    key = "inactive_file" if version == 2 else "total_inactive_file"
    (folder / "memory.stat").write_text(f"anon 12\n{key} {cached}\n")


def test_the_machine_says_what_it_has_left(system):
    (system / "meminfo").write_text("MemTotal: 4096 kB\nMemFree: 5 kB\nMemAvailable:    2048 kB\n")
    assert free_room.free_memory() == 2 * MB


def test_a_container_has_no_more_than_its_limit(system):
    (system / "meminfo").write_text("MemAvailable: 99999999 kB\n")
    (system / "cgroup").write_text("0::/\n")
    group(system / "groups", 8 * MB, 5 * MB, cached=MB)
    assert free_room.free_memory() == 4 * MB


def test_the_tightest_of_nested_groups_counts(system):
    (system / "cgroup").write_text("0::/slice/unit\n")
    group(system / "groups/slice/unit", "max", 3 * MB)
    group(system / "groups/slice", 10 * MB, 9 * MB)
    assert free_room.free_memory() == MB


def test_groups_of_version_1_count_too(system):
    (system / "cgroup").write_text("3:cpuset:/\n4:cpu,memory:/docker/abc\n0::/\n")
    group(system / "groups/memory", 6 * MB, 2 * MB, version=1)  # as a container sees its own
    assert free_room.free_memory() == 4 * MB


def test_a_group_over_its_limit_has_nothing_left(system):
    (system / "cgroup").write_text("0::/\n")
    group(system / "groups", MB, 2 * MB)
    assert free_room.free_memory() == 0


def test_without_anything_said_there_is_no_end(system):
    assert free_room.free_memory() == sys.maxsize


def test_this_machine_has_memory_and_disk(tmp_path):
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < free_room.free_memory() <= pages
    stats = os.statvfs(tmp_path)
    assert free_room.free_disk(tmp_path) == pytest.approx(stats.f_bavail * stats.f_frsize, rel=0.2)
