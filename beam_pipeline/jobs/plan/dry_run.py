"""`--dry_run` of a job: everything is checked, the plan is printed, and nothing is launched or written but caches."""

from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.jobs.build.launch import check_build, check_flags
from beam_pipeline.jobs.given_files import expand_globs
from beam_pipeline.jobs.plan.report import report, table
from beam_pipeline.jobs.plan.run import plan_of_build
from beam_pipeline.jobs.runners import make_pipeline
from beam_pipeline.jobs.select.launch import check_selection_flags
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.maps.netcdf import is_netcdf
from beam_pipeline.maps.rasters import inspect_land_cover, inspect_night_lights
from beam_pipeline.maps.sidecars import require_silent_sidecars

_NOTHING = "--dry_run: nothing was launched and nothing written but caches."


def dry_run_build(given: Any, options: PipelineOptions) -> int:
    """Checks a build as its launch does, and prints what is left of it to do.

    Args:
        given: Our flags, from `parse_build_flags`.
        options: Beam's options.

    Returns:
        The exit code, 0.

    Raises:
        InvalidInputError: Something given cannot be used.
    """
    check_flags(given, options)
    make_pipeline(options)  # has Beam check its flags
    checked = check_build(given, options)
    there = set(checked.folder.shards())
    left = [unit for unit in checked.units if unit.name not in there]
    if len(left) < len(checked.units):
        done = len(checked.units) - len(left)
        print(f"{done:,} of {len(checked.units):,} shards are there: the plan is of the others.")
    if left:
        print(report(plan_of_build(left, checked.settings, options, checked.extract_sizes)))
    print(_NOTHING)
    return 0


def dry_run_selection(given: Any, options: PipelineOptions) -> int:
    """Looks at the headers of a selection's inputs, and prints what is to be read.

    What is packed as .gz is not looked into, as that would expand it first.

    Args:
        given: Our flags, from `parse_selection_flags`.
        options: Beam's options.

    Returns:
        The exit code, 0.

    Raises:
        InvalidInputError: Something given cannot be used.
    """
    check_selection_flags(given, options)
    make_pipeline(options)
    rows = []
    files = BeamFiles()
    for path in expand_globs(given.night_lights, "--night_lights"):
        size = f"{(files.size(path) or 0) / 1e9:,.3f}"
        if path.endswith(".gz"):
            rows.append((path, size, "packed", "?"))
            continue
        raster = inspect_night_lights(path)
        require_silent_sidecars(raster, path, "--night_lights", files)
        window = raster.window
        tasks = len(raster.row_blocks(given.rows_per_task))
        rows.append((path, size, f"{window.columns:,} x {window.rows:,}", f"{tasks:,}"))
    for path in expand_globs([given.land_cover], "--land_cover"):
        size = f"{(files.size(path) or 0) / 1e9:,.3f}"
        if is_netcdf(path) and "://" in path:
            rows.append((path, size, "not looked into", ""))
            continue
        raster = inspect_land_cover(path)
        require_silent_sidecars(raster, path, "--land_cover", files)
        rows.append((path, size, f"{raster.window.columns:,} x {raster.window.rows:,}", ""))
    print("\n".join(table(("to be read", "GB", "pixels", "tasks of rows"), rows)))
    print(_NOTHING)
    return 0
