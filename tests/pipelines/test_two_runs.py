"""Whole runs beside another into the same folder, which ends again and again and deletes what lies aside."""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from beam_pipeline.export_dataset import main as export_dataset
from beam_pipeline.extract_features import main as extract_features
from beam_pipeline.make_report import main as make_report
from beam_pipeline.relabel import main as relabel
from beam_pipeline.runtime.disk import Disk
from beam_pipeline.runtime.files import delete_leftovers
from beam_pipeline.runtime.retries import RetryPolicy
from beam_pipeline.sample_world import SampleWorld
from beam_pipeline.verify import main as verify
from tests.pipelines.conftest import Built, flags, main
from tests.pipelines.patches_of_sample import make_patches, write_places
from tests.pipelines.test_import_published import publish
from tests.pipelines.test_import_published import run as import_published

pytestmark = pytest.mark.slow  # whole runs

VARYING = ("run.json",)
"""Hold times."""


@pytest.fixture
def disturb(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], list[str]]]:
    """Has another run end before each file of a folder gets its name for the first time; returns the files."""
    replace, lock = os.replace, threading.Lock()
    monkeypatch.setattr(RetryPolicy, "wait_s", lambda _self, _attempt: 0.0)

    def begin(folder: Path) -> list[str]:
        named: list[str] = []

        def end_and_replace(source: str, target: str) -> None:
            with lock:
                path = Path(target)
                if folder in path.parents and path.parent.name != "tmp" and target not in named:
                    named.append(target)
                    delete_leftovers(Disk(), str(folder))
                    # Those of a store in a dataset, and of an export.
                    delete_leftovers(Disk(), str(folder / "features"))
                    for part in folder.rglob("*.part"):
                        part.unlink(missing_ok=True)
                    assert not os.path.exists(source)
            replace(source, target)

        monkeypatch.setattr(os, "replace", end_and_replace)
        return named

    yield begin
    monkeypatch.setattr(os, "replace", replace)


def contents(folder: Path) -> dict[str, bytes]:
    files = {str(it.relative_to(folder)): it for it in folder.rglob("*") if it.is_file()}
    return {name: it.read_bytes() for name, it in files.items() if it.name not in VARYING}


def _build(built: Built, world: SampleWorld, output: Path) -> int:
    return main([*flags(world, output), "--processes=1"])


def _extract(built: Built, world: SampleWorld, output: Path) -> int:
    given = ["--cells", str(world.cells_csv), "--osm", str(world.osm_extract), "--output", str(output)]
    return extract_features(given)


def _relabel(built: Built, world: SampleWorld, output: Path) -> int:
    given = [f"--dataset={built.folder}", f"--output={output}", "--ontology=strict", "--processes=1"]
    return relabel(given)


def _import(built: Built, world: SampleWorld, output: Path) -> int:
    published = output.with_name("published")
    if not published.exists():
        publish(published)
    return import_published(published, output, "--processes=1").code


def _patches(built: Built, world: SampleWorld, output: Path) -> int:
    table = output.with_name("places.csv")
    write_places(world, table)
    return make_patches(world, output, "--places", str(table), "--processes=1").code


def _export(built: Built, world: SampleWorld, output: Path) -> int:
    return export_dataset(
        [f"--dataset={built.folder}", f"--output={output}", "--format=geotiff", "--processes=1"]
    )


def _report(built: Built, world: SampleWorld, output: Path) -> int:
    if not output.exists():
        shutil.copytree(built.folder, output)
    return make_report([str(output)])


@pytest.mark.parametrize("run", [_build, _extract, _relabel, _import, _patches, _export, _report])
def test_a_run_bears_another_that_ends(
    run: Callable[[Built, SampleWorld, Path], int],
    built: Built,
    world: SampleWorld,
    tmp_path: Path,
    disturb: Callable[[Path], list[str]],
) -> None:
    calm, disturbed = tmp_path / "calm/set", tmp_path / "disturbed/set"
    calm.parent.mkdir()
    disturbed.parent.mkdir()
    code = run(built, world, calm)
    named = disturb(disturbed)
    assert run(built, world, disturbed) == code == 0
    assert len(named) >= 5
    assert contents(disturbed) == contents(calm)


def test_two_builds_at_once_make_one_dataset(built: Built, world: SampleWorld, tmp_path: Path) -> None:
    output = tmp_path / "set"
    command = [sys.executable, "-m", "beam_pipeline.build_dataset", *flags(world, output), "--processes=1"]
    runs = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [run.communicate()[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    assert contents(output) == contents(built.folder)
    assert verify([str(output)]) == 0
