"""Dataflow in small, from parameters to shards: opt in with -m engines. docs/running.md says what it needs."""

import contextlib
import dataclasses
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from beam_pipeline.jobs.storage import BeamFiles, use_default_options
from beam_pipeline.labels.ontology import PUBLISHED, shipped_ontology
from beam_pipeline.sample_world import SampleWorld
from beam_pipeline.verify import main as verify
from tests.pipelines.conftest import CELLS_PER_SHARD, Built
from tests.pipelines.gs_bucket import serving_bucket
from tests.pipelines.hosts import Hosts
from tests.pipelines.hosts import serving as serving_hosts
from tests.templates.metadata_server import serving_metadata
from tests.templates.small_dataflow import Worker, run_job
from tests.templates.stand_in import LAUNCHER as LAUNCHER_PROGRAM
from tests.templates.stand_in import Images, build_image, install_boot, make_stand_ins, missing
from tests.templates.test_parameters import LAUNCHER

pytestmark = [pytest.mark.engines, pytest.mark.timeout(1800)]

ROOT = Path(__file__).resolve().parents[2]
WORKERS = 2
JOB = LAUNCHER[0].partition("=")[2]


@dataclasses.dataclass(frozen=True)
class Cloud:
    """A bucket with the inputs of a build, and the hosts of its images.

    Attributes:
        environment: Leads a process to the bucket.
        parameters: What a person gives to the template.
    """

    environment: dict[str, str]
    parameters: list[str]


@pytest.fixture
def cloud(world: SampleWorld, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    pytest.importorskip("gcp_storage_emulator", reason="needs gcp-storage-emulator: tests/requirements.txt")
    gcsio = pytest.importorskip("apache_beam.io.gcp.gcsio", reason="needs apache-beam[gcp]")
    with serving_bucket("bucket") as bucket, serving_hosts(world) as hosts:
        for name, value in bucket.items():
            monkeypatch.setenv(name, value)
        # Beam keeps what it finds for the process, which is that of other tests too.
        monkeypatch.setattr(gcsio.auth, "get_service_credentials", lambda _: None)
        use_default_options()
        for path in (world.cells_csv, world.osm_extract):
            BeamFiles().write_bytes(f"gs://bucket/in/{path.name}", [path.read_bytes()])
        BeamFiles().write_text("gs://bucket/in/ontology.json", shipped_ontology(PUBLISHED))
        yield Cloud(bucket, parameters(world, hosts))


def parameters(world: SampleWorld, hosts: Hosts) -> list[str]:
    given = {
        "output": "gs://bucket/set",
        "cells": f"gs://bucket/in/{world.cells_csv.name}",
        "osm": f"gs://bucket/in/{world.osm_extract.name}",
        "ontology": "gs://bucket/in/ontology.json",
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


Start = Callable[[int, dict[str, str]], list[str]]
"""Returns the command of a process in an environment: 0 is the launcher, the others are workers."""


def check_job(cloud: Cloud, built: Built, start: Start, log: Path) -> None:
    """Launches the job as Google's launcher does, runs it as the service would, and looks at what was written."""
    with contextlib.ExitStack() as stack:
        # Each process has a machine's account of its own.
        accounts = [stack.enter_context(serving_metadata()) for _ in range(1 + WORKERS)]
        environments = [cloud.environment | account.environment for account in accounts]
        launched = subprocess.run(
            [*start(0, environments[0]), *LAUNCHER, *cloud.parameters],
            env={"PATH": os.environ["PATH"]} | environments[0],
            cwd=log,
            capture_output=True,
            text=True,
        )
        assert launched.returncode == 0, launched.stderr
        files = BeamFiles()
        assert files.glob("gs://bucket/set", "opensentinelmap-*") == []
        workers = [Worker(start(number, environments[number]), environments[number]) for number in (1, 2)]
        assert run_job(JOB, workers, log) == "DONE"
        assert all(account.tokens for account in accounts)  # each of them has used the bucket
    written = {path.rpartition("/")[2]: path for path in files.glob("gs://bucket/set", "opensentinelmap-*")}
    assert {name: files.read_bytes(path) for name, path in written.items()} == built.shards
    assert verify(["gs://bucket/set"]) == 0


def test_a_written_job_runs_on_processes_that_share_the_bucket_only(
    cloud: Cloud, built: Built, tmp_path: Path
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
    here = dataclasses.replace(cloud, environment=cloud.environment | own)

    def start(number: int, _: dict[str, str]) -> list[str]:
        if number == 0:
            return [sys.executable, str(ROOT / "templates/start.py")]
        staged = tmp_path / f"staged-{number}"
        staged.mkdir()
        return [str(boot), f"--semi_persist_dir={staged}"]

    check_job(here, built, start, tmp_path)


def test_the_image_launches_a_job_and_its_workers_do_it(cloud: Cloud, built: Built, tmp_path: Path) -> None:
    """Launcher and workers are containers of one image, each with files of its own."""
    if reason := missing():
        pytest.skip(reason)
    images = Images(Path(os.environ.get("IMAGE_STORE") or tmp_path / "images"))
    try:
        make_stand_ins(images)
        image = build_image(images, "build_dataset", tmp_path)
        with contextlib.ExitStack() as stack:
            containers = [stack.enter_context(images.container(image))[0] for _ in range(1 + WORKERS)]

            def start(number: int, environment: dict[str, str]) -> list[str]:
                program = "/opt/apache/beam/boot" if number else f"/{LAUNCHER_PROGRAM}"
                return images.command(containers[number], environment, program)

            check_job(cloud, built, start, tmp_path)
    finally:
        if "IMAGE_STORE" not in os.environ:
            images.buildah("rmi", "--all", "--force")
