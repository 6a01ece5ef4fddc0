"""Runs the verifying of a dataset as a job, and says how it ended."""

import sys
import tempfile
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.audit.dataset import open_audit
from beam_pipeline.audit.report import Report, begin_report, read_report, write_report
from beam_pipeline.audit.shards import UnitAudit
from beam_pipeline.dataset.folder import DatasetFolder
from beam_pipeline.jobs.engines import EngineError, run_job
from beam_pipeline.jobs.runners import make_pipeline
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.jobs.verify.options import VerifySettings, settings_of
from beam_pipeline.jobs.verify.transforms import build_graph
from beam_pipeline.runtime.progress import Progress


def verify_as_job(given: Any, options: PipelineOptions) -> int:
    """Checks the input, runs the job, and prints what it found.

    Args:
        given: Our flags, from `parse_verify_flags`.
        options: Beam's options.

    Returns:
        The exit code: 0, or 1 where something differs or the job failed. On Dataflow 0 says that the job was
        launched, which is not waited for: its report has the findings.

    Raises:
        InvalidInputError: Something given cannot be used; nothing was launched.
    """
    with tempfile.TemporaryDirectory() as here:
        settings = settings_of(given, options, here)
        pipeline = make_pipeline(options)
        files = BeamFiles()
        folder = DatasetFolder(files, settings.dataset)
        part, plan = open_audit(folder)
        begin_report(files, settings.report)
        if plan is None:
            write_report(files, settings.report, Report.of(part.findings))
            return _told(settings)
        build_graph(pipeline, settings, UnitAudit(folder, plan.expected))
        try:
            with Progress(None, "verify"):
                metrics = run_job(pipeline)
        except EngineError as error:
            print(f"error: the job failed on its engine, and nothing was found out: {error}", file=sys.stderr)
            return 1
        if metrics is None:
            print(f"launched: what it finds will be in {settings.report}")
            return 0
        return _told(settings)


def _told(settings: VerifySettings) -> int:
    report = read_report(BeamFiles(), settings.report)
    print("\n".join(report.table))
    return 1 if report.differences else 0
