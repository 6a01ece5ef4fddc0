"""Runs a job that makes a dataset, and says how it ended."""

import datetime
import functools
import sys
from contextlib import AbstractContextManager

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.audit.dataset import Asked, verify_dataset
from beam_pipeline.audit.findings import LEFTOVER
from beam_pipeline.audit.processes import ProcessLost
from beam_pipeline.dataset.closing import close_dataset
from beam_pipeline.dataset.commits import all_committed
from beam_pipeline.dataset.folder import UNITS_FILE, DatasetFolder
from beam_pipeline.dataset.run_record import add_stage_metrics
from beam_pipeline.dataset.settings import LabelSettings
from beam_pipeline.dataset.units import parse_units
from beam_pipeline.jobs.closing_table import closing_table
from beam_pipeline.jobs.engines import EngineError, run_job
from beam_pipeline.jobs.runners import runs_locally
from beam_pipeline.jobs.storage import BeamFiles, use_options
from beam_pipeline.runtime.faults import Fault, InvalidInputError


def run_to_the_end(
    pipeline: beam.Pipeline,
    settings: LabelSettings,
    showing: AbstractContextManager[None],
    processes: int | None,
    relabelled_from: str | None = None,
) -> int:
    """Runs a job that makes a dataset, prints the closing table and verifies what a local run wrote.

    Args:
        pipeline: The whole job.
        settings: Its settings.
        showing: Shows how far it is.
        processes: How many verify it; None for as many as are of use.
        relabelled_from: As for `close_dataset`.

    Returns:
        As `build_dataset`.
    """
    folder = DatasetFolder(BeamFiles(), settings.output)
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    try:
        with showing:
            metrics = run_job(pipeline)
    except EngineError as error:
        if not all_committed(folder, parse_units(folder.read_bytes(UNITS_FILE)), settings.fingerprint):
            _say_failed(folder, error)
            return 1
        print(
            f"the job failed behind its last shard, so its dataset is closed here: {error}", file=sys.stderr
        )
        close_dataset(folder, settings, started, relabelled_from)
    else:
        if metrics is None:
            return 0
        add_stage_metrics(folder, metrics)
    table, complete = closing_table(folder)
    print(table, flush=True)
    verified = _verify(folder, pipeline.options, processes) if runs_locally(pipeline.options) else True
    return 0 if complete and verified else 1


def _say_failed(folder: DatasetFolder, error: EngineError) -> None:
    units = parse_units(folder.read_bytes(UNITS_FILE))
    done = len({unit.name for unit in units} & set(folder.shards()))
    print(
        f"error: the job failed on its engine: {error}. Of {len(units)} shards {done} are committed in {folder.path}: "
        "given again, the same command goes on with the others",
        file=sys.stderr,
    )


def _verify(folder: DatasetFolder, options: PipelineOptions, processes: int | None) -> bool:
    ready = functools.partial(use_options, **options.get_all_options(drop_default=True))
    try:
        # The labels were drawn of this store just now.
        findings = verify_dataset(folder, processes, ready, Asked(with_labels=False))
    except (InvalidInputError, Fault, ProcessLost) as error:
        print(f"error: cannot be verified: {error}", file=sys.stderr)
        return False
    # Ours were deleted just now. What lies aside since then is of another run into this folder.
    findings.forget(LEFTOVER)
    print(f"verified: {findings.line()}")
    if findings.kinds:
        print(findings.table())
    return not findings.kinds
