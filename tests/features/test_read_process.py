"""Reading an extract in a process of its own: what a crash, a small machine and a killed worker cost."""

import errno
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import osmium
import pytest
from osmium.osm.mutable import Node, Relation, Way

from beam_pipeline.features import extract_cut, read_process
from beam_pipeline.features.parting import part_extract
from beam_pipeline.features.read_process import (
    ReadLimits,
    cut_and_part,
    fault_of,
    read_extract,
    require_memory,
)
from beam_pipeline.labels import extract, node_index
from beam_pipeline.runtime.child_process import ChildEnded
from beam_pipeline.runtime.faults import InvalidInputError, PermanentFault, TransientFault
from beam_pipeline.runtime.own_modules import environment_of_modules
from tests.failing_disk import no_file_above
from tests.features.made import LAT, LON, TILE, request
from tests.features.test_extract_cut import far_and_near
from tests.shared_data import shared

GB = 1 << 30
MOST_WAIT_S = 20
MOST_HELD_S = 0.5


@pytest.fixture
def folders(tmp_path):
    """For pieces, and for temporary files."""
    made = tmp_path / "pieces", tmp_path / "index"
    for folder in made:
        folder.mkdir()
    return made


def crash(path, *_):
    """Stands in for a libosmium that a file makes crash."""
    os.kill(os.getpid(), signal.SIGSEGV if "crash" in path else signal.SIGKILL)
    time.sleep(MOST_WAIT_S)


def run_out_of_memory(*_):
    raise MemoryError("std::bad_alloc")


def leave_files_and_sleep(path, request, folder, scratch):
    Path(scratch, "large").write_bytes(b"1" * 1000)
    Path(folder, "pid").write_text(str(os.getpid()))
    time.sleep(MOST_WAIT_S)


def test_pieces_are_those_of_reading_in_this_process(tmp_path, folders):
    path = far_and_near(tmp_path / "a.osm.pbf")
    here = tmp_path / "here"
    here.mkdir()
    expected = part_extract(path, request(), here)
    record = read_extract(str(path), request(), folders[0], ReadLimits(str(folders[1] / "to be made")))
    assert record == expected
    assert (folders[0] / f"{TILE}.parquet").read_bytes() == (here / f"{TILE}.parquet").read_bytes()
    assert os.listdir(folders[1] / "to be made") == []


def test_a_big_file_is_cut_first(tmp_path, folders, monkeypatch):
    path = far_and_near(tmp_path / "a.osm.pbf")
    whole = cut_and_part(str(path), request(), *map(str, folders))
    content = (folders[0] / f"{TILE}.parquet").read_bytes()
    monkeypatch.setattr(extract_cut, "CUT_FROM_BYTES", 1)
    read = []

    def part(cut, *args, **kwargs):
        read.append((Path(cut).name, os.path.getsize(cut)))
        return part_extract(cut, *args, **kwargs)

    monkeypatch.setattr(read_process, "part_extract", part)
    assert cut_and_part(str(path), request(), *map(str, folders)) == whole
    assert (folders[0] / f"{TILE}.parquet").read_bytes() == content
    assert read[0][0] == "a.osm.pbf"
    assert read[0][1] < path.stat().st_size


@pytest.mark.parametrize("osm_type", ["node", "way", "relation"])
def test_a_big_file_with_a_negative_id_is_read_whole(tmp_path, folders, monkeypatch, osm_type):
    """osmium-tool says of one that memory is out, and pyosmium takes none."""
    path = far_and_near(tmp_path / "a.osm.pbf")
    odd = tmp_path / "odd.osm.pbf"
    objects = {"node": Node(id=-1, location=(LON, LAT)), "way": Way(id=-1), "relation": Relation(id=-1)}
    with osmium.SimpleWriter(str(odd)) as writer:
        for kind, mutable in objects.items():
            if kind == osm_type:
                writer.add(mutable)
            for one in osmium.FileProcessor(str(path)):
                if one.type_str() == kind[0]:
                    writer.add(one)
    expected = cut_and_part(str(odd), request(), *map(str, folders))
    assert expected.tiles
    monkeypatch.setattr(extract_cut, "CUT_FROM_BYTES", 1)
    assert cut_and_part(str(odd), request(), *map(str, folders)) == expected


@pytest.mark.parametrize("cut_from", [1, 1 << 40])
@pytest.mark.parametrize(
    ("order", "reason"), [("wnr", "unsorted_extract"), ("nwr", "truncated_extract"), ("", "missing_extract")]
)
def test_a_bad_extract_is_its_own_fault_cut_or_not(tmp_path, folders, monkeypatch, cut_from, order, reason):
    monkeypatch.setattr(extract_cut, "CUT_FROM_BYTES", cut_from)
    path = far_and_near(tmp_path / "a.osm.pbf")
    if order == "wnr":
        path.write_bytes(unsorted(tmp_path))
    elif order == "nwr":
        path.write_bytes(path.read_bytes()[:-10])
    else:
        path.unlink()
    with pytest.raises(PermanentFault, match=r"a\.osm\.pbf") as caught:
        cut_and_part(str(path), request(), *map(str, folders))
    assert caught.value.reason == reason


