"""Imports published files, and says how it ended."""

from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.jobs.dataset_run import run_to_the_end
from beam_pipeline.jobs.import_published.graph import build_graph
from beam_pipeline.jobs.import_published.launch import check_flags, check_import, prepare_import
from beam_pipeline.jobs.progress import show_files
from beam_pipeline.jobs.runners import make_pipeline
from beam_pipeline.records.shards import DATASET_NAME


def import_published(given: Any, options: PipelineOptions) -> int:
    """Checks the input, runs the job, prints the closing table and verifies what a local run wrote.

    Args:
        given: Our flags, from `parse_import_flags`.
        options: Beam's options.

    Returns:
        The exit code, as of `build_dataset`.

    Raises:
        InvalidInputError: Something given cannot be used; nothing was launched.
    """
    check_flags(given, options)
    checked = check_import(given)
    pipeline = make_pipeline(options)
    prepare_import(checked, given, pipeline.options)  # a copy, which holds from here on
    build_graph(pipeline, checked.settings)
    pattern = f"{DATASET_NAME}-*.tfrecord-*"
    showing = show_files(checked.settings.output, pattern, len(checked.units), "import", "shards")
    return run_to_the_end(pipeline, checked.settings, showing, given.processes)
