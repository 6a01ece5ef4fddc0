"""Runs a build, and says how it ended."""

import datetime
import functools
import sys
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.audit.dataset import verify_dataset
from beam_pipeline.audit.processes import ProcessLost
from beam_pipeline.dataset.closing import close_dataset
from beam_pipeline.dataset.commits import all_committed
from beam_pipeline.dataset.folder import UNITS_FILE, DatasetFolder
from beam_pipeline.dataset.run_record import add_stage_metrics
from beam_pipeline.dataset.settings import BuildSettings
from beam_pipeline.dataset.units import parse_units
from beam_pipeline.jobs.build.closing_table import closing_table
from beam_pipeline.jobs.build.graph import build_graph
from beam_pipeline.jobs.build.launch import check_flags, prepare_build
from beam_pipeline.jobs.build.progress import show_progress
from beam_pipeline.jobs.engines import EngineError, run_job
from beam_pipeline.jobs.runners import make_pipeline, runs_locally
from beam_pipeline.jobs.storage import BeamFiles, use_options
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
    check_flags(given, options)
    pipeline = make_pipeline(options)
    options = pipeline.options  # a copy, which holds from here on
    settings = prepare_build(given, options)
    build_graph(pipeline, settings)
    folder = DatasetFolder(BeamFiles(), settings.output)
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    try:
        with show_progress(settings.output):
            metrics = run_job(pipeline)
    except EngineError as error:
        if not _is_closed(folder, settings, started, error):
            return 1
    else:
        if metrics is None:
            return 0
        add_stage_metrics(folder, metrics)
    table, complete = closing_table(folder)
    print(table, flush=True)
    verified = _verify(folder, options, given.processes) if runs_locally(options) else True
    return 0 if complete and verified else 1


def _is_closed(folder: DatasetFolder, settings: BuildSettings, started: str, error: EngineError) -> bool:
    """Says that the job has failed, and closes the dataset if all else is done.

    Args:
        folder: The dataset's folder.
        settings: The settings of the job.
        started: When the job was launched, ISO 8601.
        error: The engine's own cause.
    """
    units = parse_units(folder.read_bytes(UNITS_FILE))
    if all_committed(folder, units, settings.fingerprint):
        print(
            f"the job failed behind its last shard, so its dataset is closed here: {error}", file=sys.stderr
        )
        close_dataset(folder, settings, started)
        return True
    done = len({unit.name for unit in units} & set(folder.shards()))
    print(
        f"error: the job failed on its engine: {error}. Of {len(units)} shards {done} are committed in {folder.path}: "
        "given again, the same command goes on with the others",
        file=sys.stderr,
    )
    return False


def _verify(folder: DatasetFolder, options: PipelineOptions, processes: int | None) -> bool:
    ready = functools.partial(use_options, **options.get_all_options(drop_default=True))
    try:
        findings = verify_dataset(folder, processes, ready)
    except (InvalidInputError, Fault, ProcessLost) as error:
        print(f"error: cannot be verified: {error}", file=sys.stderr)
        return False
    print(f"verified: {findings.line()}")
    if findings.kinds:
        print(findings.table())
    return not findings.kinds
