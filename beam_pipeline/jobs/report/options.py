"""Flags of `report` with a runner -> frozen settings."""

import argparse
from collections.abc import Sequence
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.jobs.given_files import require_google_login, require_reachable
from beam_pipeline.jobs.runners import parse_flags, require_job_server
from beam_pipeline.jobs.worker_image import require_package_on_workers
from beam_pipeline.report.settings import ReportSettings
from beam_pipeline.runtime.flags import FlagParser


def parse_report_flags(
    parser: FlagParser, argv: Sequence[str] | None
) -> tuple[argparse.Namespace, PipelineOptions]:
    """Parses flags, ours and Beam's.

    Args:
        parser: Of our flags.
        argv: Arguments without the program's name; those of the process by default.

    Returns:
        Our flags and Beam's options.

    Raises:
        InvalidInputError: A flag is unknown or malformed.
    """
    parser.set_defaults(dry_run=False)  # Beam's own flag of the name is left to Beam
    return parse_flags(parser, argv)


def settings_of(given: Any, options: PipelineOptions) -> ReportSettings:
    """Checks that workers find what they read and write.

    Args:
        given: Our flags.
        options: Beam's options.

    Raises:
        InvalidInputError: A worker would lack something.
    """
    require_job_server(options)
    require_package_on_workers(options)
    settings = ReportSettings.of_flags(given)
    require_reachable(
        options,
        [
            ("The dataset", [settings.dataset], "a gs:// folder"),
            ("--output", [settings.output], "a gs:// file"),
        ],
    )
    require_google_login(options, [("--output", settings.output)])
    return settings
