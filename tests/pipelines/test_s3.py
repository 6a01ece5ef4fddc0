"""A build whose output lies in an S3 bucket: moto's server stands in for the store."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from beam_pipeline.dataset.folder import DatasetFolder
from beam_pipeline.dataset.output_folder import write_plan
from beam_pipeline.jobs.storage import BeamFiles, use_options
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.sample_world import SampleWorld
from beam_pipeline.verify import main as verify
from tests.pipelines.conftest import Built
from tests.pipelines.object_stores import check_catalogue, check_files, check_refusal, refusing_store
from tests.pipelines.test_kill import check, killed_build
from tests.records.builders import make_fingerprint

boto3 = pytest.importorskip("boto3", reason="needs apache-beam[aws]: pip install -r tests/requirements.txt")
moto = pytest.importorskip("moto.server", reason="needs moto[server]: pip install -r tests/requirements.txt")

BUCKET = "datasets"
KEYS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "NO_PROXY": "127.0.0.1",
}


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    server = moto.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    for name, value in {**KEYS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}.items():
        monkeypatch.setenv(name, value)
    # moto keeps its objects for the process, not for the server.
    requests.post(f"http://127.0.0.1:{port}/moto-api/reset", timeout=10).raise_for_status()
    client = boto3.client("s3")
    client.create_bucket(Bucket=BUCKET)
    use_options()
    yield client
    server.stop()


def download(client: Any, folder: Path) -> Path:
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
        for found in page["Contents"]:
            target = folder / found["Key"]
            target.parent.mkdir(parents=True, exist_ok=True)
            client.download_file(BUCKET, found["Key"], str(target))
    return folder / "set"


def test_files_on_s3_behave_as_the_records_need(bucket: Any) -> None:
    check_files(f"s3://{BUCKET}/set")


def test_a_missing_permission_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    body = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
    with refusing_store(body, "application/xml") as url:
        for name, value in {**KEYS, "AWS_ENDPOINT_URL": url}.items():
            monkeypatch.setenv(name, value)
        use_options()
        rights = (
            "s3:ListBucket of the bucket, and s3:GetObject, s3:PutObject and s3:DeleteObject of its objects"
        )
        check_refusal(f"s3://{BUCKET}/set", "An error occurred (", rights, capsys)


@pytest.mark.slow  # Beam makes a client for each operation
def test_a_catalogue_on_s3_is_searched_as_on_a_disk(bucket: Any, tmp_path: Path) -> None:
    check_catalogue(f"s3://{BUCKET}/set", tmp_path)


@pytest.mark.slow
def test_a_bucket_is_bound_to_its_settings(bucket: Any) -> None:
    files, folder = BeamFiles(), f"s3://{BUCKET}/set"
    texts = {"plan/units.jsonl": "{}\n"}
    write_plan(DatasetFolder(files, folder), make_fingerprint(seed=0), texts)
    files.write_text(f"{folder}/plan/units.jsonl", "damaged")
    write_plan(DatasetFolder(files, folder), make_fingerprint(seed=0), texts)
    with pytest.raises(InvalidInputError, match="seed: 0 there, 1 now"):
        write_plan(DatasetFolder(files, folder), make_fingerprint(seed=1), texts)
    assert files.read_text(f"{folder}/plan/units.jsonl") == "{}\n"
    names = ["fingerprint.json", "units.jsonl"]  # no claim is left
    assert files.glob(folder, "plan/*") == [f"{folder}/plan/{name}" for name in names]

    # Another launch has left its claim, and has not come to its fingerprint yet.
    claim = f"s3://{BUCKET}/other/plan/launch-{'0' * 64}.1.part"
    files.write_bytes(claim, [b"\n"])
    with pytest.raises(InvalidInputError, match="another launch, with other settings"):
        write_plan(DatasetFolder(files, f"s3://{BUCKET}/other"), make_fingerprint(seed=0), texts)
    assert files.glob(f"s3://{BUCKET}/other", "plan/*") == [claim]


@pytest.mark.slow  # Beam makes a client for each operation
def test_two_processes_find_in_a_bucket_what_one_finds(
    built: Built, bucket: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    for path in (path for path in built.folder.rglob("*") if path.is_file()):
        bucket.upload_file(str(path), BUCKET, f"set/{path.relative_to(built.folder)}")
    shard = min(built.folder.glob("*.tfrecord-*"), key=lambda path: path.name)
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    capfd.readouterr()
    for damaged in (False, True):
        if damaged:
            bucket.put_object(Bucket=BUCKET, Key=f"set/{shard.name}", Body=bytes(content))
        said = []
        for count in (1, 2):
            assert verify([f"s3://{BUCKET}/set", f"--processes={count}"]) == damaged
            said.append(capfd.readouterr().out)
        assert said[0] == said[1]
        assert ("sha256" in said[0]) == damaged


@pytest.mark.slow  # Beam makes a client for each operation, so a build takes minutes
def test_a_build_on_s3_that_is_killed_goes_on(
    built: Built, world: SampleWorld, bucket: Any, tmp_path: Path
) -> None:
    attempts = killed_build(
        world, f"s3://{BUCKET}/set", tmp_path, "--kill_seed=143", "--most_steps=110", "--most_kills=2"
    )
    assert [json.dumps(attempt["code"]) for attempt in attempts] == ["null", "null", "0"]
    check(attempts, download(bucket, tmp_path), built)
    assert verify([f"s3://{BUCKET}/set"]) == 0
