"""Disks that are really full or read-only; those of training, evaluation and selection are among their own tests."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from beam_pipeline.jobs import storage
from beam_pipeline.jobs.extract import pieces
from beam_pipeline.preview import main as preview
from beam_pipeline.sample_world import SampleWorld
from beam_pipeline.verify import main as verify
from tests.failing_disk import SmallDisk, small_disk
from tests.jobs.test_storage import ObjectStore
from tests.pipelines.conftest import Built, build


@pytest.mark.parametrize("options", ["size=4k", "ro"])
def test_a_preview_ends_with_a_sentence_and_leaves_no_part(
    options: str, built: Built, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with small_disk(tmp_path / "disk", "4k") as disk:
        disk.remount(options)
        argv = [str(built.folder), "--rows", "1", "--output", str(disk.folder / "preview.png")]
        assert preview(argv) == 1
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith("error: the storage cannot be used any more: ")
        assert error.endswith("the same command goes on")
        assert list(disk.folder.iterdir()) == []
        disk.remount("rw,size=50m")
        assert preview(argv) == 0
        assert [path.name for path in disk.folder.iterdir()] == ["preview.png"]


def test_a_verifying_job_without_room_for_its_findings_ends_with_a_sentence(
    built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    job = [str(built.folder), "--runner=FnApiRunner"]
    with small_disk(tmp_path / "disk", "4k") as disk:
        monkeypatch.setattr(tempfile, "tempdir", str(disk.folder))
        assert verify(job) == 1
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.splitlines()[-1].startswith("error: the storage cannot be used any more: ")
        assert f"temporary files lie in {disk.folder}" in said.err
        assert list(disk.folder.iterdir()) == []
        disk.remount("size=50m")
        assert verify(job) == 0


def test_a_worker_without_disk_loses_no_cell(
    built: Built, world: SampleWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its copy of an extract of a bucket finds no room; with a larger disk the same command does what is left."""
    cells, name = tmp_path / "cells.csv", "objects://maps/map.osm.pbf"
    header, *rows = world.cells_csv.read_text().splitlines(keepends=True)
    cells.write_text(header + "".join(row for row in rows if row.startswith("1124040")))
    monkeypatch.setattr(ObjectStore, "objects", {name: world.osm_extract.read_bytes()})

    def copied(disk: SmallDisk) -> contextlib.AbstractContextManager[str]:
        @contextlib.contextmanager
        def copy(_path: str) -> Iterator[str]:
            with monkeypatch.context() as patch:
                patch.setattr(tempfile, "tempdir", str(disk.folder))
                with storage.local_copy(name) as local:
                    yield local

        return copy

    with small_disk(tmp_path / "disk", "64k") as disk:
        monkeypatch.setattr(pieces, "local_copy", copied(disk))
        output, more = tmp_path / "set", ["--cells", str(cells)]
        short = build(world, output, *more)
        assert short.code == 1
        letters = short.dead_letters
        assert len(letters) == (len(cells.read_text().splitlines()) - 1) * len(world.years)
        assert {(letter["stage"], letter["reason"]) for letter in letters} == {("labels", "storage")}
        for letter in letters:
            assert letter["detail"].startswith(
                f"no copy of {name} can be kept among temporary files: [Errno 28]"
            )
            assert "Give workers a larger disk (--disk_size_gb on Dataflow)" in letter["detail"]
        assert list(disk.folder.iterdir()) == []
        disk.remount("size=50m")
        mended = build(world, output, *more, "--retry_dead_letters")
    assert mended.code == 0
    assert mended.dead_letters == []
    assert mended.records().items() <= built.records().items()
