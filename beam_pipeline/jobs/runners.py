"""Flags and runners: what every job of ours shares."""

import argparse
import re
import shutil
import sys
import weakref
from collections.abc import Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    DirectOptions,
    GoogleCloudOptions,
    PipelineOptions,
    PortableOptions,
    SetupOptions,
    StandardOptions,
)

from beam_pipeline.jobs.template_flags import as_flags, is_template_launch, refuse_slips
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.flags import FlagParser, RaisingParser, refuse_left_words
from beam_pipeline.runtime.names import path_name

BEAM_FLAGS_HELP = (
    "Beam's flags hold too, e.g. --runner=DataflowRunner --project=... --region=europe-west1 "
    "--temp_location=gs://... --sdk_container_image=... (templates/README.md), or "
    "--direct_running_mode=multi_processing --direct_num_workers=4: "
    "https://beam.apache.org/documentation/runners/capability-matrix/"
)

SEEDS = (-(2**63), 2**63 - 1)
"""The least and the most seed."""

SEVERAL_FILES = "separated by commas; a pattern in quotes stands for all files that match"
"""How a flag's help says that it takes several files."""

_GLOB_CHARACTERS = "*?["  # which Beam's file systems expand, also where they delete
_CLOUD_REGION = re.compile(r"[a-z][a-z0-9-]*\Z")  # e.g. europe-west1; no area and no file name looks so
_LOCAL_RUNNERS = (
    "FnApiRunner",
    "DirectRunner",
    "PrismRunner",
    "BundleBasedDirectRunner",
    "SwitchingDirectRunner",
)
_PORTABLE_RUNNERS = ("PortableRunner", "FlinkRunner", "SparkRunner")


def job_parser(prog: str, description: str) -> FlagParser:
    """Returns a parser for the flags of a job, to which the job adds its own; Beam's are left to Beam.

    Args:
        prog: The command, as a person types it.
        description: What the program does.
    """
    return FlagParser(prog, description, BEAM_FLAGS_HELP)


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
    argv = words
    given, others = parser.parse_known_args(argv)
    options = PipelineOptions(others)
    standard = options.view_as(StandardOptions)
    # DirectRunner first tries to download Prism; a local run must not wait for that unless it is asked for.
    default = "DataflowRunner" if is_template_launch(argv) else "FnApiRunner"
    standard.runner = _runner_name(standard.runner or default)
    setup = options.view_as(SetupOptions)
    if setup.save_main_session is None:
        setup.save_main_session = False  # all that workers run lies in modules that they import
    _refuse_unknown(parser, both, argv, options)
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


def _refuse_unknown(
    parser: argparse.ArgumentParser,
    both: argparse.ArgumentParser,
    argv: Sequence[str],
    options: PipelineOptions,
) -> None:
    """Refuses the words that neither our parser takes nor Beam's.

    Dataflow and the job servers of portable runners have flags of their own, which Beam passes on.
    """
    left = both.parse_known_args(argv)[1]
    flags = {word.partition("=")[0] for word in left if word.startswith("--") and word != "--"}
    dataflow = is_dataflow(options)
    if dataflow:  # what a template's launcher gives of them is not ours to judge
        refuse_slips(flags, (parser if is_template_launch(argv) else both)._option_string_actions)
    if dataflow or options.view_as(StandardOptions).runner in _PORTABLE_RUNNERS:
        for flag in flags:
            both.add_argument(flag, nargs="?")  # with a value or without, as Beam takes them
        left = both.parse_known_args(argv)[1]
    refuse_left_words(left)


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


def runs_locally(options: PipelineOptions) -> bool:
    """Tells whether the job runs on this machine."""
    return str(options.view_as(StandardOptions).runner).rsplit(".", 1)[-1] in _LOCAL_RUNNERS


def is_dataflow(options: PipelineOptions) -> bool:
    """Tells whether the job is handed to Google Cloud Dataflow."""
    return str(options.view_as(StandardOptions).runner).rsplit(".", 1)[-1] == "DataflowRunner"


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
    # Beam notices only when the job is submitted.
    if runner == "PortableRunner" and not options.view_as(PortableOptions).job_endpoint:
        raise InvalidInputError("--runner=PortableRunner needs --job_endpoint=HOST:PORT of a job server")
    try:
        pipeline = beam.Pipeline(options=options)
    except Exception as error:  # of a missing module, of a missing flag, or a cloud's own that Beam asked
        raise InvalidInputError(
            f"--runner, or a flag that it needs, cannot be used: {error}. Received: --runner={runner}"
        ) from error
    # Beam removes its folder behind a run; where the command is refused before, nobody would.
    weakref.finalize(pipeline, shutil.rmtree, pipeline.local_tempdir, ignore_errors=True)
    return pipeline


def _runner_name(given: str) -> str:
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


def output_folder(given: str) -> str:
    """Returns the folder that --output names.

    Raises:
        InvalidInputError: The name would be taken for a pattern where files are listed or deleted.
    """
    if "://" in given and set(given) & set(_GLOB_CHARACTERS):
        raise InvalidInputError(
            f"A URL of --output must hold none of {' '.join(_GLOB_CHARACTERS)}: it would match other folders too. "
            f"Received: {given}"
        )
    return given.rstrip("/")
