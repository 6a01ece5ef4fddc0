"""Fills a store of features, and says how it ended."""

import sys
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.dataset.folder import DatasetFolder
from beam_pipeline.features.piece import LeftOut
from beam_pipeline.features.schema import STORE_FILE, TILE_SUFFIX
from beam_pipeline.features.store_json import Store
from beam_pipeline.jobs.engines import EngineError, run_job
from beam_pipeline.jobs.extract.graph import build_graph
from beam_pipeline.jobs.extract.launch import (
    CheckedStore,
    check_extraction,
    check_flags,
    read_store,
    write_store_plan,
)
from beam_pipeline.jobs.progress import show_files
from beam_pipeline.jobs.runners import make_pipeline
from beam_pipeline.jobs.storage import BeamFiles


def extract_features(given: Any, options: PipelineOptions) -> int:
    """Checks the input, runs the job, and prints what the store holds.

    Args:
        given: Our flags, from `parse_extract_flags`.
        options: Beam's options.

    Returns:
        The exit code: 0, or 1 where an extract could not be read or a tile has no file. On Dataflow 0 says that the job
        was launched, which is not waited for.

    Raises:
        InvalidInputError: Something given cannot be used; nothing was launched.
    """
    check_flags(given, options)
    checked = check_extraction(given)
    pipeline = make_pipeline(options)
    write_store_plan(checked)
    store = DatasetFolder(BeamFiles(), checked.settings.store)
    if not checked.is_whole:
        try:
            if not _run(pipeline, checked):
                return 0
        except EngineError as error:
            print(
                f"error: the job failed on its engine: {error}. Given again, the same command goes on with the tiles "
                f"that are not in {store.path}",
                file=sys.stderr,
            )
            return 1
    record = read_store(store)
    if record is None:
        print(
            f"error: {store.path} is not whole: the job could not write the files of all tiles",
            file=sys.stderr,
        )
        return 1
    print(store_table(record, store))
    return 1 if record.failures else 0


def _run(pipeline: Any, checked: CheckedStore) -> bool:
    """Runs the job; tells whether it was waited for."""
    build_graph(pipeline, checked.settings)
    with show_files(checked.settings.store, f"*{TILE_SUFFIX}", checked.tiles, "extract", "tiles"):
        return run_job(pipeline) is not None


def store_table(record: Store, store: DatasetFolder) -> str:
    """Returns what a store holds and what it lacks, a line each."""
    rows, size = (sum(getattr(file, name) for file in record.tiles.values()) for name in ("rows", "bytes"))
    lines = [
        f"{rows:,} objects near {record.cells:,} cells in {len(record.tiles):,} tiles, {size / 1e6:,.1f} MB"
    ]
    if record.superseded:
        lines.append(f"copies of objects that differed from those that were kept: {record.superseded:,}")
    lines += [
        f"left out of {it.extract.name}: {_counted(it.left_out)}"
        for it in record.extracts
        if it.left_out.counts
    ]
    beyond = [it.extract.name for it in record.extracts if it.outcome == "beyond"]
    if beyond:
        lines.append(f"not read, as no cell is near: {', '.join(beyond)}")
    lines += [
        f"NOT READ: {failure.extract}, for {len(failure.cell_ids):,} cells: {failure.reason}: {failure.detail}"
        for failure in record.failures
    ]
    if record.failures:
        lines.append("the same command reads these again")
    lines.append(store.at(STORE_FILE))
    return "\n".join(lines)


def _counted(left_out: LeftOut) -> str:
    largest_first = sorted(left_out.counts.items(), key=lambda it: (-it[1], it[0]))
    return ", ".join(f"{reason} {count}" for reason, count in largest_first)
