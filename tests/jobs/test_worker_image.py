"""Workers that could not run the job are found by the name of their image, or end with a sentence."""

import sys
from types import SimpleNamespace

import apache_beam
import pytest

from beam_pipeline import __version__
from beam_pipeline.jobs import stages, worker_image
from beam_pipeline.jobs.build.options import build_settings, parse_build_flags
from beam_pipeline.jobs.engines import EngineError
from beam_pipeline.jobs.report.options import settings_of as report_settings
from beam_pipeline.jobs.worker_image import (
    WorkerVersionError,
    require_extra_on_workers,
    require_package_on_workers,
)
from beam_pipeline.runtime.faults import InvalidInputError

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
BEAM = apache_beam.__version__
DATAFLOW = ["--runner=DataflowRunner"]
FLINK = ["--runner=FlinkRunner", "--flink_master=far:8081"]
GIVE = {"--sdk_container_image": DATAFLOW, "--environment_config": FLINK}
BUILT = "r.example/p/opensentinelmap-build-dataset:"


def looked_at(*words: str) -> None:
    require_package_on_workers(
        parse_build_flags(["--osm=gs://b/a.osm.pbf", "--output=gs://b/set", *words])[1]
    )


@pytest.mark.parametrize("flag", GIVE)
@pytest.mark.parametrize(
    ("image", "more", "message"),
    [
        ("", (), "would lack this package: {flag} is missing. Give the image that templates/build.sh makes"),
        (f"apache/beam_python{HERE}_sdk:{BEAM}", (), "{flag} is Beam's own image"),
        (f"docker.io/apache/beam_python{HERE}_sdk", (), "{flag} is Beam's own image"),
        (f"apache/beam_python{HERE}_sdk:2.60.0", ("--setup_file=s.py",), "{flag} has another Python or Beam"),
        (f"apache/beam_python3.9_sdk:{BEAM}", ("--setup_file=s.py",), "{flag} has another Python or Beam"),
        (
            f"{BUILT}0.0.7-20261129-101500",
            (),
            f"has version 0.0.7 of this package, and the launcher {__version__}",
        ),
    ],
)
def test_an_image_that_cannot_run_the_job_is_refused(
    flag: str, image: str, more: tuple[str, ...], message: str
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        looked_at(*GIVE[flag], *([f"{flag}={image}"] if image else []), *more)
    assert message.replace("{flag}", flag) in str(caught.value)
    assert not image or str(caught.value).endswith(f"Received: {image}")


@pytest.mark.parametrize("flag", GIVE)
@pytest.mark.parametrize(
    ("image", "more"),
    [
        ("r.example/p/mine@sha256:0123", ()),
        (f"{BUILT}{__version__}-20261129-101500", ()),
        (f"{BUILT}mine", ()),
        (f"apache/beam_python{HERE}_sdk:{BEAM}", ("--setup_file=s.py",)),
        (f"apache/beam_python{HERE}_sdk", ("--extra_package=a.whl",)),
        ("", ("--setup_file=s.py",)),
    ],
)
def test_other_images_are_taken(flag: str, image: str, more: tuple[str, ...]) -> None:
    looked_at(*GIVE[flag], *([f"{flag}={image}"] if image else []), *more)


@pytest.mark.parametrize("flag", GIVE)
@pytest.mark.parametrize("image", [f"{BUILT}{__version__}-20261129-101500", f"apache/beam_python{HERE}_sdk"])
def test_an_image_that_lacks_an_extra_is_refused(flag: str, image: str) -> None:
    options = parse_build_flags(["--output=gs://b/set", *GIVE[flag], f"{flag}={image}", "--setup_file=s.py"])[
        1
    ]
    with pytest.raises(
        InvalidInputError, match="--codec pcodec needs the package pcodec on the workers"
    ) as caught:
        require_extra_on_workers(options, "pcodec", "--codec pcodec")
    assert f"in {flag}, or run without a cluster. Received: {image}" in str(caught.value)
    with pytest.raises(InvalidInputError, match="The report needs the package matplotlib on the workers"):
        report_settings(SimpleNamespace(), options)


@pytest.mark.parametrize(
    "words",
    [
        [],
        [*DATAFLOW, "--sdk_container_image=r.example/p/mine:1"],
        [*DATAFLOW, f"--sdk_container_image={BUILT}{__version__}-20261129-101500", "--extra_package=a.whl"],
        [*DATAFLOW, f"--sdk_container_image=apache/beam_python{HERE}_sdk", "--requirements_file=r.txt"],
    ],
)
def test_workers_that_may_have_an_extra_are_taken(words: list[str]) -> None:
    options = parse_build_flags(["--output=gs://b/set", *words])[1]
    require_extra_on_workers(options, "pcodec", "--codec pcodec")


def test_workers_that_are_no_containers_need_no_image() -> None:
    for words in (
        [],
        ["--runner=FlinkRunner"],
        [*FLINK, "--environment_type=PROCESS"],
        [*FLINK, "--environment_type=EXTERNAL", "--environment_config=localhost:50000"],
    ):
        looked_at(*words)


def test_a_worker_of_another_version_ends_as_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    flags = ["--cells=a.csv", "--osm=a.osm.pbf", "--output=out"]
    monkeypatch.setattr(stages.Stage, "stage", "a stage", raising=False)
    stage = stages.Stage(build_settings(*parse_build_flags(flags)))
    stage.setup()
    monkeypatch.setattr(worker_image, "__version__", "0.0.7")
    with pytest.raises(WorkerVersionError, match=f"have version 0.0.7 .* launcher has {__version__}"):
        stage.setup()


@pytest.mark.parametrize(
    "last",
    [
        "ModuleNotFoundError: No module named 'beam_pipeline'",
        "ModuleNotFoundError: No module named 'beam_pipeline.jobs.new' [while running 'x']",
        # Source: apache_beam/runners/worker/bundle_processor.py of Beam 2.77
        "RuntimeError: Pipeline construction environment and pipeline runtime environment are not compatible. If you "
        "use a custom container image, check that the Python interpreter minor version and the Apache Beam version in "
        "your image match the versions used at pipeline construction time. Submission environment: "
        "beam:version:sdk_base:apache/beam_python3.11_sdk:2.77.0. Runtime environment: "
        "beam:version:sdk_base:apache/beam_python3.11_sdk:2.60.0.",
        "beam_pipeline.jobs.worker_image.WorkerVersionError: The workers have version 0.0.7",
    ],
)
def test_a_job_that_fails_by_its_workers_says_what_to_give_them(last: str) -> None:
    said = str(EngineError(f'Traceback (most recent call last):\n  File "x", line 1\n{last}'))
    assert (
        said == f"{last.rstrip('.')}. Give the image that templates/build.sh makes of the launcher's version"
    )
    assert str(EngineError("ValueError: else")) == "ValueError: else"
