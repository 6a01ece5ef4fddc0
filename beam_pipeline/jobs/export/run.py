"""Exports a dataset, and says how it ended."""

import dataclasses
import sys
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.dataset.folder import DatasetFolder
from beam_pipeline.exchange.closing import read_summary
from beam_pipeline.exchange.record import RECORDS
from beam_pipeline.exchange.registry import FORMATS
from beam_pipeline.exchange.settings import ExportSettings, bind_output, check_output
from beam_pipeline.exchange.source import SourceDataset, open_source
from beam_pipeline.exchange.table import export_table
from beam_pipeline.jobs.engines import EngineError, run_job
from beam_pipeline.jobs.export.graph import build_graph
from beam_pipeline.jobs.given_files import naming, require_google_login, require_reachable
from beam_pipeline.jobs.given_output import WRITABLE, require_own_output
from beam_pipeline.jobs.processes import take_processes
from beam_pipeline.jobs.progress import show_files
from beam_pipeline.jobs.runners import make_pipeline, require_job_server
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.jobs.worker_image import require_extra_on_workers, require_package_on_workers
from beam_pipeline.runtime.apart import require_apart
from beam_pipeline.runtime.cores import Processes, choose_processes, this_machine
from beam_pipeline.runtime.extras import require_package
from beam_pipeline.runtime.progress import Progress

_PROCESS_EXAMPLES = 100
"""Examples that pay for a process: starting one takes about 5 s of a core."""

_PROCESS_MEMORY = 400_000_000
"""Bytes that a worker holds."""

_READABLE = "Check path and access"


@dataclasses.dataclass(frozen=True)
class CheckedExport:
    """An export that has passed all checks, and of which nothing is written yet.

    Attributes:
        settings: Its settings.
        source: The dataset.
        folder: The export's folder; it may be missing.
        left: Number of examples of shards without a record.
        shards_left: Number of those shards.
    """

    settings: ExportSettings
    source: SourceDataset
    folder: DatasetFolder
    left: int
    shards_left: int


def export_dataset(given: Any, options: PipelineOptions) -> int:
    """Checks the input, runs the job and prints the closing table.

    Args:
        given: Our flags, from `parse_export_flags`.
        options: Beam's options.

    Returns:
        The exit code: 0, or 1 where something is missing or empty. On Dataflow 0 says that the job was launched, which
        is not waited for.

    Raises:
        InvalidInputError: Something given cannot be used; nothing was launched.
    """
    check_flags(given, options)
    pipeline = make_pipeline(options)
    options = pipeline.options  # a copy, which holds from here on
    checked = check_export(given)
    settings = checked.settings
    if given.dry_run:
        print(
            f"{checked.shards_left:,} of {len(checked.source.shards):,} shards are to be exported, with "
            f"{checked.left:,} examples.\n--dry_run: nothing was launched and nothing written."
        )
        return 0
    with naming("--output", "used", settings.output, WRITABLE):
        bind_output(checked.folder, settings)
    take_processes(options, _processes(given, checked))
    build_graph(pipeline, settings)
    try:
        with show_files(settings.output, RECORDS, len(checked.source.shards), "export", "shards"):
            metrics = run_job(pipeline)
    except EngineError as error:
        print(
            f"error: the job failed on its engine: {error}. Given again, the same command goes on with the shards that "
            "have no record",
            file=sys.stderr,
        )
        return 1
    if metrics is None:
        print(f"launched: what comes of it will be in {settings.output}")
        return 0
    summary = read_summary(BeamFiles(), settings.output)
    print(export_table(summary, settings.output))
    return 0 if summary.complete else 1


def check_flags(given: Any, options: PipelineOptions) -> None:
    """Checks what the flags alone tell, before Beam looks at its own: it asks buckets.

    Args:
        given: Our flags, from `parse_export_flags`.
        options: Beam's options.

    Raises:
        InvalidInputError: A flag is malformed, or workers would lack something.
    """
    require_job_server(options)
    require_package_on_workers(options)
    require_reachable(
        options,
        [
            ("--dataset", [given.dataset], "the gs:// folder of a dataset"),
            ("--output", [given.output], "a gs:// folder"),
        ],
    )
    require_google_login(options, [("--output", given.output)])
    for package, needed_by, extra in FORMATS[given.format].from_flags(given).packages:
        require_package(package, needed_by, extra)
        require_extra_on_workers(options, package, needed_by)


def check_export(given: Any) -> CheckedExport:
    """Checks everything that can be checked before a job is launched, and writes nothing.

    What the flags alone tell was checked by `check_flags`.

    Args:
        given: Our flags, from `parse_export_flags`.

    Returns:
        What was found.

    Raises:
        InvalidInputError: Something given cannot be used.
    """
    chosen = FORMATS[given.format].from_flags(given)
    require_apart(given.output, [("--dataset", given.dataset)])
    require_own_output(given.output, "export", chosen.whole_files, tidies=False)
    with Progress(None, "reading the dataset's description"):
        with naming("--dataset", "read", given.dataset, _READABLE):
            source = open_source(DatasetFolder(BeamFiles(), given.dataset), given.splits)
        chosen.check(source)
        settings = ExportSettings(
            dataset=given.dataset,
            output=given.output,
            format=chosen,
            splits=source.splits,
            source_fingerprint=source.fingerprint,
        )
        folder = DatasetFolder(BeamFiles(), given.output)
        with naming("--output", "used", given.output, WRITABLE):
            check_output(folder, settings)
            recorded = {name.rpartition("/")[2].removesuffix(".json") for name in folder.names(RECORDS)}
    left = [shard.examples for shard in source.shards if shard.name not in recorded]
    return CheckedExport(settings, source, folder, sum(left), len(left))


def _processes(given: Any, checked: CheckedExport) -> Processes:
    """Chooses the number of processes; without --processes none has less to do than its start takes."""
    chosen = choose_processes(
        given.processes,
        this_machine(),
        pieces=checked.shards_left,
        piece="shard",
        piece_memory=_PROCESS_MEMORY,
    )
    most = max(1, checked.left // _PROCESS_EXAMPLES)
    if given.processes is None and most < chosen.count:
        return Processes(most, f"{checked.left} examples to do")
    return chosen
