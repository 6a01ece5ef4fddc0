"""Flags and runners: what every job of ours shares."""

import argparse
import ipaddress
import re
import shutil
import sys
import urllib.parse
import weakref
from collections.abc import Sequence
from typing import Any

import apache_beam as beam
import grpc
from apache_beam.options.pipeline_options import (
    DirectOptions,
    FlinkRunnerOptions,
    GoogleCloudOptions,
    PipelineOptions,
    PortableOptions,
    SetupOptions,
    StandardOptions,
    TestOptions,
)
from apache_beam.runners.portability.flink_runner import MAGIC_HOST_NAMES

from beam_pipeline.jobs.template_flags import as_flags, is_template_launch, refuse_slips
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.flags import FlagParser, RaisingParser, refuse_left_words
from beam_pipeline.runtime.names import path_name

BEAM_FLAGS_HELP = (
    "Beam's flags hold too, e.g. --runner=DataflowRunner --project=... --region=europe-west1 "
    "--temp_location=gs://... --sdk_container_image=... (templates/README.md): "
    "https://beam.apache.org/documentation/runners/capability-matrix/"
)

SEEDS = (-(2**63), 2**63 - 1)
"""The least and the most seed."""

SEVERAL_FILES = "separated by commas; a pattern in quotes stands for all files that match"
"""Words by which a flag's help says that it takes several files."""

_LONGEST_CONNECT_S = 20
_LONGEST_JOB_S = 366 * 24 * 3600
_GLOB_CHARACTERS = "*?["  # which Beam's file systems expand, also where they delete
_CLOUD_REGION = re.compile(r"[a-z][a-z0-9-]*\Z")  # e.g. europe-west1; no area and no file name looks so
_IN_PROCESS = ("FnApiRunner", "DirectRunner", "BundleBasedDirectRunner", "SwitchingDirectRunner")
_DIRECT_FLAGS = ("--direct_num_workers", "--direct_running_mode")
_DRY_RUN = "--dry_run"
LAUNCHERS_OWN = "LOOPBACK"
"""Workers in the process that submitted the job. Source: Beam's help of --environment_type."""

PORTABLE_RUNNERS = ("PortableRunner", "FlinkRunner", "SparkRunner")


def job_parser(prog: str, description: str) -> FlagParser:
    """Returns a parser for the flags of a job, to which the job adds its own; Beam's are left to Beam.

    Args:
        prog: The command, as a person types it.
        description: What the program does.
    """
    parser = FlagParser(prog, description, BEAM_FLAGS_HELP)
    parser.add_argument(
        _DRY_RUN,
        nargs="?",
        const=True,
        default=False,
        type=_truth,
        metavar="true|false",
        help="print the plan and end: nothing is launched and nothing written but caches",
    )
    return parser


def _truth(text: str) -> bool:
    """Parses the value of a flag that stands without one too, as Beam's flag of the name does not."""
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"true or false is meant. Received: {text}")
    return text.lower() == "true"


def add_area_flag(group: argparse._ActionsContainer, does: str) -> None:
    """Adds the flag of an area.

    Args:
        group: A parser or a group of its flags.
        does: What is done with the area, in words that go before it.
    """
    group.add_argument(
        "--area",
        type=path_name,
        metavar="BBOX|GEOJSON",
        help=f"{does} min_lon,min_lat,max_lon,max_lat or a GeoJSON polygon",
    )


def check_ranges(given: argparse.Namespace, **ranges: tuple[float, float]) -> None:
    """Refuses numbers beyond their least and most.

    Args:
        given: Our flags; one that was not given is None.
        ranges: (least, most) by the flag's name.

    Raises:
        InvalidInputError: One lies beyond; the message names it.
    """
    for name, (least, most) in ranges.items():
        value = getattr(given, name)
        if value is not None and not least <= value <= most:
            raise InvalidInputError(f"--{name} must lie in {least} to {most}. Received: {value}")


