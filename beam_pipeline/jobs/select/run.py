"""Runs a selection, and says how it ended."""

import sys
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions
from rasterio.errors import RasterioError

from beam_pipeline.cells.table import CELLS_FILE
from beam_pipeline.jobs.engines import EngineError
from beam_pipeline.jobs.runners import make_pipeline
from beam_pipeline.jobs.select.cell_list import selection_table
from beam_pipeline.jobs.select.graph import run_selection
from beam_pipeline.jobs.select.launch import check_selection_flags, prepare_selection
from beam_pipeline.runtime.files import join


def select_cells(given: Any, options: PipelineOptions) -> int:
    """Checks the input, runs the job, prints what was chosen, and draws the map if wanted.

    Args:
        given: Our flags, from `parse_selection_flags`.
        options: Beam's options.

    Returns:
        The exit code: 0, or 1 where the job failed and no list was written. On Dataflow 0 says that the job was
        launched, which is not waited for.

    Raises:
        InvalidInputError: Something given cannot be used, or too few cells are left; no list was written.
    """
    region = check_selection_flags(given, options)
    pipeline = make_pipeline(options)
    settings = prepare_selection(given, options, region)
    try:
        described = run_selection(pipeline, settings)
    except (RasterioError, EngineError) as error:
        print(f"error: the job failed, and no list was written: {error}", file=sys.stderr)
        return 1
    if described is None:
        return 0
    print(selection_table(described))
    print(join(settings.output, CELLS_FILE))
    if given.plot:
        from beam_pipeline.jobs.select.plot import plot_selection  # matplotlib is an extra

        print(plot_selection(settings.output))
    return 0
