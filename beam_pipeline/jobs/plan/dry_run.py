"""The plans that `--dry_run` prints: everything is checked as for a launch, and nothing is written but caches."""

from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.dataset.folder import DatasetFolder
from beam_pipeline.features.names import piece_record
from beam_pipeline.jobs.build import launch as build
from beam_pipeline.jobs.extract import launch as extract
from beam_pipeline.jobs.given_files import expand_globs
from beam_pipeline.jobs.import_published import launch as import_published
from beam_pipeline.jobs.plan.report import report, table
from beam_pipeline.jobs.plan.run import plan_of_build
from beam_pipeline.jobs.relabel import launch as relabel
from beam_pipeline.jobs.runners import make_pipeline
from beam_pipeline.jobs.select.launch import check_selection_flags
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.maps.netcdf import is_netcdf
from beam_pipeline.maps.rasters import inspect_land_cover, inspect_night_lights
from beam_pipeline.maps.sidecars import require_silent_sidecars


def plan_build(given: Any, options: PipelineOptions) -> str:
    """Checks a build as its launch does, and returns what is left of it to do.

    Args:
        given: Our flags, from `parse_build_flags`.
        options: Beam's options.

    Raises:
        InvalidInputError: Something given cannot be used.
    """
    build.check_flags(given, options)
    make_pipeline(options)  # has Beam check its flags
    checked = build.check_build(given, options)
    there = set(checked.folder.shards())
    left = [unit for unit in checked.units if unit.name not in there]
    parts = []
    if len(left) < len(checked.units):
        done = len(checked.units) - len(left)
        parts.append(f"{done:,} of {len(checked.units):,} shards are there: the plan is of the others.")
    if left:
        parts.append(report(plan_of_build(left, checked.settings, options, checked.extract_sizes)))
    return "\n".join(parts)


def plan_extraction(given: Any, options: PipelineOptions) -> str:
    """Checks a store as its launch does, and returns which extracts are yet to be read.

    Args:
        given: Our flags, from `parse_extract_flags`.
        options: Beam's options.

    Raises:
        InvalidInputError: Something given cannot be used.
    """
    extract.check_flags(given, options)
    checked = extract.check_extraction(given)
    make_pipeline(options)
    settings = checked.settings
    store = DatasetFolder(BeamFiles(), settings.store)
    if checked.is_whole:
        return f"{store.path} is whole: nothing is left to do."
    rows = [
        (it.identity.name, f"{it.identity.bytes / 1e9:,.3f}", it.identity.timestamp or "?")
        for it in settings.extracts
        if not store.exists(piece_record(it.identity))
    ]
    return "\n".join([*table(("to be read if near a cell", "GB", "of"), rows), f"{checked.tiles:,} tiles"])


def plan_relabelling(given: Any, options: PipelineOptions) -> str:
    """Checks a relabelling as its launch does, and returns how much is left of it to do.

    Args:
        given: Our flags, from `parse_relabel_flags`.
        options: Beam's options.

    Raises:
        InvalidInputError: Something given cannot be used.
    """
    relabel.check_flags(given, options)
    checked = relabel.check_relabelling(given)
    make_pipeline(options)
    shards, there = set(checked.source.folder.shards()), set(checked.folder.shards())
    names = [unit.name for unit in checked.source.units]
    rows = [
        ("in the plan", f"{len(names):,}"),
        ("that --dataset has", f"{len(shards & {*names}):,}"),
        ("that --output has", f"{len(there & {*names}):,}"),
    ]
    return "\n".join(table(("shards", ""), rows))


def plan_import(given: Any, options: PipelineOptions) -> str:
    """Checks an import as its launch does, and returns what there is to do.

    Args:
        given: Our flags, from `parse_import_flags`.
        options: Beam's options.

    Raises:
        InvalidInputError: Something given cannot be used.
    """
    import_published.check_flags(given, options)
    checked = import_published.check_import(given)
    make_pipeline(options)
    found, there = checked.found, set(checked.folder.shards())
    rows = [
        ("lines of the table", f"{found.rows:,}"),
        ("  that cannot be used", f"{sum(found.rows_refused.values()):,}"),
        ("  without a label image", f"{found.rows_without_label:,}"),
        ("cells in the plan", f"{len(found.cells):,}"),
        ("files among their images", f"{found.images:,}"),
        ("years", " ".join(map(str, found.years))),
        ("shards in the plan", f"{len(checked.units):,}"),
        ("shards that --output has", f"{len(there & {unit.name for unit in checked.units}):,}"),
    ]
    return "\n".join(table(("", ""), rows))


def plan_selection(given: Any, options: PipelineOptions) -> str:
    """Looks at the headers of a selection's inputs, and returns what is to be read.

    What is packed as .gz is not looked into, as that would expand it first.

    Args:
        given: Our flags, from `parse_selection_flags`.
        options: Beam's options.

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
    return "\n".join(table(("to be read", "GB", "pixels", "tasks of rows"), rows))