def parse_flags(
    parser: argparse.ArgumentParser, argv: Sequence[str] | None
) -> tuple[argparse.Namespace, PipelineOptions]:
    """Parses a job's flags, leaves the others to Beam, and refuses what Beam does not know either.

    Args:
        parser: Knows the job's flags.
        argv: Arguments without the program's name; those of the process by default.

    Returns:
        The job's flags and Beam's options. Beam's defaults hold but for the runner, which is the in-process
        FnApiRunner, and that no main session is pickled on Dataflow. Workers get Beam's options only.

    Raises:
        InvalidInputError: A flag is unknown or malformed, or asks for a mode that is known to lose records.
    """
    both = _with_beams(parser)
    words = as_flags(_join_areas(sys.argv[1:] if argv is None else argv), both._option_string_actions)
    if argv is None:
        sys.argv[1:] = words  # Beam reads it too, to look at buckets, and ends the process at --switch=true
    # Likewise, its flag of the name needs a value.
    sys.argv[1:] = [f"{_DRY_RUN}=true" if word == _DRY_RUN else word for word in sys.argv[1:]]
    argv = words
    given, others = parser.parse_known_args(argv)  # first: its help is ours
    left = both.parse_known_args(argv)[1]  # before Beam reads a value, which ends the process at a wrong one
    options = PipelineOptions(others)
    if given.dry_run:  # ours ends before; Beam's keeps Dataflow from launching what a test translates
        options.view_as(TestOptions).dry_run = True
    standard = options.view_as(StandardOptions)
    # DirectRunner first tries to download Prism; a local run must not wait for that unless it is asked for. And Prism,
    # where Beam has it, would pass over a wish for several processes.
    several = options.view_as(DirectOptions).direct_running_mode == "multi_processing"
    default = "DataflowRunner" if is_template_launch(argv) else "FnApiRunner"
    standard.runner = _full_name(standard.runner or default)
    if standard.runner == "DirectRunner" and several:
        standard.runner = "FnApiRunner"
    _refuse_runner(options)
    # Beam stops listening to Prism and to its reference job server after it, and takes the job for failed.
    portable = options.view_as(PortableOptions)
    portable.job_server_timeout = max(int(portable.job_server_timeout), _LONGEST_JOB_S)
    setup = options.view_as(SetupOptions)
    if setup.save_main_session is None:
        setup.save_main_session = False  # all that workers run lies in modules that they import
    if is_dataflow(options):  # what a template's launcher gives of the service's flags is not ours to judge
        refuse_slips(_flags_of(left), (parser if is_template_launch(argv) else both)._option_string_actions)
    if is_dataflow(options) or standard.runner in PORTABLE_RUNNERS:  # these have flags that Beam passes on
        for flag in _flags_of(left):
            both.add_argument(flag, nargs="?")  # with a value or without, as Beam takes them
        left = both.parse_known_args(argv)[1]
    refuse_left_words(left)
    region = options.view_as(GoogleCloudOptions).region
    if region and not _CLOUD_REGION.match(region):
        raise InvalidInputError(
            "--region is Beam's, and takes a Google Cloud region such as europe-west1: an area is --area. "
            f"Received: --region={region}"
        )
    if options.view_as(DirectOptions).direct_running_mode == "multi_threading":
        raise InvalidInputError(
            "--direct_running_mode=multi_threading silently loses records when elements are large. "
            "Leave it out, or use --direct_running_mode=multi_processing --direct_num_workers=N."
        )
    return given, options


def _refuse_runner(options: PipelineOptions) -> None:
    runner = str(options.view_as(StandardOptions).runner)
    known = [name for name in StandardOptions.KNOWN_RUNNER_NAMES if not name.startswith("Test")]
    if (
        "." not in runner and runner not in StandardOptions.KNOWN_RUNNER_NAMES
    ):  # others are named with their module
        raise InvalidInputError(
            f"--runner names no runner that Beam knows. Give one of {', '.join(sorted(known))}. "
            f"Received: --runner={runner}"
        )


def require_job_server(options: PipelineOptions) -> None:
    """Refuses a runner without the address that it hands the job to.

    Args:
        options: From `parse_flags`.

    Raises:
        InvalidInputError: Beam itself would notice only when the job is submitted.
    """
    if runner_name(options) == "PortableRunner" and not options.view_as(PortableOptions).job_endpoint:
        raise InvalidInputError("--runner=PortableRunner needs --job_endpoint=HOST:PORT of a job server")


def names_processes(options: PipelineOptions) -> list[str]:
    """Returns those of Beam's flags of local processes that were given, whatever their values."""
    # What equals a default is not to be seen in the options.
    return sorted({*_DIRECT_FLAGS} & _flags_of(options._flags))


def _flags_of(words: Sequence[str]) -> set[str]:
    return {word.partition("=")[0] for word in words if word.startswith("--") and word != "--"}


