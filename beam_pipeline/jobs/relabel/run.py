"""Relabels a dataset, and says how it ended."""

from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.jobs.dataset_run import run_to_the_end
from beam_pipeline.jobs.progress import show_files
from beam_pipeline.jobs.relabel.graph import build_graph
from beam_pipeline.jobs.relabel.launch import check_flags, check_relabelling, prepare_relabelling
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
    check_flags(given, options)
    checked = check_relabelling(given)
    pipeline = make_pipeline(options)
    prepare_relabelling(checked, given, pipeline.options)  # a copy, which holds from here on
    settings = checked.settings
    build_graph(pipeline, settings)
    pattern = f"{DATASET_NAME}-*.tfrecord-*"
    showing = show_files(settings.output, pattern, len(checked.source.units), "relabel", "shards")
    source = checked.source.fingerprint.sha256
    return run_to_the_end(pipeline, settings, showing, given.processes, source)
