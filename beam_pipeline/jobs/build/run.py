"""Runs a build, and says how it ended."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.dataset.folder import STORE_FOLDER, UNITS_FILE, DatasetFolder
from beam_pipeline.features.schema import TILE_SUFFIX
from beam_pipeline.jobs.build.graph import build_graph
from beam_pipeline.jobs.build.launch import PreparedBuild, check_flags, prepare_build
from beam_pipeline.jobs.dataset_run import run_to_the_end
from beam_pipeline.jobs.progress import show_files
from beam_pipeline.jobs.runners import make_pipeline, runs_locally
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.records.shards import DATASET_NAME
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
    check_flags(given, options)
    pipeline = make_pipeline(options)
    options = pipeline.options  # a copy, which holds from here on
    prepared = prepare_build(given, options)
    settings = prepared.settings
    build_graph(pipeline, settings, prepared.filling)
    return run_to_the_end(pipeline, settings, _showing(prepared), given.processes)


def _showing(prepared: PreparedBuild) -> AbstractContextManager[None]:
    """Shows how many of the planned units are committed, and before them how many tiles have their features."""
    folder = DatasetFolder(BeamFiles(), prepared.settings.output)
    total = len(folder.read_text(UNITS_FILE).splitlines())

    def tiles(path: Path) -> dict[str, str]:
        there = sum(1 for _ in (path / STORE_FOLDER).glob(f"*{TILE_SUFFIX}"))
        return {"tiles": f"{there} of {prepared.tiles}"} if there < prepared.tiles else {}

    return show_files(folder.path, f"{DATASET_NAME}-*.tfrecord-*", total, "build", "shards", tiles)
