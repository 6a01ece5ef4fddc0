"""Flags of `verify` with a runner -> frozen settings."""

import argparse
import dataclasses
from collections.abc import Sequence
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.audit.report import REPORT_FILE
from beam_pipeline.jobs.given_files import require_google_login, require_reachable
from beam_pipeline.jobs.runners import parse_flags, require_job_server, runs_locally
from beam_pipeline.jobs.worker_image import require_package_on_workers
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.files import join
from beam_pipeline.runtime.flags import FlagParser


@dataclasses.dataclass(frozen=True)
class VerifySettings:
    """Where a job reads and writes.

    Attributes:
        dataset: The folder of the dataset.
        report: The file of its findings.
    """

    dataset: str
    report: str


def parse_verify_flags(
    parser: FlagParser, argv: Sequence[str] | None
) -> tuple[argparse.Namespace, PipelineOptions]:
    """Parses flags, ours and Beam's, and checks what needs no file.

    Args:
        parser: Of our flags.
        argv: Arguments without the program's name; those of the process by default.

    Returns:
        Our flags and Beam's options.

    Raises:
        InvalidInputError: A flag is unknown, malformed, or not for a job.
    """
    parser.set_defaults(dry_run=False)  # Beam's own flag of the name is left to Beam
    given, options = parse_flags(parser, argv)
    if given.processes is not None:
        raise InvalidInputError(
            "--processes is of a run without --runner: a runner has flags of its own, e.g. --direct_num_workers. "
            f"Leave it out. Received: {given.processes}"
        )
    return given, options


def settings_of(given: Any, options: PipelineOptions, here: str) -> VerifySettings:
    """Checks that workers find what they read and write.

    Args:
        given: Our flags.
        options: Beam's options.
        here: A folder for the report of a job whose workers are on this machine.

    Returns:
        The settings of the job.

    Raises:
        InvalidInputError: A worker would lack something.
    """
    require_job_server(options)
    require_package_on_workers(options)
    beside = join(here if runs_locally(options) else given.dataset, REPORT_FILE)
    settings = VerifySettings(given.dataset, given.report or beside)
    require_reachable(
        options,
        [
            ("The dataset", [settings.dataset], "a gs:// folder"),
            ("--report", [settings.report], "a gs:// file"),
        ],
    )
    require_google_login(options, [("--report", settings.report)])
    return settings