def unsorted(folder: Path) -> bytes:
    from tests.labels.osm_file import OsmFile, square

    file = OsmFile()
    file.way(1, square(9.5, 47.1, 0.001), building="yes")
    return file.write(folder / "unsorted.osm.pbf", "wnr").read_bytes()


@pytest.mark.parametrize(
    ("name", "kind", "reason", "advice"),
    [
        ("crash.osm.pbf", PermanentFault, "crashed_reader", "by SIGSEGV.*download or make it again"),
        ("killed.osm.pbf", TransientFault, "no_memory", "by SIGKILL.*more memory"),
    ],
)
def test_a_process_that_ends_costs_the_extract_alone(folders, monkeypatch, name, kind, reason, advice):
    monkeypatch.setattr(read_process, "cut_and_part", crash)
    with pytest.raises(kind, match=f"{name}.*{advice}") as caught:
        read_extract(name, request(), folders[0], ReadLimits(str(folders[1])))
    assert caught.value.reason == reason
    assert os.listdir(folders[1]) == []


def test_memory_that_runs_out_may_be_there_later(folders, monkeypatch):
    monkeypatch.setattr(read_process, "cut_and_part", run_out_of_memory)
    with pytest.raises(TransientFault, match="no_memory"):
        read_extract("a.osm.pbf", request(), folders[0], ReadLimits(str(folders[1])))


def test_a_disk_that_fills_up_is_no_corrupt_extract(tmp_path, folders):
    path = far_and_near(tmp_path / "a.osm.pbf")
    for most_bytes in (100, 2_000):  # of what is written on the way, and of the pieces
        with (
            no_file_above(most_bytes),
            pytest.raises(TransientFault, match=r"no_disk.*full.*--osm_index_dir"),
        ):
            read_extract(str(path), request(), folders[0], ReadLimits(str(folders[1])))


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (PermanentFault("corrupt_extract", "it is"), PermanentFault, "corrupt_extract"),
        (
            ChildEnded(-signal.SIGABRT, "terminate called ...\n  what():  std::bad_alloc\n"),
            TransientFault,
            "no_memory",
        ),
        (MemoryError("Out of memory. Read the MEMORY USAGE section ..."), TransientFault, "no_memory"),
        (ChildEnded(0, ""), TransientFault, "stopped_reader"),
        (InvalidInputError("An OSM extract has no readable header"), PermanentFault, "corrupt_extract"),
        (ChildEnded(-signal.SIGABRT, "double free"), PermanentFault, "crashed_reader"),
        (ChildEnded(-signal.SIGBUS, ""), TransientFault, "no_disk"),
        (ChildEnded(-signal.SIGTERM, ""), TransientFault, "stopped_reader"),
        (ChildEnded(1, "No space left on device"), TransientFault, "no_disk"),
        (ChildEnded(1, "Traceback ..."), TransientFault, "stopped_reader"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "x"), TransientFault, "no_disk"),
        (OSError(errno.EDQUOT, os.strerror(errno.EDQUOT), "x"), TransientFault, "no_disk"),
        (OSError(errno.EIO, os.strerror(errno.EIO), "x"), TransientFault, "storage"),
        (KeyError("a mistake of ours"), None, ""),
    ],
)
def test_what_a_failure_means(error, kind, reason):
    fault = fault_of(error, "a.osm.pbf", "/scratch")
    if kind is None:
        assert fault is None
        return
    assert type(fault) is kind
    assert fault.reason == reason
    if reason == "no_disk":
        assert "/scratch" in fault.detail
        assert "--osm_index_dir FOLDER" in fault.detail


@pytest.mark.parametrize("cut_from", [1, 1 << 40])
def test_too_little_memory_is_said_before_the_read(tmp_path, folders, monkeypatch, cut_from):
    path = far_and_near(tmp_path / "a.osm.pbf")
    monkeypatch.setattr(extract_cut, "CUT_FROM_BYTES", cut_from)
    monkeypatch.setattr(read_process, "free_memory", lambda: 1000)
    with pytest.raises(
        TransientFault, match=r"no_memory: To (cut|read) a\.osm\.pbf takes about .* MB of memory"
    ):
        cut_and_part(str(path), request(), *map(str, folders))
    assert os.listdir(folders[0]) == []