def _with_beams(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Returns a parser that knows our flags and Beam's.

    Both are asked at once: which word a flag takes depends on what stands between them. Of a word that no flag takes
    Beam itself only warns.
    """
    beams: list[argparse.ArgumentParser] = []
    PipelineOptions([]).get_all_options(add_extra_args_fn=beams.append)  # Beam's way to its own parser
    return RaisingParser(
        parents=[*beams, parser], add_help=False, allow_abbrev=False, conflict_handler="resolve"
    )


def runner_name(options: PipelineOptions) -> str:
    """Returns a runner's name without its module, e.g. "FlinkRunner"."""
    return str(options.view_as(StandardOptions).runner).rpartition(".")[2]


def is_in_process(options: PipelineOptions) -> bool:
    """Tells whether the runner is part of this process, though it may start others."""
    return runner_name(options) in _IN_PROCESS


def in_processes(options: PipelineOptions) -> bool:
    """Tells whether a runner that is part of this process starts others for the work."""
    direct: Any = options.view_as(DirectOptions)
    return is_in_process(options) and direct.direct_running_mode == "multi_processing"


def runs_locally(options: PipelineOptions) -> bool:
    """Tells whether the workers are on this machine and see its files.

    So they are of an engine that is started here or listens at a loopback address, unless they are containers.
    """
    if is_in_process(options):
        return True
    environment = environment_type(options)
    if environment == LAUNCHERS_OWN:
        return True
    endpoint = options.view_as(PortableOptions).job_endpoint
    master = str(options.view_as(FlinkRunnerOptions).flink_master).strip()
    if endpoint:
        here = endpoint == "embed" or _is_loopback(endpoint)
    elif runner_name(options) == "FlinkRunner":
        here = master in MAGIC_HOST_NAMES or _is_loopback(master)
    else:
        here = runner_name(options) == "PrismRunner"
    return here and environment != "DOCKER"


def environment_type(options: PipelineOptions) -> str:
    """Returns what kind of workers an engine starts, as Beam makes it out: "LOOPBACK", "DOCKER", ..."""
    portable = options.view_as(PortableOptions)
    if portable.environment_type:
        return str(portable.environment_type).upper()
    runner, master = runner_name(options), str(options.view_as(FlinkRunnerOptions).flink_master)
    own = runner == "PrismRunner" or (runner == "FlinkRunner" and master in MAGIC_HOST_NAMES)
    return LAUNCHERS_OWN if own and not portable.output_executable_path else "DOCKER"


def _is_loopback(address: str) -> bool:
    """Tells whether HOST:PORT, a URL of it perhaps, is on this machine."""
    host = urllib.parse.urlsplit(address if "://" in address else f"//{address}").hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return False


def is_dataflow(options: PipelineOptions) -> bool:
    """Tells whether the job is handed to Google Cloud Dataflow."""
    return runner_name(options) == "DataflowRunner"


def make_pipeline(options: PipelineOptions) -> beam.Pipeline:
    """Makes an empty pipeline, and so has Beam check its own flags before anything of ours is written.

    Args:
        options: From `parse_flags`.

    Returns:
        The pipeline.

    Raises:
        InvalidInputError: There is no such runner, or it lacks a flag.
    """
    runner = options.view_as(StandardOptions).runner
    endpoint = options.view_as(PortableOptions).job_endpoint
    # Beam notices a missing server only after five minutes.
    if runner in PORTABLE_RUNNERS and endpoint and endpoint != "embed":
        _require_answer(endpoint)
    try:
        pipeline = beam.Pipeline(options=options)
    except Exception as error:  # of a missing module, of a missing flag, or a cloud's own that Beam asked
        raise InvalidInputError(
            f"--runner, or a flag that it needs, cannot be used: {error}. Received: --runner={runner}"
        ) from error
    # Beam removes its folder behind a run; where the command is refused before, nobody would.
    weakref.finalize(pipeline, shutil.rmtree, pipeline.local_tempdir, ignore_errors=True)
    return pipeline


def _require_answer(endpoint: str) -> None:
    channel = grpc.insecure_channel(
        endpoint
    )  # left to be collected: closed, its thread would end with a traceback
    ready = grpc.channel_ready_future(channel)
    try:
        ready.result(_LONGEST_CONNECT_S)
    except grpc.FutureTimeoutError as error:
        raise InvalidInputError(
            f"--job_endpoint must be HOST:PORT of a job server, and none answers there within {_LONGEST_CONNECT_S} "
            f"seconds. Received: {endpoint}"
        ) from error
    finally:
        ready.cancel()


def _full_name(given: str) -> str:
    """Returns the full name of a runner: Beam takes "dataflow" for DataflowRunner."""
    names = {name.lower(): name for name in StandardOptions.KNOWN_RUNNER_NAMES}
    lower = given.lower()
    return names.get(lower) or names.get(f"{lower}runner") or given


def _join_areas(argv: Sequence[str]) -> list[str]:
    """Writes `--area AREA` as `--area=AREA`.

    argparse would take the minus of `--area -9.5,38.6,-9.0,38.9` for that of a flag. `--region`, which is Beam's, is
    joined likewise, so that an area given to it can be told from no value.
    """
    flags: list[str] = []
    for argument in argv:
        if flags and flags[-1] in ("--area", "--region") and not argument.startswith("--"):
            argument = f"{flags.pop()}={argument}"
        flags.append(argument)
    return flags


def output_folder(given: str, flag: str = "--output") -> str:
    """Returns the folder that --output, or another flag, names.

    Raises:
        InvalidInputError: The name would be taken for a pattern where files are listed or deleted.
    """
    if "://" in given and set(given) & set(_GLOB_CHARACTERS):
        raise InvalidInputError(
            f"A URL of {flag} must hold none of {' '.join(_GLOB_CHARACTERS)}: it would match other folders too. "
            f"Received: {given}"
        )
    return given.rstrip("/")
