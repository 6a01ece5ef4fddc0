"""However many processes or workers read a dataset, the same is found, in the same order, and ends the same way."""

import contextlib
import errno
import functools
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_pipeline.audit import processes
from beam_pipeline.audit.dataset import open_audit, verify_dataset
from beam_pipeline.audit.findings import MOST_SHOWN, Findings
from beam_pipeline.audit.plan import AuditPlan
from beam_pipeline.audit.processes import ProcessLost, audit_in_processes, processes_for
from beam_pipeline.audit.shards import UnitAudit
from beam_pipeline.dataset.folder import UNITS_FILE, DatasetFolder
from beam_pipeline.dataset.units import parse_units
from beam_pipeline.runtime.cores import Machine
from beam_pipeline.runtime.disk import Disk
from beam_pipeline.verify import main
from tests.audit import audited
from tests.audit.audited import FIRST, SECOND, TESTING, edit_json, forge
from tests.audit.test_shards import each, replace_cell, wrong_label

ROOT = Path(__file__).resolve().parents[2]
OLD = ROOT / "tests" / "dataset" / "old_folder" / "set"


def batter(folder: Path) -> None:
    """Damages a bit of everything."""
    forge(folder, TESTING, each(wrong_label))
    forge(folder, TESTING, each(lambda e: replace_cell(e, min_lon=151.3)))
    data = bytearray((folder / FIRST).read_bytes())
    data[5000] ^= 1
    (folder / FIRST).write_bytes(data)
    shutil.copy(folder / FIRST, folder / FIRST.replace("00002", "00003"))
    (folder / SECOND).rename(folder / "elsewhere")
    (folder / SECOND).symlink_to(
        folder / "elsewhere"
    )  # which is noted of the folder, and found in the unit again
    edit_json(folder / f"summaries/{SECOND}.summary.json", lambda content: content.update(coastal_cells=[7]))
    edit_json(folder / "dataset.json", lambda content: content.update(complete=True))
    (folder / "features.json").unlink()
    (folder / "dead_letters.jsonl").write_bytes(b"\xff\xfe")
    Disk().write_bytes(f"{folder}/tmp/5a", [b"x"])


