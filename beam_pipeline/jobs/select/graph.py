"""The graph of a selection, and running it."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import apache_beam as beam
from apache_beam import pvalue

from beam_pipeline.jobs.engines import run_job
from beam_pipeline.jobs.select.cell_list import PROBLEM_FILE, SELECTION_FILE, Part, close_selection
from beam_pipeline.jobs.select.launch import rows_to_read
from beam_pipeline.jobs.select.options import SelectionSettings
from beam_pipeline.jobs.select.transforms import (
    COUNTS,
    CountCells,
    DrawCells,
    DropUnusable,
    FindLitCells,
    WriteParts,
)
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.files import join
from beam_pipeline.runtime.progress import Progress


def build_graph(pipeline: beam.Pipeline, settings: SelectionSettings) -> None:
    """Adds the whole job to a pipeline.

    Args:
        pipeline: An empty pipeline.
        settings: From `prepare_selection`.
    """
    everything = pipeline | "CountCells" >> CountCells(settings)
    lit = pipeline | "FindLitCells" >> FindLitCells(settings, rows_to_read(settings))
    usable = lit["cells"] | "DropUnusable" >> DropUnusable(settings)
    taken = usable["packs"] | "DrawCells" >> DrawCells(settings.sampling)
    parts = taken | "WriteParts" >> WriteParts(settings)
    counts = (
        (everything, lit[COUNTS], usable[COUNTS])
        | "AllCounts" >> beam.Flatten()
        | "AddUp" >> beam.CombinePerKey(sum)
    )
    # Side inputs are complete before the one element is processed.
    (
        pipeline
        | "Once" >> beam.Create([None])
        | "CloseSelection" >> beam.Map(_close, settings, pvalue.AsIter(parts), pvalue.AsDict(counts))
    )


def _close(_: None, settings: SelectionSettings, parts: Iterable[Part], counts: Mapping[str, int]) -> None:
    close_selection(BeamFiles(), settings, parts, counts)


def run_selection(pipeline: beam.Pipeline, settings: SelectionSettings) -> Mapping[str, Any] | None:
    """Runs a selection.

    Args:
        pipeline: An empty pipeline.
        settings: From `prepare_selection`.

    Returns:
        The content of the list's JSON; None from Dataflow, whose jobs outlive their launcher.

    Raises:
        InvalidInputError: Too few cells are left; no list was written, and `PROBLEM_FILE` has the counts.
        EngineError: The job failed on its engine.
    """
    build_graph(pipeline, settings)
    with Progress(None, "choosing cells"):
        if run_job(pipeline) is None:
            return None
    files = BeamFiles()
    problem = join(settings.output, PROBLEM_FILE)
    if files.exists(problem):
        raise InvalidInputError(f"{json.loads(files.read_text(problem))['problem']}. All counts: {problem}")
    described: Mapping[str, Any] = json.loads(files.read_text(join(settings.output, SELECTION_FILE)))
    return described
