"""Makes a dataset of patches, and says how it ended."""

import collections
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.jobs.dataset_run import run_to_the_end
from beam_pipeline.jobs.patches.graph import build_graph
from beam_pipeline.jobs.patches.launch import check_flags, check_patches, prepare_patches
from beam_pipeline.jobs.plan.report import table
from beam_pipeline.jobs.progress import show_files
from beam_pipeline.jobs.runners import make_pipeline
from beam_pipeline.records.shards import DATASET_NAME


def resample_patches(given: Any, options: PipelineOptions) -> int:
    """Checks the input, runs the job, prints the closing table and verifies what a local run wrote.

    Args:
        given: Our flags, from `parse_patch_flags`.
        options: Beam's options.

    Returns:
        The exit code, as of `build_dataset`.

    Raises:
        InvalidInputError: Something given cannot be used; nothing was launched.
    """
    check_flags(given, options)
    pipeline = make_pipeline(options)
    prepared = prepare_patches(given, pipeline.options)  # a copy, which holds from here on
    settings = prepared.settings
    build_graph(pipeline, settings)
    pattern = f"{DATASET_NAME}-*.tfrecord-*"
    showing = show_files(settings.output, pattern, len(prepared.units), "patches", "shards")
    return run_to_the_end(pipeline, settings, showing, given.processes)


def plan_patches(given: Any, options: PipelineOptions) -> str:
    """Checks a job as its launch does, and returns how much is left of it to do.

    Args:
        given: Our flags, from `parse_patch_flags`.
        options: Beam's options.

    Raises:
        InvalidInputError: Something given cannot be used.
    """
    check_flags(given, options)
    make_pipeline(options)  # has Beam check its flags
    checked = check_patches(given, options)
    there = set(checked.folder.shards())
    left = [unit for unit in checked.units if unit.name not in there]
    per_class = collections.Counter(
        cell.place.class_name for unit in checked.units for cell in unit.cells if cell.place is not None
    )
    rows = [
        ("shards", f"{len(checked.units):,}"),
        ("shards to do", f"{len(left):,}"),
        ("tiles", f"{len({unit.tile for unit in checked.units}):,}"),
        ("places", f"{per_class.total():,}"),
        *((f"  {name}", f"{count:,}") for name, count in sorted(per_class.items())),
    ]
    return "\n".join(table(("in the plan", ""), rows))
