"""Prism, which `--runner=DirectRunner` is wherever Beam can download it. Opt in with -m engines.

It needs `PRISM_LOCATION`, the name of its binary, or Go, which builds one in minutes and once.
"""

import itertools
import os
import platform
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam
import pytest
from apache_beam.runners.portability.job_server import StopOnExitJobServer
from apache_beam.runners.portability.prism_runner import PrismJobServer, PrismRunner
from apache_beam.utils import shared

from beam_pipeline.jobs.build import transforms
from beam_pipeline.runtime.cache import cache_folder
from beam_pipeline.sample_world import SampleWorld
from tests.engines.conftest import check_verifying, counters
from tests.engines.flink import process_workers
from tests.pipelines.conftest import Built, build

pytestmark = pytest.mark.engines

VERSION = f"v{apache_beam.__version__}"
PACKAGE = f"github.com/apache/beam/sdks/v2/go/cmd/prism@{VERSION}"


@pytest.fixture(scope="module")
def binary() -> Path:
    given = os.environ.get("PRISM_LOCATION")
    if given:
        return Path(given)
    folder = cache_folder(f"engines/prism-{VERSION}")
    if not (folder / "prism").exists():
        if shutil.which("go") is None:
            pytest.skip("PRISM_LOCATION names no Prism binary, and there is no Go to build one")
        environment = {**os.environ, "GOBIN": str(folder)}
        made = subprocess.run(
            ["go", "install", PACKAGE], env=environment, capture_output=True, text=True, check=False
        )
        if made.returncode != 0:
            pytest.skip(f"Go could not build Prism: {' '.join(made.stderr.split())[-300:]}")
    return folder / "prism"


@pytest.fixture(autouse=True)
def own_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beam keeps one Prism a process, the one of the first job's flags."""
    monkeypatch.setattr(PrismRunner, "shared_handle", shared.Shared())


def same(other: Built, built: Built) -> None:
    assert other.code == 0
    assert other.shards == built.shards
    assert (other.folder / "dataset.json").read_bytes() == (built.folder / "dataset.json").read_bytes()


def test_prism(
    built: Built,
    world: SampleWorld,
    tmp_path: Path,
    binary: Path,
    job_servers_stop: list[StopOnExitJobServer],
    capsys: pytest.CaptureFixture[str],
) -> None:
    # Beam itself would give the job up after this second.
    flags = ["--runner=PrismRunner", f"--prism_location={binary}", "--job_server_timeout=1"]
    prism = build(world, tmp_path / "set", *flags)
    same(prism, built)
    assert len(job_servers_stop) == 1
    assert "verified: no difference" in capsys.readouterr().out
    # Where two bundles end at once with a counter that is new to it, Prism keeps that of one.
    # Source: unprocessedPayloads in prism/internal/jobservices/metrics.go of Beam 2.77.0
    counted, exact = counters(prism), counters(built)
    assert counted.keys() == exact.keys()
    assert all(0 < counted[name] <= exact[name] for name in exact if exact[name])


@pytest.mark.usefixtures("job_servers_stop")
def test_verifying(damaged: Path, binary: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check_verifying(damaged, ["--runner=PrismRunner", f"--prism_location={binary}"], capsys)


def test_the_direct_runner_takes_the_prism_that_beam_keeps(
    built: Built,
    world: SampleWorld,
    tmp_path: Path,
    binary: Path,
    job_servers_stop: list[StopOnExitJobServer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    monkeypatch.setattr(PrismJobServer, "BIN_CACHE", str(kept))
    # As Beam's release is named and packed.
    machine = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
    name = f"apache_beam-{VERSION}-prism-{platform.system().lower()}-{machine}"
    with zipfile.ZipFile(kept / f"{name}.zip", "w") as release:
        release.write(binary, name)
    same(build(world, tmp_path / "set", "--runner=DirectRunner"), built)
    assert len(job_servers_stop) == 1
    assert (kept / name).is_file()


def test_a_worker_in_a_process_of_its_own(
    built: Built,
    world: SampleWorld,
    tmp_path: Path,
    binary: Path,
    job_servers_stop: list[StopOnExitJobServer],
) -> None:
    flags, started = process_workers(tmp_path)
    prism = ["--runner=PrismRunner", f"--prism_location={binary}"]
    same(build(world, tmp_path / "set", *prism, *flags), built)
    assert len(job_servers_stop) == 1
    assert len(started.read_text().splitlines()) == 1  # Prism has one worker a job


def test_a_bundle_that_fails_is_done_again_by_the_same_command(
    built: Built,
    world: SampleWorld,
    tmp_path: Path,
    binary: Path,
    job_servers_stop: list[StopOnExitJobServer],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    calls, process = itertools.count(), transforms._Write.process

    def fails_at_the_third(stage: Any, element: Any) -> Iterator[Any]:
        if next(calls) == 2:
            raise MemoryError("the worker is out of memory")
        return process(stage, element)

    prism = ["--runner=PrismRunner", f"--prism_location={binary}"]
    with monkeypatch.context() as patch:
        patch.setattr(transforms._Write, "process", fails_at_the_third)
        assert build(world, tmp_path / "set", *prism).code == 1
    said = capfd.readouterr().err
    assert "error: the job failed on its engine: MemoryError: the worker is out of memory" in said
    assert "Traceback" not in said
    again = build(world, tmp_path / "set", *prism)
    same(again, built)
    assert again.run["stages"]["plan"]["units_committed_before"] >= 2
    assert job_servers_stop
