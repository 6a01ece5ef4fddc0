"""Two runs into one folder: one ends, and deletes what lies aside, while the other writes."""

import itertools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.audit.findings import Findings
from beam_pipeline.audit.sidecars import check_leftovers
from beam_pipeline.dataset.commits import commit_unit, committed_summary
from beam_pipeline.dataset.folder import DatasetFolder
from beam_pipeline.jobs import dataset_run
from beam_pipeline.jobs.extract.putting import put_file
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.runtime.disk import Disk
from beam_pipeline.runtime.files import Files, delete_leftovers
from beam_pipeline.runtime.retries import RetryPolicy
from beam_pipeline.runtime.storage_faults import with_retries
from tests.dataset.test_commits import NAME, SUMMARY


def _commit(folder: DatasetFolder) -> None:
    with_retries(lambda: commit_unit(folder, NAME, [b"one", b"two"], SUMMARY))
    assert committed_summary(folder, NAME, "ab") is not None


def _put(folder: DatasetFolder) -> None:
    source = Path(folder.path).with_name("source")
    source.write_bytes(b"rows")
    put_file(folder, "33TWM.parquet", source)
    assert folder.read_bytes("33TWM.parquet") == b"rows"


def _write(folder: DatasetFolder) -> None:
    for name in ("run.json", "scenes/33TWM-2020.json"):
        folder.write_text(name, "text")
        assert folder.read_text(name) == "text"


@pytest.mark.parametrize("files", [Disk(), BeamFiles()], ids=["disk", "beam"])
@pytest.mark.parametrize(("does", "renames"), [(_commit, 3), (_put, 2), (_write, 2)])
def test_whatever_is_deleted_before_it_gets_its_name_is_written_again(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    files: Files,
    does: Callable[[DatasetFolder], None],
    renames: int,
) -> None:
    monkeypatch.setattr(RetryPolicy, "wait_s", lambda _self, _attempt: 0.0)
    replace = os.replace
    for ends_before in range(renames):
        folder = DatasetFolder(files, str(tmp_path / f"set {ends_before}"))
        steps = itertools.count()

        def end_and_replace(source: str, target: str) -> None:
            if next(steps) == ends_before:  # noqa: B023 - called before the loop goes on
                delete_leftovers(folder.files, folder.path)  # noqa: B023
                assert not os.path.exists(source)
            replace(source, target)

        monkeypatch.setattr(os, "replace", end_and_replace)
        does(folder)
        assert next(steps) > renames
        assert not list(Path(folder.path).glob("tmp/*"))
        assert not list(Path(folder.path).rglob("*.part"))


_WRITING = """
import sys, time
from beam_pipeline.runtime.disk import Disk
from beam_pipeline.runtime.files import aside_path, join
from beam_pipeline.runtime.storage_faults import with_retries

folder = sys.argv[1]

def slowly():
    for _ in range(10):
        time.sleep(0.005)
        yield b"x"

def commit():
    aside = aside_path(folder)
    Disk().write_bytes(aside, slowly())
    Disk().rename(aside, join(folder, str(number)))

number = 0
while not Disk().exists(join(folder, "enough")):
    with_retries(commit)
    Disk().write_text(join(folder, "summaries", str(number)), "text")
    number += 1
"""


def test_a_process_writes_while_another_ends(tmp_path: Path) -> None:
    writing = subprocess.Popen([sys.executable, "-c", _WRITING, str(tmp_path)])
    ended = 0
    while writing.poll() is None and ended < 8:
        # One end a file: whoever writes tries five times.
        if (tmp_path / str(ended - 1)).exists() == bool(ended) and list(tmp_path.glob("tmp/.*.part")):
            delete_leftovers(Disk(), str(tmp_path))  # must not fail either
            ended += 1
        time.sleep(0.001)
    (tmp_path / "enough").touch()
    assert writing.wait() == 0
    assert ended == 8
    written = sorted((it for it in tmp_path.iterdir() if it.name.isdigit()), key=lambda it: int(it.name))
    assert [it.name for it in written] == [str(number) for number in range(len(written))]
    assert all(it.read_bytes() == b"x" * 10 for it in written)
    assert len(list((tmp_path / "summaries").iterdir())) == len(written)


def test_a_folder_into_which_others_write_is_deleted_as_far_as_that_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aside, rmtree = tmp_path / "tmp", shutil.rmtree

    def filled(path: str) -> None:
        """Another run begins a file just before its folder goes."""
        monkeypatch.setattr(os, "rmdir", lambda *at, **more: (aside / "new").touch() or rmdir(*at, **more))
        try:
            rmtree(path)
        finally:
            monkeypatch.setattr(os, "rmdir", rmdir)

    rmdir = os.rmdir
    aside.mkdir()
    (aside / "old").touch()
    monkeypatch.setattr(shutil, "rmtree", filled)
    Disk().delete(str(aside))
    assert [it.name for it in aside.iterdir()] == ["new"]

    def emptied(path: str) -> None:
        """Another run deletes the same."""
        rmtree(path)
        rmtree(path)

    monkeypatch.setattr(shutil, "rmtree", emptied)
    Disk().delete(str(aside))
    assert not aside.exists()


@pytest.mark.parametrize("differs", [(), ("corrupt_shard",)])
def test_a_run_that_verifies_takes_no_file_of_another_for_its_own_leftover(
    folder_of_two: DatasetFolder,
    differs: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def found(*_: object) -> Findings:
        findings = Findings()
        check_leftovers(folder_of_two, findings)
        assert findings.kinds == {"leftover": 2}
        for kind in differs:
            findings.differ(kind, NAME, "is damaged")
        return findings

    monkeypatch.setattr(dataset_run, "verify_dataset", found)
    assert dataset_run._verify(folder_of_two, PipelineOptions([]), 1) == (not differs)
    said = capsys.readouterr().out
    assert "leftover" not in said
    assert ("no difference" in said) == (not differs)


@pytest.fixture
def folder_of_two(tmp_path: Path) -> DatasetFolder:
    """A folder in which another run is writing."""
    folder = DatasetFolder(Disk(), str(tmp_path))
    for name in ("tmp/5a", "summaries/.5a.part"):
        folder.write_text(name, "x")
    return folder
