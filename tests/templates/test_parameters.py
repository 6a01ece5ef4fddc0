"""Every flag can be given as Dataflow's template launcher gives parameters: `--name=value`."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    StandardOptions,
    WorkerOptions,
)

from beam_pipeline.cli import main as command
from beam_pipeline.jobs.build import run
from beam_pipeline.jobs.build.options import build_settings, parse_build_flags
from beam_pipeline.jobs.extract.options import parse_extract_flags
from beam_pipeline.jobs.patches.options import parse_patch_flags, patch_settings
from beam_pipeline.jobs.runners import is_dataflow
from beam_pipeline.jobs.select.options import parse_selection_flags
from beam_pipeline.jobs.worker_image import require_package_on_workers
from beam_pipeline.runtime.faults import InvalidInputError
from tests.entries import ENTRIES

LAUNCHER = [
    "--template_location=gs://bucket/staging/template_launches/1/job_object",
    "--runner=DataflowRunner",
    "--project=project",
    "--region=europe-west1",
    "--job_name=build-1",
    "--temp_location=gs://bucket/tmp",
    "--staging_location=gs://bucket/staging",
    "--machine_type=n2-highmem-4",
    "--max_num_workers=50",
    "--num_workers=2",
    "--network=default",
    "--subnetwork=regions/europe-west1/subnetworks/default",
    "--service_account_email=worker@project.iam.gserviceaccount.com",
    "--sdk_container_image=europe-docker.pkg.dev/project/repository/opensentinelmap:1",
    '--labels={"goog-dataflow-provided-template-type": "flex"}',
    "--experiments=use_runner_v2",
]
"""The flags that Google's launcher gives beside the template's parameters, as people's logs show them."""

NEEDED = {
    "build": ["--output=gs://bucket/set", "--osm=gs://bucket/a.osm.pbf"],
    "select": [
        "--night_lights=gs://bucket/vnl.tif",
        "--land_cover=gs://bucket/lc.tif",
        "--output=gs://bucket/cells",
    ],
    "extract": ["--output=gs://bucket/features", "--osm=gs://bucket/a.osm.pbf"],
    "patches": ["--places=gs://bucket/places.csv", "--output=gs://bucket/set"],
}
PARSE: dict[str, Callable[[Sequence[str]], tuple[argparse.Namespace, Any]]] = {
    "build": parse_build_flags,
    "select": parse_selection_flags,
    "extract": parse_extract_flags,
    "patches": parse_patch_flags,
}


def flags_of_kind(job: str, *, switches: bool) -> list[str]:
    actions = ENTRIES[job].parser._option_string_actions.items()
    own = {flag: action for flag, action in actions if flag.startswith("--")}
    return [flag for flag, action in own.items() if (action.nargs == 0) is switches]


SWITCHES = [
    (job, flag)
    for job in PARSE
    for flag in flags_of_kind(job, switches=True)
    if flag not in ("--help", "--version")
]
VALUES = [(job, flag) for job in PARSE for flag in flags_of_kind(job, switches=False)]


def given(job: str, *more: str, launcher: Sequence[str] = LAUNCHER) -> dict[str, object]:
    return vars(PARSE[job]([*NEEDED[job], *launcher, *more])[0])


def settle(job: str, words: Sequence[str]) -> None:
    """Reads flags and checks them as far as no input is looked at."""
    flags, options = PARSE[job](words)
    if job == "build":
        build_settings(flags, options)
    if job == "patches":
        patch_settings(flags, options)


@pytest.mark.parametrize(("job", "flag"), SWITCHES)
def test_a_switch_takes_true_and_false(job: str, flag: str) -> None:
    on, off = given(job, flag), given(job)
    assert on != off
    for launcher in (LAUNCHER, []):
        assert given(job, f"{flag}=true", launcher=launcher) == given(job, f"{flag}=True") == on
        assert given(job, f"{flag}=false", launcher=launcher) == given(job, f"{flag}=") == off
        with pytest.raises(InvalidInputError, match=f"{flag} is a switch: true or false.* {flag}=1"):
            given(job, f"{flag}=1", launcher=launcher)


@pytest.mark.parametrize("job", PARSE)
def test_what_a_template_leaves_empty_is_not_given(job: str) -> None:
    empty = [f"{flag}=" for name, flag in VALUES if name == job]
    assert len(empty) > 5
    own = [flag.partition("=")[0] + "=" for flag in NEEDED[job]]
    assert given(job, *(flag for flag in empty if flag not in own)) == given(job)
    for flag in own:
        others = [word for word in NEEDED[job] if not word.startswith(flag)]
        with pytest.raises(InvalidInputError, match=f"{flag[:-1]} is missing"):
            settle(job, [*others, flag, *LAUNCHER])


def test_on_a_command_line_an_empty_variable_is_no_default() -> None:
    with pytest.raises(InvalidInputError, match="ontology: is empty"):
        given("build", "--ontology=", launcher=[])


def test_switches_of_beam_have_opposites() -> None:
    for words, public in (
        (["--use_public_ips=false"], False),
        (["--no_use_public_ips=true"], False),
        (["--no_use_public_ips=false"], True),
        (["--use_public_ips=true"], True),
        (["--use_public_ips="], None),
    ):
        _, options = parse_build_flags([*NEEDED["build"], *LAUNCHER, *words])
        assert options.view_as(WorkerOptions).use_public_ips is public, words


