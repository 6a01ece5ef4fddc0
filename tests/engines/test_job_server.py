"""Beam's reference job server in a process of its own: a runner behind the Job API, as Flink's is."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from beam_pipeline.build_dataset import main
from beam_pipeline.sample_world import SampleWorld
from tests.engines.conftest import check_verifying
from tests.engines.flink import ROOT, answers, free_ports, wait_for
from tests.pipelines.conftest import CELLS, Built, build
from tests.pipelines.patches_of_sample import make_patches

pytestmark = pytest.mark.engines


@pytest.fixture(scope="module")
def job_server() -> Iterator[str]:
    (port,) = free_ports(1)
    module = "apache_beam.runners.portability.local_job_service_main"
    process = subprocess.Popen([sys.executable, "-m", module, "-p", str(port)])
    try:
        wait_for("the job server", lambda: answers(port))
        yield f"localhost:{port}"
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def worker_pool() -> Iterator[str]:
    (port,) = free_ports(1)
    module = "apache_beam.runners.worker.worker_pool_main"
    process = subprocess.Popen([sys.executable, "-m", module, f"--service_port={port}"], cwd=ROOT)
    try:
        wait_for("the pool", lambda: answers(port))
        yield f"localhost:{port}"
    finally:
        process.terminate()
        process.wait()


def test_verifying_by_a_worker_pool(
    damaged: Path, job_server: str, worker_pool: str, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = ["--runner=PortableRunner", f"--job_endpoint={job_server}"]
    pool = ["--environment_type=EXTERNAL", f"--environment_config={worker_pool}"]
    check_verifying(damaged, [*engine, *pool], capsys)


def test_patches_by_a_worker_pool(
    made_patches: Built,
    world: SampleWorld,
    place_table: Path,
    tmp_path: Path,
    job_server: str,
    worker_pool: str,
) -> None:
    engine = ["--runner=PortableRunner", f"--job_endpoint={job_server}"]
    pool = ["--environment_type=EXTERNAL", f"--environment_config={worker_pool}"]
    other = make_patches(world, tmp_path / "set", "--places", str(place_table), *engine, *pool)
    assert other.code == 0
    assert other.shards == made_patches.shards
    assert other.dataset == made_patches.dataset


def test_job_api(built: Built, world: SampleWorld, tmp_path: Path, job_server: str) -> None:
    flags = ["--runner=PortableRunner", f"--job_endpoint={job_server}", "--environment_type=LOOPBACK"]
    other = build(world, tmp_path / "set", *flags)
    assert other.code == 0
    assert other.shards == built.shards
    assert (other.folder / "dataset.json").read_bytes() == (built.folder / "dataset.json").read_bytes()


def test_the_sample_on_a_job_server_of_this_machine(tmp_path: Path, job_server: str) -> None:
    flags = ["--runner=PortableRunner", f"--job_endpoint={job_server}", "--environment_type=LOOPBACK"]
    output = tmp_path / "set"
    assert main(["--sample", f"--sample_cells={CELLS}", f"--output={output}", *flags]) == 0
    assert Built(output, 0).dataset["complete"]
