"""Relabels a dataset, and says how it ended."""

from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.jobs.build.run import run_to_the_end
from beam_pipeline.jobs.progress import show_files
from beam_pipeline.jobs.relabel.graph import build_graph
from beam_pipeline.jobs.relabel.launch import prepare_relabelling
from beam_pipeline.jobs.runners import make_pipeline, runs_locally
from beam_pipeline.records.shards import DATASET_NAME
from beam_pipeline.runtime.gdal_drivers import require_drawing


def relabel_dataset(given: Any, options: PipelineOptions) -> int:
    """Checks the input, runs the job, prints the closing table and verifies what a local run wrote.

    Args:
        given: Our flags, from `parse_relabel_flags`.
        options: Beam's options.

    Returns:
        The exit code, as of `build_dataset`.

    Raises:
        InvalidInputError: Something given cannot be used; nothing was launched.
    """
    if runs_locally(options):
        require_drawing()
    pipeline = make_pipeline(options)
    options = pipeline.options  # a copy, which holds from here on
    prepared = prepare_relabelling(given, options)
    settings = prepared.settings
    build_graph(pipeline, settings)
    pattern = f"{DATASET_NAME}-*.tfrecord-*"
    showing = show_files(settings.output, pattern, len(prepared.source.units), "relabel", "shards")
    source = prepared.source.fingerprint.sha256
    return run_to_the_end(pipeline, settings, showing, given.processes, source)
