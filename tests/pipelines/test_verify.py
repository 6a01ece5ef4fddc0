"""A real dataset is verified whatever of it is gone, and a build says so instead of breaking off."""

import json
import shutil
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

import pytest

from beam_pipeline.audit.dataset import verify_dataset
from beam_pipeline.dataset.folder import FINGERPRINT_FILE, ONTOLOGY_FILE, UNITS_FILE, DatasetFolder
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.labels.ontology import DEFAULT_ONTOLOGY, Ontology
from beam_pipeline.runtime.faults import TransientFault
from beam_pipeline.sample_world import SampleWorld
from tests.pipelines.conftest import Built, build


@pytest.fixture
def folder(built: Built, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built.folder, tmp_path / "set"))


@pytest.mark.parametrize("name", [UNITS_FILE, FINGERPRINT_FILE])
@pytest.mark.parametrize("content", [None, "", "{}", "[1]\n"])
def test_without_its_plan_a_dataset_is_read_all_the_same(
    folder: Path, name: str, content: str | None
) -> None:
    whole = verify_dataset(DatasetFolder(BeamFiles(), str(folder)))
    assert dict(whole.kinds) == {}
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_text(content)
    findings = verify_dataset(DatasetFolder(BeamFiles(), str(folder)))
    assert set(findings.kinds) == {"plan"}
    assert findings.checked == whole.checked


def test_the_ontology_lies_beside_the_plan_however_it_was_laid_out(
    built: Built, world: SampleWorld, tmp_path: Path
) -> None:
    written = (built.folder / ONTOLOGY_FILE).read_bytes()
    assert json.loads(written) == json.loads(DEFAULT_ONTOLOGY.read_text())
    fingerprint = json.loads((built.folder / FINGERPRINT_FILE).read_text())
    assert Ontology.load(written.decode()).sha256 == fingerprint["ontology_sha256"]
    given = tmp_path / "ontology.json"
    given.write_text(json.dumps(dict(reversed(json.loads(written).items()))))
    again = build(world, tmp_path / "set", "--ontology", str(given))
    assert again.code == 0
    assert (again.folder / ONTOLOGY_FILE).read_bytes() == written


def test_a_build_whose_shard_cannot_be_read_ends_with_the_table(
    built: Built, world: SampleWorld, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = next(name for name, content in built.shards.items() if content)

    class Locked(BeamFiles):
        def open(self, path: str) -> AbstractContextManager[BinaryIO]:
            if path.endswith(name):
                raise TransientFault("storage", f"cannot read {path}: Permission denied")
            return super().open(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("beam_pipeline.jobs.dataset_run.BeamFiles", Locked)
        assert build(world, folder).code == 1
    said = capsys.readouterr().out
    assert "verified: " in said
    assert f"\nunreadable:\n  {name}: cannot read" in said
