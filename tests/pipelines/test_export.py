"""The command that exports a dataset: from flags to the files, on any number of processes, in a bucket, and killed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from beam_pipeline.cells.table import parse_cells_csv
from beam_pipeline.export_dataset import main as export
from beam_pipeline.jobs.storage import BeamFiles, use_options
from tests.exchange.terratorch_rules import Reader
from tests.failing_disk import small_disk
from tests.pipelines.conftest import Built
from tests.pipelines.gs_bucket import serving_bucket

PUBLISHED = "--format=published"


def files(folder: Path) -> dict[str, bytes]:
    return {str(it.relative_to(folder)): it.read_bytes() for it in folder.rglob("*") if it.is_file()}


@pytest.fixture(scope="module")
def published(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("published") / "set"
    assert export([f"--dataset={built.folder}", PUBLISHED, f"--output={output}", "--processes=1"]) == 0
    return output


def test_the_files_are_the_datasets(built: Built, published: Path) -> None:
    seen = set()
    for example in built.examples():
        cell = example.cell
        reader = Reader(published, cell.split)
        assert (cell.tile, str(cell.cell_id)) in reader.cells
        by_name = {path.stem: path for path in reader.files(cell.tile, str(cell.cell_id))}
        for image in example.images:
            with np.load(by_name[image.item_id]) as arrays:
                exact = (image.gsd_20.astype(np.float64) + image.boa_add_offset) / 10_000
                assert np.array_equal(arrays["gsd_20"], exact.astype(np.float32))
            seen.add(by_name[image.item_id])
        known = example.label < 254
        mask = reader.sample(cell.tile, str(cell.cell_id))["mask"]
        assert np.array_equal(mask[known], example.label[known])
    assert seen == {*published.glob("osm_sentinel_imagery/*/*/*.npz")}
    summary = json.loads((published / "export/export.json").read_text())
    assert summary["complete"] is True
    assert sum(it["images"] for it in summary["splits"].values()) == len(seen)
    assert (published / "osm_categories.json").read_bytes() == (
        built.folder / "plan/osm_categories.json"
    ).read_bytes()
    assert (published / "LICENSES.md").read_bytes() == (built.folder / "LICENSES.md").read_bytes()


def test_a_build_takes_the_table_for_the_same_cells(built: Built, published: Path) -> None:
    """The chips' windows, which the published table lacks, follow from the bounds."""
    found = parse_cells_csv((published / "spatial_cell_info.csv").read_text(), "published")
    planned = parse_cells_csv((built.folder / "spatial_cell_info.csv").read_text(), "ours")
    written = {example.cell.cell_id for example in built.examples()}
    assert sorted(found, key=lambda it: it.cell_id) == [it for it in planned if it.cell_id in written]


