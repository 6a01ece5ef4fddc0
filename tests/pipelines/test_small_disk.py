"""Disks that are really full or read-only; those of training, evaluation and selection are among their own tests."""

from pathlib import Path

import pytest

from beam_pipeline.preview import main as preview
from tests.failing_disk import small_disk
from tests.pipelines.conftest import Built


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
