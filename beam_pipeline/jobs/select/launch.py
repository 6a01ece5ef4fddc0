"""Readies a selection for its launch: expands composites, and checks everything that was given."""

import dataclasses
import uuid
from collections.abc import Sequence
from typing import Any

import numpy as np
from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.cells import grid
from beam_pipeline.cells.region import bands_of, region_polygons
from beam_pipeline.jobs.areas import read_area
from beam_pipeline.jobs.given_files import expand_globs, require_google_login, require_reachable
from beam_pipeline.jobs.given_output import require_own_output
from beam_pipeline.jobs.runners import is_dataflow, output_folder, require_job_server, runs_locally
from beam_pipeline.jobs.select.cell_list import PROBLEM_FILE
from beam_pipeline.jobs.select.expand import default_folder, expanded
from beam_pipeline.jobs.select.options import Sampling, SelectionSettings
from beam_pipeline.jobs.storage import BeamFiles, local_copy, use_options
from beam_pipeline.jobs.worker_image import require_package_on_workers
from beam_pipeline.maps.activity import count_reached
from beam_pipeline.maps.netcdf import is_netcdf
from beam_pipeline.maps.rasters import (
    RasterFile,
    inspect_land_cover,
    inspect_night_lights,
    require_lit,
    require_water,
)
from beam_pipeline.maps.sidecars import require_silent_sidecars
from beam_pipeline.runtime.extras import require_package
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.files import TEMPORARY_FOLDER, join
from beam_pipeline.runtime.progress import Progress
from beam_pipeline.runtime.regular_files import put_files_there


def prepare_selection(given: Any, options: PipelineOptions, region: str | None) -> SelectionSettings:
    """Checks everything that can be checked before a job is launched.

    Headers come first, then a look for a lit pixel and for water, which reads no further than the first of each.

    Args:
        given: The flags, from `parse_selection_flags`.
        options: Beam's options.
        region: From `check_selection_flags`.

    Returns:
        The settings of the job.

    Raises:
        InvalidInputError: Something given cannot be used; nothing was launched.
    """
    output = output_folder(given.output)
    _require_writable(output)
    night_lights = _night_lights(given, options)
    (land_cover_path,) = _one(expand_globs([given.land_cover], "--land_cover"))
    land_cover = _land_cover(land_cover_path)
    require_silent_sidecars(land_cover, land_cover_path, "--land_cover", BeamFiles())
    with Progress(None, "looking for light and water"):
        for file in night_lights:
            require_lit(file, given.rows_per_task)
        if not is_netcdf(land_cover.path) or "://" not in land_cover.path:
            require_water(land_cover, given.rows_per_task)
    settings = SelectionSettings(
        output=output,
        night_lights=tuple(night_lights),
        land_cover=land_cover,
        region=region,
        sampling=Sampling(
            num_cells=given.num_cells,
            fraction=given.fraction or 1.0,
            max_tiles=given.max_tiles,
            seed=given.seed,
        ),
        rows_per_task=given.rows_per_task,
    )
    with Progress(None, "counting the cells that the night lights reach"):
        _require_enough(settings)
    BeamFiles().delete(join(output, PROBLEM_FILE))
    return settings


def check_selection_flags(given: Any, options: PipelineOptions) -> str | None:
    """Checks what the flags alone tell, before Beam looks at its own: it asks buckets.

    Args:
        given: The flags, from `parse_selection_flags`.
        options: Beam's options.

    Returns:
        The area; None for the Earth.

    Raises:
        InvalidInputError: Something given cannot be used.
    """
    if given.plot and is_dataflow(options):
        raise InvalidInputError(
            "--plot draws when the job is done, which a launch on Dataflow does not wait for"
        )
    if given.plot:
        require_package("matplotlib", "--plot", "plots")
    require_job_server(options)
    _require_reachable(given, options)
    require_package_on_workers(options)
    output = output_folder(given.output)
    _require_place_for_expanded(given, options, given.night_lights)
    use_options(**options.get_all_options(drop_default=True))  # as the area may lie in a bucket
    region = None if given.area is None else read_area(given.area)
    require_google_login(options, [("--output", given.output), ("--expanded_dir", given.expanded_dir)])
    require_own_output(output, "cells")
    return region


