"""A build whose output lies in a bucket of Google: gcp-storage-emulator stands in for the store."""

import gc
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from beam_pipeline.jobs.storage import BeamFiles, use_options
from beam_pipeline.make_report import main as report
from beam_pipeline.resample_patches import main as resample_patches
from beam_pipeline.sample_world import SampleWorld
from beam_pipeline.verify import main as verify
from model_tf import downstream
from tests.pipelines.conftest import Built, flags, main
from tests.pipelines.gs_bucket import serving_bucket
from tests.pipelines.object_stores import check_catalogue, check_files, check_refusal, refusing_store
from tests.pipelines.patches_of_sample import patches_flags

pytest.importorskip(
    "gcp_storage_emulator", reason="needs gcp-storage-emulator: pip install -r tests/requirements.txt"
)
gcsio = pytest.importorskip("apache_beam.io.gcp.gcsio", reason="needs apache-beam[gcp]")

BUCKET = "datasets"


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with serving_bucket(BUCKET) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        # Beam would ask this machine for credentials for half a minute, and keep the answer for the process.
        monkeypatch.setattr(gcsio.auth, "get_service_credentials", lambda _options: None)
        use_options()
        yield f"gs://{BUCKET}/set"


def test_files_on_gs_behave_as_the_records_need(bucket: str) -> None:
    check_files(bucket)


def test_a_catalogue_on_gs_is_searched_as_on_a_disk(bucket: str, tmp_path: Path) -> None:
    check_catalogue(bucket, tmp_path)


def test_a_missing_permission_is_one_sentence_and_nothing_is_uploaded_later(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cause = "worker@p.iam.gserviceaccount.com does not have storage.objects.list access"
    body = json.dumps({"error": {"code": 403, "message": f"{cause} to the bucket."}}).encode()
    with refusing_store(body, "application/json") as url:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setattr(gcsio.auth, "get_service_credentials", lambda _options: None)
        use_options()
        check_refusal(f"gs://{BUCKET}/set", cause, "roles/storage.objectAdmin of the bucket", capsys)
    # Google's client would go on with what was refused as it is collected, now without a store.
    started = time.monotonic()
    gc.collect()
    assert time.monotonic() - started < 10


@pytest.mark.slow  # each of its many requests waits for the one thread of the emulator
def test_a_build_on_gs_has_the_bytes_of_a_local_one(
    bucket: str, built: Built, world: SampleWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = [argument for argument in flags(world, Path("x")) if argument not in ("--output", "x")]
    assert main([*argv, "--output", bucket]) == built.code
    files = BeamFiles()
    for path in sorted(
        path for path in built.folder.rglob("*") if path.is_file() and path.name != "run.json"
    ):
        name = str(path.relative_to(built.folder))
        assert files.read_bytes(f"{bucket}/{name}") == path.read_bytes(), name
    assert files.glob(bucket, "tmp/*") == []
    capsys.readouterr()
    assert verify([bucket, "--processes=1"]) == 0
    said = capsys.readouterr().out
    job = "--runner=FnApiRunner"
    for more in (["--processes=2"], [job], [job, f"--report={bucket}/found.json"]):
        assert verify([bucket, *more]) == 0
        assert capsys.readouterr().out == said, more
    told = json.loads(files.read_text(f"{bucket}/found.json"))
    assert (told["finished"], told["differences"]) == (True, 0)


@pytest.mark.slow
def test_a_report_on_gs_has_the_bytes_of_a_local_one(bucket: str, built: Built, tmp_path: Path) -> None:
    files = BeamFiles()
    names = (
        "dataset.json",
        "run.json",
        "plan/units.jsonl",
        *(f"summaries/{it}.summary.json" for it in built.shards),
    )
    for name in (*names, *built.shards):
        files.write_bytes(f"{bucket}/{name}", [(built.folder / name).read_bytes()])
    local = tmp_path / "set"
    for name in (*names, *built.shards):
        (local / name).parent.mkdir(parents=True, exist_ok=True)
        (local / name).write_bytes((built.folder / name).read_bytes())
    assert report([str(local)]) == 0
    for more in ([], ["--runner=FnApiRunner"]):
        assert report([bucket, *more]) == 0
        for path in (local / "report.html", *(local / "report_figures").iterdir()):
            assert files.read_bytes(f"{bucket}/{path.relative_to(local)}") == path.read_bytes(), path
        files.delete(f"{bucket}/report.html")


@pytest.mark.slow
def test_patches_on_gs_have_the_bytes_of_local_ones(
    bucket: str,
    made_patches: Built,
    world: SampleWorld,
    place_table: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    files = BeamFiles()
    table = f"gs://{BUCKET}/places.csv"
    files.write_bytes(table, [place_table.read_bytes()])
    assert resample_patches(patches_flags(world, bucket, "--places", table)) == made_patches.code
    for path in sorted(it for it in made_patches.folder.rglob("*") if it.is_file() and it.name != "run.json"):
        name = str(path.relative_to(made_patches.folder))
        assert files.read_bytes(f"{bucket}/{name}") == path.read_bytes(), name
    assert files.glob(bucket, "tmp/*") == []
    capsys.readouterr()
    assert verify([bucket]) == 0
    assert downstream.main(["--patches", bucket, "--task=classes", f"--output={tmp_path}/out"]) == 2
    assert "--patches must be a folder on this machine" in capsys.readouterr().err
