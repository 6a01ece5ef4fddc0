"""Other runners write the same bytes. Opt in with -m engines; docs/running.md says what each needs."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from beam_pipeline.sample_world import SampleWorld
from tests.pipelines.conftest import Built, build

pytestmark = pytest.mark.engines


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def job_server() -> Iterator[str]:
    """Beam's reference job server: a runner behind the Job API, as Flink's and Spark's are."""
    port = free_port()
    module = "apache_beam.runners.portability.local_job_service_main"
    process = subprocess.Popen([sys.executable, "-m", module, "-p", str(port)])
    try:
        for _ in range(120):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.5)
        else:
            pytest.fail("the job server does not answer")
        yield f"localhost:{port}"
    finally:
        process.terminate()
        process.wait()


def test_job_api(built: Built, world: SampleWorld, tmp_path: Path, job_server: str) -> None:
    flags = ["--runner=PortableRunner", f"--job_endpoint={job_server}", "--environment_type=LOOPBACK"]
    other = build(world, tmp_path / "set", *flags)
    assert other.code == 0
    assert other.shards == built.shards
    assert (other.folder / "dataset.json").read_bytes() == (built.folder / "dataset.json").read_bytes()


def test_prism(built: Built, world: SampleWorld, tmp_path: Path) -> None:
    location = os.environ.get("PRISM_LOCATION")
    if not location:
        pytest.skip("PRISM_LOCATION names no Prism binary")
    other = build(world, tmp_path / "set", "--runner=PrismRunner", f"--prism_location={location}")
    assert other.code == 0
    assert other.shards == built.shards
    assert (other.folder / "dataset.json").read_bytes() == (built.folder / "dataset.json").read_bytes()