def test_it_goes_on_as_it_says_and_refuses_other_settings(
    built: Built, published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = Path(shutil.copytree(built.folder, tmp_path / "source"))
    output = tmp_path / "out"
    command = [f"--dataset={source}", PUBLISHED, f"--output={output}", "--processes=1"]
    shard = source / next(name for name, content in built.shards.items() if content)
    kept = shard.read_bytes()
    shard.write_bytes(kept[:-1])
    assert export(command) == 1
    said = capsys.readouterr().out
    assert "DEAD LETTERS: corrupt_shard 1" in said
    assert "the same command exports these shards again" in said
    times = {path: path.stat().st_mtime_ns for path in output.glob("osm*/**/*") if path.is_file()}
    assert times
    shard.write_bytes(kept)
    assert export(command) == 0
    assert files(output) == files(published)
    assert "complete: " in capsys.readouterr().out
    redone = {
        name for name, _ in json.loads((output / f"export/shards/{shard.name}.json").read_text())["files"]
    }
    for path, before in times.items():
        again = str(path.relative_to(output)) in redone
        assert again or path.stat().st_mtime_ns == before
    assert export([*command, "--splits=testing"]) == 2
    assert "splits: ['training', 'validation', 'testing'] there, ['testing'] now" in capsys.readouterr().err
    assert files(output) == files(published)


Refusal = Callable[[Path, Path], tuple[list[str], str]]


def _no_format(source: Path, other: Path) -> tuple[list[str], str]:
    return ["--format="], "--format"


def _no_such_split(source: Path, other: Path) -> tuple[list[str], str]:
    return ["--splits=training,test"], "must be some of training,validation,testing"


def _no_split(source: Path, other: Path) -> tuple[list[str], str]:
    return ["--splits="], "must be some of"


def _no_dataset(source: Path, other: Path) -> tuple[list[str], str]:
    return [f"--dataset={other}"], "--dataset is no dataset that was built to its end"


def _a_file(source: Path, other: Path) -> tuple[list[str], str]:
    other.write_text("x")
    return [f"--dataset={other}"], "--dataset"


def _output_is_the_source(source: Path, other: Path) -> tuple[list[str], str]:
    other.symlink_to(source)
    return [f"--output={other}"], "--output is the folder of --dataset"


def _output_in_the_source(source: Path, other: Path) -> tuple[list[str], str]:
    other.symlink_to(source / "summaries")
    return [f"--output={other}/../maps/"], "--output lies in the folder of --dataset"


def _output_around_the_source(source: Path, other: Path) -> tuple[list[str], str]:
    return [f"--output={source.parent}"], "--output holds --dataset"


def _output_is_a_dataset(source: Path, other: Path) -> tuple[list[str], str]:
    shutil.copytree(source, other)
    return [f"--output={other}"], "--output is the folder of a dataset"


def _output_below_a_file(source: Path, other: Path) -> tuple[list[str], str]:
    other.write_text("x")
    return [f"--output={other}/out"], "--output cannot be used"


def _another_major_version(source: Path, other: Path) -> tuple[list[str], str]:
    path = source / "dataset.json"
    path.write_text(path.read_text().replace('"schema_version": "1.1.0"', '"schema_version": "2.0.0"'))
    return [], "schema_version must be 1.x.x"


def _a_damaged_description(source: Path, other: Path) -> tuple[list[str], str]:
    (source / "dataset.json").write_text("{")
    return [], "dataset.json: "


def _another_runner_with_processes(source: Path, other: Path) -> tuple[list[str], str]:
    return ["--runner=PrismRunner", "--processes=2"], "--processes is for"


@pytest.mark.parametrize(
    "refusal",
    [
        *(_no_format, _no_such_split, _no_split, _no_dataset, _a_file, _output_is_the_source),
        *(_output_is_a_dataset, _output_below_a_file, _another_major_version, _a_damaged_description),
        *(_another_runner_with_processes, _output_in_the_source, _output_around_the_source),
    ],
)
def test_what_cannot_be_used_is_refused_before_launch(
    refusal: Refusal, built: Built, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("dataset.json", "plan/osm_categories.json"):
        (source / name).parent.mkdir(exist_ok=True)
        shutil.copy(built.folder / name, source / name)
    more, said = refusal(source, tmp_path / "other")
    before = files(tmp_path)
    assert export([f"--dataset={source}", PUBLISHED, f"--output={tmp_path / 'out'}", *more]) == 2
    assert said in capsys.readouterr().err
    assert files(tmp_path) == before


def test_a_dry_run_writes_nothing(built: Built, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export([f"--dataset={built.folder}", PUBLISHED, f"--output={tmp_path / 'out'}", "--dry_run"]) == 0
    count = len(built.shards)
    assert f"{count} of {count} shards are to be exported, with" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_a_full_disk_ends_with_a_sentence_and_the_same_command_goes_on(
    built: Built, published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with small_disk(tmp_path / "disk", "3m") as disk:
        output = disk.folder / "out"
        command = [f"--dataset={built.folder}", PUBLISHED, f"--output={output}", "--processes=1"]
        assert export(command) == 1
        said = capsys.readouterr()
        assert "No space left on device" in said.err or "DEAD LETTERS: storage" in said.out
        assert not [*output.rglob("*.part")]
        disk.remount("size=60m")
        assert export(command) == 0
        assert files(output) == files(published)


@pytest.mark.slow
def test_it_is_the_same_in_two_processes(built: Built, published: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    assert export([f"--dataset={built.folder}", PUBLISHED, f"--output={output}", "--processes=2"]) == 0
    assert files(output) == files(published)


@pytest.mark.slow
def test_killed_again_and_again_it_is_the_same(built: Built, published: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    command = [sys.executable, "-m", "beam_pipeline.export_dataset", f"--dataset={built.folder}", PUBLISHED]
    killed = 0
    for wanted in (1, 3):
        process = subprocess.Popen([*command, f"--output={output}", "--processes=1"])
        while process.poll() is None and len([*output.glob("export/shards/*.json")]) < wanted:
            time.sleep(0.005)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
        process.wait()
    assert killed
    assert export([f"--dataset={built.folder}", PUBLISHED, f"--output={output}", "--processes=1"]) == 0
    assert files(output) == files(published)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    pytest.importorskip("gcp_storage_emulator", reason="needs gcp-storage-emulator")
    gcsio = pytest.importorskip("apache_beam.io.gcp.gcsio", reason="needs apache-beam[gcp]")
    with serving_bucket("exports") as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(gcsio.auth, "get_service_credentials", lambda _options: None)
        use_options()
        yield "gs://exports"


@pytest.mark.slow  # each of its many requests waits for the one thread of the emulator
def test_from_a_bucket_and_into_one(built: Built, published: Path, bucket: str) -> None:
    store = BeamFiles()
    for name in ("dataset.json", "plan/osm_categories.json", *built.shards):
        store.write_bytes(f"{bucket}/set/{name}", [(built.folder / name).read_bytes()])
    command = [f"--dataset={bucket}/set", PUBLISHED, f"--output={bucket}/out", "--runner=FnApiRunner"]
    assert export(command) == 0
    for name, content in files(published).items():
        assert store.read_bytes(f"{bucket}/out/{name}") == content, name
    assert export(command) == 0
