"""Dataflow in small, from parameters to shards: opt in with -m engines. docs/running.md says what it needs."""

import contextlib
import dataclasses
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from beam_pipeline.jobs.storage import BeamFiles, use_default_options
from beam_pipeline.labels.ontology import DEFAULT_ONTOLOGY
from beam_pipeline.sample_world import SampleWorld
from beam_pipeline.verify import main as verify
from tests.pipelines.conftest import CELLS_PER_SHARD, Built
from tests.pipelines.hosts import Hosts
from tests.pipelines.hosts import serving as serving_hosts
from tests.pipelines.object_stores import serving_bucket
from tests.templates.small_dataflow import run_job
from tests.templates.stand_in import install_boot
from tests.templates.test_parameters import LAUNCHER

pytestmark = [pytest.mark.engines, pytest.mark.timeout(1800)]

ROOT = Path(__file__).resolve().parents[2]
JOB = LAUNCHER[0].partition("=")[2]


@dataclasses.dataclass(frozen=True)
class Cloud:
    """A bucket with the inputs of a build, and the hosts of its images.

    Attributes:
        environment: Leads a process to the bucket, and is all that it needs.
        parameters: What a person gives to the template.
    """

    environment: dict[str, str]
    parameters: list[str]


@pytest.fixture
def cloud(world: SampleWorld, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    pytest.importorskip("gcp_storage_emulator", reason="needs gcp-storage-emulator: tests/requirements.txt")
    with serving_bucket("bucket") as environment, serving_hosts(world) as hosts:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(
            pytest.importorskip("apache_beam.io.gcp.gcsio").auth, "get_service_credentials", lambda _: None
        )
        use_default_options()
        for path in (world.cells_csv, world.osm_extract, DEFAULT_ONTOLOGY):
            BeamFiles().write_bytes(f"gs://bucket/in/{path.name}", [path.read_bytes()])
        yield Cloud(environment, parameters(world, hosts))


def parameters(world: SampleWorld, hosts: Hosts) -> list[str]:
    given = {
        "output": "gs://bucket/set",
        "cells": f"gs://bucket/in/{world.cells_csv.name}",
        "osm": f"gs://bucket/in/{world.osm_extract.name}",
        "ontology": f"gs://bucket/in/{DEFAULT_ONTOLOGY.name}",
        "stac_url": hosts.api.url,
        "collection": hosts.collection,
        "years": ",".join(map(str, world.years)),
        "cells_per_shard": str(CELLS_PER_SHARD),
        # As a form sends what nobody filled in.
        "allow_nodata": "false",
        "area": "",
        "max_scene_cloud": "",
    }
    return [f"--{name}={value}" for name, value in given.items()]


def check_job(
    cloud: Cloud, built: Built, launcher: Sequence[str], workers: Sequence[Sequence[str]], log: Path
) -> None:
    """Launches the job as Google's launcher does, runs it as the service would, and looks at what was written."""
    environment = {"PATH": os.environ["PATH"], **cloud.environment}
    # --no_auth is the only flag that is not the launcher's: the bucket that stands in knows no accounts.
    command = [*launcher, *LAUNCHER, *cloud.parameters, "--no_auth=true"]
    launched = subprocess.run(command, env=environment, cwd=log, capture_output=True, text=True)
    assert launched.returncode == 0, launched.stderr
    files = BeamFiles()
    assert files.glob("gs://bucket/set", "opensentinelmap-*") == []
    assert run_job(JOB, workers, environment, log) == "DONE"
    written = {path.rpartition("/")[2]: path for path in files.glob("gs://bucket/set", "opensentinelmap-*")}
    assert {name: files.read_bytes(path) for name, path in written.items()} == built.shards
    assert verify(["gs://bucket/set"]) == 0


@contextlib.contextmanager
def folders(tmp_path: Path, count: int) -> Iterator[list[Path]]:
    made = [tmp_path / f"staged-{number}" for number in range(count)]
    for folder in made:
        folder.mkdir()
    yield made


def test_a_written_job_runs_on_processes_that_share_the_bucket_only(
    cloud: Cloud, built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an image: Beam's own program starts the workers, in this Python."""
    if shutil.which("go") is None:
        pytest.skip("needs Go, which installs Beam's program that starts workers")
    boot = install_boot(tmp_path)
    own = {
        "TEMPLATE_ENTRY": "build_dataset",
        "PYTHONPATH": str(ROOT),
        "RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT": "1",
    }
    away = Cloud(cloud.environment | own, cloud.parameters)
    workers = [[str(boot), f"--semi_persist_dir={tmp_path}/staged-{number}"] for number in range(2)]
    with folders(tmp_path, 2):
        check_job(away, built, [sys.executable, str(ROOT / "templates/start.py")], workers, tmp_path)
