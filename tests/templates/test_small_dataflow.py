"""Dataflow in small, from parameters to shards: opt in with -m engines. templates/README.md says what it needs."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from beam_pipeline.cells.table import CELLS_FILE
from beam_pipeline.jobs.storage import BeamFiles, use_options
from beam_pipeline.labels.ontology import PUBLISHED, shipped_ontology
from beam_pipeline.sample_world import SampleWorld
from beam_pipeline.select_cells import main as select
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


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """An empty bucket of this name; what leads a process to it, as environment variables."""
    pytest.importorskip("gcp_storage_emulator", reason="needs gcp-storage-emulator: tests/requirements.txt")
    gcsio = pytest.importorskip("apache_beam.io.gcp.gcsio", reason="needs apache-beam[gcp]")
    with serving_bucket("bucket") as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        # Beam keeps what it finds for the process, which is that of other tests too.
        monkeypatch.setattr(gcsio.auth, "get_service_credentials", lambda _: None)
        use_options()
        # GDAL has a client of its own.
        yield environment | {
            "CPL_GS_ENDPOINT": f"{environment['STORAGE_EMULATOR_HOST']}/",
            "GS_NO_SIGN_REQUEST": "YES",
        }


@pytest.fixture
def boot(tmp_path: Path) -> Path:
    if shutil.which("go") is None:
        pytest.skip("needs Go, which installs Beam's program that starts workers")
    return install_boot(tmp_path)


def upload(*paths: Path) -> str:
    """Puts files on the bucket, and returns their names there, separated by commas."""
    for path in paths:
        BeamFiles().write_bytes(f"gs://bucket/in/{path.name}", [path.read_bytes()])
    return ",".join(f"gs://bucket/in/{path.name}" for path in paths)


def parameters(world: SampleWorld, hosts: Hosts) -> list[str]:
    """Parameters that a person gives to the template, their files uploaded."""
    BeamFiles().write_text("gs://bucket/in/ontology.json", shipped_ontology(PUBLISHED))
    given = {
        "output": "gs://bucket/set",
        "cells": upload(world.cells_csv),
        "osm": upload(world.osm_extract),
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


def run_template(environment: dict[str, str], given: list[str], start: Start, log: Path) -> list[int]:
    """Launches a job as Google's launcher does, and runs it as the service would.

    Args:
        environment: Of each process: with an account of its own, it is all that they share.
        given: What a person gives to the template.
        start: Says how processes start.
        log: A folder for what they say.

    Returns:
        How many tokens for the bucket each process asked for, the launcher first.
    """
    with contextlib.ExitStack() as stack:
        accounts = [stack.enter_context(serving_metadata()) for _ in range(1 + WORKERS)]
        environments = [environment | account.environment for account in accounts]
        launched = subprocess.run(
            [*start(0, environments[0]), *LAUNCHER, *given],
            env={"PATH": os.environ["PATH"]} | environments[0],
            cwd=log,
            capture_output=True,
            text=True,
        )
        assert launched.returncode == 0, launched.stderr
        workers = [Worker(start(number, environments[number]), environments[number]) for number in (1, 2)]
        assert run_job(JOB, workers, log) == "DONE"
        return [account.tokens for account in accounts]


def check_dataset(built: Built) -> None:
    files = BeamFiles()
    written = {path.rpartition("/")[2]: path for path in files.glob("gs://bucket/set", "opensentinelmap-*")}
    assert {name: files.read_bytes(path) for name, path in written.items()} == built.shards
    assert verify(["gs://bucket/set"]) == 0


def processes(entry: str, environment: dict[str, str], boot: Path) -> tuple[dict[str, str], Start]:
    """Without an image: Beam's own program starts the workers, in this Python."""
    own = {"TEMPLATE_ENTRY": entry, "PYTHONPATH": str(ROOT), "RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT": "1"}

    def start(number: int, _: dict[str, str]) -> list[str]:
        if number == 0:
            return [sys.executable, str(ROOT / "templates/start.py")]
        return [str(boot), f"--semi_persist_dir={boot.parent}/staged-{number}"]

    return environment | own, start


def test_a_written_build_runs_on_processes_that_share_the_bucket_only(
    bucket: dict[str, str], world: SampleWorld, built: Built, boot: Path, tmp_path: Path
) -> None:
    environment, start = processes("build_dataset", bucket, boot)
    with serving_hosts(world) as hosts:
        tokens = run_template(environment, parameters(world, hosts), start, tmp_path)
    assert all(tokens)  # both workers have used the bucket
    check_dataset(built)


def test_a_written_selection_runs_on_processes_that_share_the_bucket_only(
    bucket: dict[str, str], whole_world: SampleWorld, boot: Path, tmp_path: Path
) -> None:
    maps = ",".join(map(str, whole_world.night_lights)), str(whole_world.land_cover)
    area, here = f"--area={whole_world.region}", str(tmp_path / "cells")
    folders = ["--output", here, "--expanded_dir", here]
    assert select(["--night_lights", maps[0], "--land_cover", maps[1], area, *folders]) == 0
    environment, start = processes("select_cells", bucket, boot)
    given = [
        f"--night_lights={upload(*whole_world.night_lights)}",
        f"--land_cover={upload(whole_world.land_cover)}",
        area,
        *("--output=gs://bucket/cells", "--expanded_dir=gs://bucket/expanded", "--num_cells="),
    ]
    run_template(environment, given, start, tmp_path)
    chosen = BeamFiles().read_text(f"gs://bucket/cells/{CELLS_FILE}")
    assert chosen == Path(here, CELLS_FILE).read_text()


def test_the_image_launches_a_job_and_its_workers_do_it(
    bucket: dict[str, str], world: SampleWorld, built: Built, tmp_path: Path
) -> None:
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

            with serving_hosts(world) as hosts:
                tokens = run_template(bucket, parameters(world, hosts), start, tmp_path)
        assert all(tokens)
        check_dataset(built)
    finally:
        if "IMAGE_STORE" not in os.environ:
            images.buildah("rmi", "--all", "--force")