def _require_reachable(given: Any, options: PipelineOptions) -> None:
    expanded_dir = [given.expanded_dir] if given.expanded_dir else []
    require_reachable(
        options,
        [
            ("--output", [given.output], "a gs:// folder"),
            ("--night_lights", given.night_lights, "gs:// paths of the composites"),
            ("--land_cover", [given.land_cover], "a gs:// path of the map"),
            ("--expanded_dir", expanded_dir, "a gs:// folder"),
        ],
    )


def rows_to_read(settings: SelectionSettings) -> list[range]:
    """Returns the blocks of rows of the night lights that may light a cell of the region, from the north."""
    file = settings.night_lights[0]
    blocks = file.row_blocks(settings.rows_per_task)
    if settings.region is None:
        return blocks
    bands = bands_of(region_polygons(settings.region))
    north, south = (
        file.window.bands_of_rows(np.array([block[0] for block in blocks]))[1],
        file.window.bands_of_rows(np.array([block[-1] for block in blocks]))[0],
    )
    near = (south < bands.stop) & (bands.start <= north)
    return [block for block, kept in zip(blocks, near.tolist(), strict=True) if kept]


def _require_writable(output: str) -> None:
    files = BeamFiles()
    probe = join(output, f".{uuid.uuid4().hex}")
    try:
        kind = files.irregular(output, ()).get(TEMPORARY_FOLDER)
        files.write_text(probe, "")
        files.delete(probe)
    except Exception as error:  # cloud clients raise classes of their own
        raise InvalidInputError(
            f"--output cannot be written to: {error}. Give a folder that can be, local or gs://. Received: {output}"
        ) from error
    if kind:
        raise InvalidInputError(f"{join(output, TEMPORARY_FOLDER)} is {kind}. {put_files_there(kind)}")


def _require_place_for_expanded(given: Any, options: PipelineOptions, paths: Sequence[str]) -> None:
    """Refuses packed composites, by their paths or patterns, where no folder is known that all workers see."""
    packed = any(path.endswith(".gz") for path in paths)
    if packed and not (given.expanded_dir or runs_locally(options)):
        raise InvalidInputError(
            "--expanded_dir is missing: a folder that all workers see, for what the .tif.gz expand to"
        )


def _night_lights(given: Any, options: PipelineOptions) -> list[RasterFile]:
    paths = expand_globs(given.night_lights, "--night_lights")
    _require_place_for_expanded(given, options, paths)  # now that patterns are files
    folder = given.expanded_dir or (default_folder() if runs_locally(options) else "")
    files = [inspect_night_lights(expanded(path, folder)) for path in paths]
    for path, file in zip(paths, files, strict=True):
        for name in sorted({path, path.removesuffix(".gz"), file.path}):
            require_silent_sidecars(file, name, "--night_lights", BeamFiles())
    for file in files[1:]:
        if file.window != files[0].window:
            raise InvalidInputError(
                "All --night_lights must show the same window. Received: "
                f"{files[0].path} {files[0].window.bounds} and {file.path} {file.window.bounds}"
            )
    return files


def _one(paths: list[str]) -> list[str]:
    if len(paths) != 1:
        raise InvalidInputError(f"--land_cover is one map. Received: {', '.join(paths)}")
    return paths


def _land_cover(path: str) -> RasterFile:
    if not is_netcdf(path):
        return inspect_land_cover(path)
    with Progress(None, "looking into the land cover"), local_copy(path) as local:
        file = dataclasses.replace(inspect_land_cover(local), path=path)
        if local != path:
            require_water(dataclasses.replace(file, path=local), file.block_rows)
    return file


def _require_enough(settings: SelectionSettings) -> None:
    """Refuses a number that there are not so many cells for, however much of them is lit."""
    wanted = settings.sampling.num_cells
    if wanted is None:
        return
    window = settings.night_lights[0].window
    polygons = None if settings.region is None else region_polygons(settings.region)
    most = 0
    for band in range(grid.NUM_BANDS) if polygons is None else bands_of(polygons):
        most += count_reached(band, window, polygons)[1]
        if most >= wanted:
            return
    of_region = "" if polygons is None else " in the region"
    raise InvalidInputError(
        f"--num_cells is larger than the number of cells that the night lights reach{of_region}, {most:,}. "
        f"Received: {wanted}"
    )
