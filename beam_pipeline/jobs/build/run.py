"""Runs a build, and says how it ended."""

import sys
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.audit.dataset import verify_dataset
from beam_pipeline.dataset.folder import DatasetFolder
from beam_pipeline.dataset.run_record import add_stage_metrics
from beam_pipeline.dataset.settings import BuildSettings
from beam_pipeline.jobs.build.closing_table import closing_table
from beam_pipeline.jobs.build.graph import build_graph
from beam_pipeline.jobs.build.launch import prepare_build
from beam_pipeline.jobs.build.progress import show_progress
from beam_pipeline.jobs.runners import is_dataflow, make_pipeline, runs_locally
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.runtime.faults import Fault, InvalidInputError
from beam_pipeline.runtime.gdal_drivers import require_drawing


def build_dataset(given: Any, options: PipelineOptions) -> int:
    """Checks the input, runs the job, prints the closing table and verifies what a local run wrote.

    Args:
        given: Our flags, from `parse_build_flags`.
        options: Beam's options.

    Returns:
        The exit code: 0, or 1 where something is missing, empty or not what it must be. On Dataflow 0 says that the
        job was launched: it outlives its launcher, and the last step of its graph describes the dataset.

    Raises:
        InvalidInputError: Something given cannot be used; nothing was launched.
    """
    if runs_locally(options):
        require_drawing()
    pipeline = make_pipeline(options)
    settings = prepare_build(given, options)
    build_graph(pipeline, settings)
    metrics = _run(pipeline, settings)
    if metrics is None:
        return 0
    folder = DatasetFolder(BeamFiles(), settings.output)
    add_stage_metrics(folder, metrics)
    table, complete = closing_table(folder)
    print(table, flush=True)
    verified = _verify(folder) if runs_locally(options) else True
    return 0 if complete and verified else 1


def _run(pipeline: beam.Pipeline, settings: BuildSettings) -> Any:
    """Runs the job and returns its metrics; None from Dataflow, which is not waited for."""
    with show_progress(settings.output):
        result = pipeline.run()
        if is_dataflow(pipeline.options):
            return None
        result.wait_until_finish()
    return result.metrics().query()


def _verify(folder: DatasetFolder) -> bool:
    try:
        findings = verify_dataset(folder)
    except (InvalidInputError, Fault) as error:
        print(f"error: cannot be verified: {error}", file=sys.stderr)
        return False
    print(f"verified: {findings.line()}")
    if findings.kinds:
        print(findings.table())
    return not findings.kinds