def test_a_template_runs_on_dataflow_whether_the_launcher_says_so_or_not() -> None:
    launcher = [flag for flag in LAUNCHER if not flag.startswith("--runner")]
    for words in (launcher, LAUNCHER):
        assert is_dataflow(parse_build_flags([*NEEDED["build"], *words])[1])
    local = parse_build_flags([*NEEDED["build"], *LAUNCHER, "--runner=FnApiRunner"])[1]
    assert local.view_as(StandardOptions).runner == "FnApiRunner"


def test_flags_that_only_the_service_knows_reach_the_job() -> None:
    service = [
        "--additional_experiments=upload_graph",
        '--additional_user_labels={"team": "maps"}',
        "--launcher_machine_type=n1-standard-1",
        "--some_day",
    ]
    for launcher in (LAUNCHER, ["--runner=DataflowRunner"]):
        _, options = parse_build_flags([*NEEDED["build"], *launcher, *service])
        passed = options.get_all_options(retain_unknown_options=True)
        assert passed["additional_experiments"] == "upload_graph"
        assert json.loads(passed["additional_user_labels"]) == {"team": "maps"}
        assert passed["some_day"] is True
    # Nobody else has them.
    with pytest.raises(InvalidInputError, match="Unknown flags: --additional_experiments"):
        parse_build_flags([*NEEDED["build"], service[0]])


@pytest.mark.parametrize(
    ("slip", "meant"),
    [
        ("--cels=gs://bucket/cells.csv", "--cells"),
        ("--year=2019", "--years"),
        ("--ontologie=gs://b/o.json", "--ontology"),
    ],
)
def test_a_slip_of_our_flags_is_refused_on_dataflow_too(slip: str, meant: str) -> None:
    for launcher in (LAUNCHER, ["--runner=DataflowRunner"]):
        with pytest.raises(InvalidInputError, match=f"Unknown flags: .* Is {meant} meant"):
            given("build", slip, launcher=launcher)


def test_a_slip_of_beams_flags_is_refused_but_of_the_launcher() -> None:
    """Whose flags are not ours to judge: a new one must not end all templates."""
    with pytest.raises(InvalidInputError, match="Is --max_num_workers meant"):
        given("build", "--max_workers=5", launcher=["--runner=DataflowRunner"])
    given("build", "--max_workers=5")


def test_the_launchers_flags_are_beams() -> None:
    _, options = parse_build_flags([*NEEDED["build"], *LAUNCHER])
    cloud = options.view_as(GoogleCloudOptions)
    assert (cloud.job_name, cloud.region) == ("build-1", "europe-west1")
    assert json.loads(cloud.labels[0]) == {"goog-dataflow-provided-template-type": "flex"}
    assert options.view_as(WorkerOptions).max_num_workers == 50


def test_a_list_with_commas_is_one_value() -> None:
    flags = given("build", "--years=2018,2020-2021", "--area=-9.5,38.6,-9.0,38.9", "--bad_scl=3,8,9")
    assert (flags["years"], flags["area"], flags["bad_scl"]) == (
        "2018,2020-2021",
        "-9.5,38.6,-9.0,38.9",
        "3,8,9",
    )


def test_workers_without_this_package_are_refused_before_launch() -> None:
    local = parse_build_flags(NEEDED["build"])[1]
    require_package_on_workers(local)
    image = [flag for flag in LAUNCHER if not flag.startswith("--sdk_container_image")]
    bare = parse_build_flags([*NEEDED["build"], *image])[1]
    with pytest.raises(InvalidInputError, match="lack this package: --sdk_container_image is missing"):
        require_package_on_workers(bare)
    for brought in (
        ["--sdk_container_image=image:1"],
        ["--setup_file=./setup.py"],
        ["--extra_package=a.whl"],
    ):
        require_package_on_workers(parse_build_flags([*NEEDED["build"], *image, *brought])[1])


def test_beam_reads_a_command_line_that_it_understands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it checks buckets it takes the process's own, and a switch with a value would end the process."""
    monkeypatch.setattr(sys, "argv", ["start.py", *NEEDED["build"], *LAUNCHER, "--no_auth=true"])
    with pytest.raises(SystemExit):
        PipelineOptions().view_as(GoogleCloudOptions)
    parse_build_flags(None)
    assert PipelineOptions().view_as(GoogleCloudOptions).no_auth is True


def test_the_command_of_all_programs_leaves_beam_such_a_line_too(monkeypatch: pytest.MonkeyPatch) -> None:
    words = [*NEEDED["build"], *LAUNCHER, "--no_auth=true", "--allow_nodata=false"]
    monkeypatch.setattr(sys, "argv", ["opensentinelmap", "build", *words])
    seen: list[object] = []

    def launched(given: argparse.Namespace, _options: PipelineOptions) -> int:
        seen.append((given.output, given.allow_nodata))
        seen.append(PipelineOptions().view_as(GoogleCloudOptions).no_auth)
        return 0

    monkeypatch.setattr(run, "build_dataset", launched)
    assert command() == 0
    assert seen == [("gs://bucket/set", False), True]


def test_no_class_of_scl_is_a_word_as_an_empty_value_is_not_given() -> None:
    for word, classes in (("none", ()), ("", (1, 3, 8, 9, 10)), ("3", (3,))):
        flags, options = PARSE["build"]([*NEEDED["build"], *LAUNCHER, f"--bad_scl={word}"])
        assert build_settings(flags, options).filters.bad_scl == classes
