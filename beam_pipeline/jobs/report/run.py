"""Makes a report as a job, and says how it ended."""

import sys
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.dataset.folder import DatasetFolder
from beam_pipeline.jobs.engines import EngineError, run_job
from beam_pipeline.jobs.report.options import settings_of
from beam_pipeline.jobs.report.transforms import build_graph
from beam_pipeline.jobs.runners import make_pipeline
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.report.source import open_source
from beam_pipeline.runtime.progress import Progress


def report_as_job(given: Any, options: PipelineOptions) -> int:
    """Checks the input, runs the job, and says what it wrote.

    Args:
        given: Our flags, from `parse_report_flags`.
        options: Beam's options.

    Returns:
        The exit code: 0, or 1 where something could not be used or the job failed. On Dataflow 0 says that the job was
        launched, which is not waited for.

    Raises:
        InvalidInputError: Something given cannot be used; nothing was launched.
    """
    settings = settings_of(given, options)
    pipeline = make_pipeline(options)
    settings.require_output(BeamFiles())
    source = open_source(DatasetFolder(BeamFiles(), settings.dataset))
    for _ in source.units():  # a damaged plan is found here, and not by a worker
        pass
    build_graph(pipeline, settings, source.counter(settings.examples))
    try:
        with Progress(None, "report"):
            metrics = run_job(pipeline)
    except EngineError as error:
        print(f"error: the job failed on its engine, and no report was written: {error}", file=sys.stderr)
        return 1
    if metrics is None:
        print(f"launched: the report will be {settings.output}")
        return 0
    print(settings.output)
    problems = _counted(metrics, "problems")
    if problems:
        print(f"error: {problems:,} things could not be used; the page names them", file=sys.stderr)
    return 1 if problems else 0


def _counted(metrics: Any, name: str) -> int:
    return sum(
        counter.result or 0
        for counter in metrics["counters"]
        if (counter.key.metric.namespace, counter.key.metric.name) == ("report", name)
    )