@pytest.mark.parametrize("cut_from", [1, 1 << 40])
def test_too_little_disk_is_said_before_the_read(tmp_path, folders, monkeypatch, cut_from):
    path = far_and_near(tmp_path / "a.osm.pbf")
    monkeypatch.setattr(extract_cut, "CUT_FROM_BYTES", cut_from)
    monkeypatch.setattr(node_index, "free_disk", lambda _: 1000)
    with pytest.raises(
        TransientFault, match=r"no_disk: .* about .*, and 1\.0 kB are free.*--osm_index_dir FOLDER"
    ):
        cut_and_part(str(path), request(), *map(str, folders))
    assert [it for it in folders[0].iterdir() if it.suffix == ".parquet"] == []


@pytest.mark.parametrize("on_one_disk", [True, False])
def test_what_lies_on_one_disk_is_added_up(tmp_path, folders, monkeypatch, on_one_disk):
    path = far_and_near(tmp_path / "a.osm.pbf")
    pieces_bytes = round(read_process.PARTING_BYTES_A_BYTE * path.stat().st_size)
    monkeypatch.setattr(extract, "free_memory", lambda: 0)
    index_bytes = extract.index_disk_bytes(path)
    assert index_bytes > 64_000_000  # more than a step by which it grows
    asked = []
    monkeypatch.setattr(read_process, "require_disk", lambda needed, *_: asked.append(needed))
    if not on_one_disk:
        stat = os.stat
        apart = SimpleNamespace(st_dev=-1)
        monkeypatch.setattr(
            read_process.os, "stat", lambda it, **given: apart if it == str(folders[1]) else stat(it, **given)
        )
    cut_and_part(str(path), request(), *map(str, folders))
    assert asked == [pieces_bytes + (index_bytes if on_one_disk else 0)]


def test_extracts_are_read_one_after_another(tmp_path, folders, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(read_process, "call_in_child", lambda *_: at_work())
    inside, most = [], []

    def at_work():
        inside.append(1)
        most.append(len(inside))
        all_in.wait(MOST_WAIT_S)  # a busy machine may take its time to let the last one in
        time.sleep(0.05)
        inside.pop()

    for at_once in (1, 3):
        most.clear()
        all_in = threading.Barrier(at_once)
        read = (lambda limits: read_extract("a", request(), folders[0], limits), ReadLimits("", at_once))
        threads = [threading.Thread(target=read[0], args=read[1:]) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert max(most) == at_once


@pytest.mark.slow
def test_a_real_read_does_not_stop_the_worker_s_other_threads(folders):
    path = shared("osm", "liechtenstein-2022.osm.pbf")
    gaps, last, done = [], time.perf_counter(), threading.Event()
    reading = threading.Thread(
        target=lambda: (
            read_extract(str(path), request(), folders[0], ReadLimits(str(folders[1]))),
            done.set(),
        )
    )
    reading.start()
    while not done.is_set():
        assert reading.is_alive()
        time.sleep(0.01)
        now = time.perf_counter()
        gaps.append(now - last)
        last = now
    reading.join()
    assert max(gaps) < MOST_HELD_S
    assert len(gaps) > 50


def test_a_killed_worker_leaves_no_reader(tmp_path, folders):
    code = (
        "from beam_pipeline.features import read_process as it; from tests.features import test_read_process as own;"
        "it.cut_and_part = own.leave_files_and_sleep;"
        f"it.read_extract('a', None, {str(folders[0])!r}, it.ReadLimits({str(folders[1])!r}))"
    )
    environment = {**environment_of_modules(), "TMPDIR": str(tmp_path)}
    worker = subprocess.Popen([sys.executable, "-c", code], env=environment)
    pid = folders[0] / "pid"
    wait_until(lambda: pid.exists() and pid.read_text())
    worker.kill()
    worker.wait()
    wait_until(lambda: not Path(f"/proc/{pid.read_text()}").exists() or is_dead(pid.read_text()))


def is_dead(pid):
    try:
        return " Z " in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True


def wait_until(holds):
    end_s = time.monotonic() + MOST_WAIT_S / 2
    while not holds():
        assert time.monotonic() < end_s
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("size", "to_read", "to_cut"), [(0, 0.2e9, 0.15e9), (1e9, 1.4e9, 1.15e9), (86e9, 60.9e9, 4e9)]
)
def test_what_memory_is_needed(monkeypatch, size, to_read, to_cut):
    for lines, needed in ((read_process.READING_LINES, to_read), (read_process.CUTTING_LINES, to_cut)):
        monkeypatch.setattr(read_process, "free_memory", lambda needed=needed: needed * 1.01)
        require_memory(lines, size, "It takes")
        monkeypatch.setattr(read_process, "free_memory", lambda needed=needed: needed * 0.99)
        amount = f"{needed / 1e9:.1f} GB" if needed >= 1e9 else f"{needed / 1e6:.1f} MB"
        with pytest.raises(TransientFault, match=f"It takes about {amount} of memory"):
            require_memory(lines, size, "It takes")