@pytest.fixture(scope="module")
def battered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("battered") / "set"
    audited.make_dataset(folder)
    batter(folder)
    return folder


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of which no shard was written yet."""
    folder = tmp_path_factory.mktemp("empty") / "set"
    audited.make_dataset(folder)
    for path in [*folder.glob("opensentinelmap-*"), *folder.glob("summaries/*")]:
        path.unlink()
    return folder


def state(findings: Findings) -> dict[str, object]:
    """All that was found, with its order; kinds have none."""
    found = {name: repr(value) for name, value in vars(findings).items()}
    return found | {name: repr(sorted(getattr(findings, name).items())) for name in ("kinds", "shown")}


@pytest.mark.parametrize("count", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_a_battered_dataset_is_told_alike_by_one_and_several_processes(
    count: int, battered: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = DatasetFolder(Disk(), str(battered))
    findings = verify_dataset(folder)
    assert set(findings.kinds) == {
        *("sha256", "corrupt_shard", "unaccounted", "stray_shard", "unreadable", "summary", "label", "cell"),
        *("dataset", "sidecar", "dead_letters", "leftover"),
    }
    # Three of the first shard, three of the second; five are shown, in the plan's order.
    assert findings.kinds["unaccounted"] == 6
    assert [it.file for it in findings.shown["unaccounted"]] == [FIRST] * 3 + [SECOND] * 2
    assert (findings.kinds["unreadable"], findings.damaged_shards) == (1, [FIRST])
    assert state(verify_dataset(folder, count)) == state(findings)
    assert main([str(battered), "--processes=1"]) == 1
    assert capsys.readouterr().out == findings.table() + "\n"


@pytest.mark.parametrize(
    "kind", ["battered", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("empty", "old"))]
)
def test_a_beam_job_tells_the_same(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = OLD if kind == "old" else request.getfixturevalue(kind)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    code = main([str(folder)])
    said = capsys.readouterr().out
    report = tmp_path / "found" / "report.json"
    for more in ([], [f"--report={report}"]):
        assert main([str(folder), "--runner=FnApiRunner", *more]) == code == (0 if kind == "old" else 1)
        assert capsys.readouterr().out == said
    told = json.loads(report.read_text())
    assert "\n".join(told["table"]) + "\n" == said
    assert told["finished"] is True
    assert (told["differences"] == 0) == (code == 0)
    findings = verify_dataset(DatasetFolder(Disk(), str(folder)))
    assert (told["checked"], told["kinds"]) == (dict(findings.checked), dict(findings.kinds))
    assert main([str(folder), f"--report={report}"]) == code
    assert json.loads(report.read_text()) == told
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


@pytest.mark.slow  # processes take a second each to start
@pytest.mark.parametrize("kind", ["battered", "empty", "old"])
@pytest.mark.parametrize("count", [2, 3])
def test_the_command_says_the_same_whoever_reads(
    kind: str, count: int, request: pytest.FixtureRequest, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = OLD if kind == "old" else request.getfixturevalue(kind)
    code = main([str(folder), "--processes=1"])
    said = capfd.readouterr().out
    assert main([str(folder), f"--processes={count}"]) == code
    assert capfd.readouterr().out == said


Note = tuple[str, ...]
NOTES = st.lists(
    st.one_of(
        st.tuples(st.just("differ"), st.sampled_from("ab"), st.sampled_from("xyz")),
        st.tuples(st.just("unreadable"), st.sampled_from("xyz")),
        st.tuples(st.just("unchecked"), st.sampled_from("xy")),
        st.tuples(st.just("checked"), st.sampled_from("rs")),
        st.tuples(st.just("damaged"), st.sampled_from("xyz")),
    ),
    max_size=40,
)


def noted(notes: list[tuple[int, Note]]) -> Findings:
    findings = Findings()
    for number, (what, *words) in notes:
        if what == "differ":
            findings.differ(words[0], words[1], f"note {number}", number)
        elif what == "unreadable":
            findings.unreadable(words[0], f"note {number}")
        elif what == "unchecked":
            findings.leave_unchecked(words[0], f"note {number}")
        elif what == "checked":
            findings.checked[words[0]] += number % 3
        else:
            findings.damaged_shards.append(words[0])
    return findings


@given(NOTES, st.lists(st.integers(0, 40), max_size=6), st.randoms(use_true_random=False))
def test_parts_add_up_to_the_whole_however_they_are_parted(
    notes: list[Note], cuts: list[int], rng: random.Random
) -> None:
    numbered = [*enumerate(notes)]
    edges = [0, *sorted(min(cut, len(notes)) for cut in cuts), len(notes)]
    parts = [noted(numbered[start:end]) for start, end in itertools.pairwise(edges)]
    while len(parts) > 1:  # any two neighbours, so any brackets
        place = rng.randrange(len(parts) - 1)
        parts[place].merge(parts.pop(place + 1))
    whole = noted(numbered)
    assert state(parts[0]) == state(whole)
    assert all(len(shown) <= MOST_SHOWN for shown in parts[0].shown.values())


class Pipe:
    """Stands for the pipe to a process; answers late where it is slow."""

    out = most = 0

    def __init__(self, slow: bool) -> None:
        self.slow, self.given, self.closed = slow, None, False

    def send(self, given: tuple[int, object]) -> None:
        assert self.given is None
        self.given = given
        Pipe.out += 1
        Pipe.most = max(Pipe.most, Pipe.out)

    def recv(self) -> tuple[int, object]:
        given, self.given = self.given, None
        return given

    def close(self) -> None:
        self.closed = True


def test_few_units_are_out_at_a_time_and_their_order_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    pipes = [Pipe(slow=True), Pipe(slow=False), Pipe(slow=False)]

    def wait(all_of_them: list[Pipe]) -> list[Pipe]:
        busy = [pipe for pipe in all_of_them if pipe.given is not None]
        return [pipe for pipe in busy if not pipe.slow] or busy

    monkeypatch.setattr(processes, "_start", lambda *_: pipes)
    monkeypatch.setattr(processes, "_Connection", Pipe)
    monkeypatch.setattr("multiprocessing.connection.wait", wait)
    yielded = []
    for unit in audit_in_processes(None, range(1000), 3):
        yielded.append(unit)
        Pipe.out -= 1
    assert yielded == [*range(1000)]
    assert Pipe.most == 12
    assert all(pipe.closed for pipe in pipes)


def refuse(*_: object) -> None:
    raise OSError(errno.EAGAIN, "Resource temporarily unavailable")


def test_where_no_process_can_be_started_one_reads_all(
    battered: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = DatasetFolder(Disk(), str(battered))
    whole = state(verify_dataset(folder))
    monkeypatch.setattr("multiprocessing.context.SpawnProcess._Popen", refuse)
    assert state(verify_dataset(folder, 2)) == whole
    assert caplog.messages == ["0 of 2 processes can be started: [Errno 11] Resource temporarily unavailable"]


@pytest.mark.slow
def test_a_process_that_is_killed_is_noticed(battered: Path) -> None:
    killed = functools.partial(signal.raise_signal, signal.SIGKILL)
    with pytest.raises(ProcessLost, match="has ended before its time"):
        verify_dataset(DatasetFolder(Disk(), str(battered)), 2, killed)


def test_a_lost_process_ends_the_command_with_a_sentence(
    battered: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lose(*_: object) -> None:
        raise ProcessLost("a process was killed")

    monkeypatch.setattr("beam_pipeline.audit.dataset.verify_dataset", lose)
    assert main([str(battered)]) == 1
    assert capsys.readouterr().err == "error: a process was killed\n"


def children_of(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [*map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
    return []


def is_alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@contextlib.contextmanager
def verifying(folder: Path) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """The command with two processes that have been started: the first imports, and reads nothing yet."""
    command = [sys.executable, "-m", "beam_pipeline.verify", str(folder), "--processes=2"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, text=True, start_new_session=True, **pipes) as running:
        until = time.monotonic() + 60
        # Its own, and that by which Python follows what they share.
        while len(started := children_of(running.pid)) < 3:
            assert running.poll() is None
            assert time.monotonic() < until
            time.sleep(0.005)
        yield running, started


def gone(pids: list[int]) -> bool:
    until = time.monotonic() + 30
    while any(map(is_alive, pids)) and time.monotonic() < until:
        time.sleep(0.05)
    return not any(map(is_alive, pids))


@pytest.mark.slow
def test_ctrl_c_ends_all_processes_at_once(battered: Path) -> None:
    with verifying(battered) as (running, started):
        os.killpg(running.pid, signal.SIGINT)  # as a terminal does: to each of them
        out, err = running.communicate()
        assert (running.returncode, out) == (130, "")
        assert err.splitlines()[-1] == "stopped: nothing was found out"
        assert "Traceback" not in err
        assert gone(started)


@pytest.mark.slow
def test_processes_end_with_the_one_that_started_them(battered: Path) -> None:
    with verifying(battered) as (running, started):
        running.kill()
        running.communicate()
        assert gone(started)


@pytest.mark.slow
def test_a_killed_process_ends_the_command_with_1(battered: Path) -> None:
    with verifying(battered) as (running, started):
        for pid in started[1:]:
            os.kill(pid, signal.SIGKILL)
        out, err = running.communicate()
        assert (running.returncode, out) == (1, "")
        assert err.splitlines()[-1].startswith("error: a process that read shards has ended before")
        assert "Traceback" not in err


@pytest.mark.slow
def test_a_reader_that_left_changes_nothing(battered: Path) -> None:
    command = f"{sys.executable} -m beam_pipeline.verify {battered} --processes=2"
    for where, code in ((" | true; exit ${PIPESTATUS[0]}", 1), (" >&-", 1), (" >/dev/full", 1)):
        done = subprocess.run(
            ["bash", "-c", command + where], cwd=ROOT, check=False, capture_output=True, text=True
        )
        assert done.returncode == code, where
        assert "Traceback" not in done.stderr


def plan_of(folder: Path, times: int) -> AuditPlan:
    _, plan = open_audit(DatasetFolder(Disk(), str(folder)))
    assert plan is not None
    units = parse_units((folder / UNITS_FILE).read_bytes()) * times
    return AuditPlan(plan.fingerprint, units, plan.ontology, plan.expected)


@pytest.mark.parametrize(
    ("times", "asked", "count"),
    [
        # A plan is of 3 units with 10 cell-years: a process takes 200 at least.
        *((1, None, 1), (39, None, 1), (40, None, 2), (60, None, 3), (1000, None, 8)),
        *((1, 1, 1), (1, 2, 2), (1, 5, 3), (1000, 16, 16)),
    ],
)
def test_processes_are_as_many_as_are_of_use(
    empty: Path, monkeypatch: pytest.MonkeyPatch, times: int, asked: int | None, count: int
) -> None:
    monkeypatch.setattr(processes, "this_machine", lambda: Machine(8))
    assert processes_for(plan_of(empty, times), asked) == count


@pytest.mark.parametrize(
    ("flags", "imported"),
    [("{set}", False), ("--help", False), pytest.param("foo://x", True, marks=pytest.mark.slow)],
)
def test_beam_is_imported_for_a_runner_or_a_bucket_only(battered: Path, flags: str, imported: bool) -> None:
    program = (
        "import sys\nfrom beam_pipeline.verify import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit: pass\nprint('apache_beam' in sys.modules)"
    )
    command = [sys.executable, "-c", program, flags.format(set=battered)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == str(imported)


def test_what_a_unit_gives_is_small_and_pickles(battered: Path) -> None:
    import pickle

    folder = DatasetFolder(Disk(), str(battered))
    _, plan = open_audit(folder)
    assert plan is not None
    audit = UnitAudit(folder, plan.expected)
    for unit in plan.units:
        packed = pickle.dumps(audit(unit))
        assert len(packed) < 10_000
        assert state(pickle.loads(packed).findings) == state(audit(unit).findings)


REFUSED = {
    "--processes=0": "must be 1 to 1024. Received: 0",
    "--processes=two": "must be 1 to 1024. Received: two",
    "--direct_num_workers=2": "Unknown flags: --direct_num_workers",
    "--runner=FnApiRunner --processes=2": "--processes is of a run without --runner",
    "--runner=FnApiRunner --reprot=x.json": "Unknown flags: --reprot",
    "--runner=NoRunner --environment_type=LOOPBACK": "--runner names no runner that Beam knows. Give one of",
    "--report={set}/dataset.json": "--report would replace a file that is no report",
    "--report={set}": "--report cannot be written",
    "--report=/proc/none/x.json": "--report cannot be written",
    "--runner=FnApiRunner --report={set}/dataset.json": "--report would replace a file that is no report",
    "--runner=DataflowRunner": "--sdk_container_image is missing",
    "--runner=DataflowRunner --sdk_container_image=a/b": "lies on this machine, where no Dataflow worker finds it",
}


@pytest.mark.parametrize("flags", REFUSED)
def test_what_cannot_be_used_is_refused(flags: str, empty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (empty / "dataset.json").read_bytes()
    cloud = ["--project=fake", "--region=europe-west1", "--temp_location=gs://fake/tmp"]
    words = [word.format(set=empty) for word in flags.split()]
    assert main([str(empty), *words, *(cloud if "Dataflow" in flags else [])]) == 2
    assert REFUSED[flags] in capsys.readouterr().err
    assert (empty / "dataset.json").read_bytes() == before
