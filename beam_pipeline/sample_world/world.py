"""Makes the sample world: cells, images and maps of a place that does not exist."""

import dataclasses
import itertools
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from beam_pipeline.cells.cell import Cell
from beam_pipeline.cells.mgrs_tiles import find_tile
from beam_pipeline.cells.region import cells_in_region
from beam_pipeline.cells.table import write_cells_csv
from beam_pipeline.runtime.cache import cache_folder
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.gdal_drivers import require_drawing
from beam_pipeline.runtime.keyed_hash import keyed_hash
from beam_pipeline.runtime.progress import Progress
from beam_pipeline.sample_world.extract import write_extract
from beam_pipeline.sample_world.ground import COARSE_M, Grid, Ground, make_ground
from beam_pipeline.sample_world.landscape import Bounds
from beam_pipeline.sample_world.layout import build_landscape
from beam_pipeline.sample_world.place import area_region, utm_to_plane
from beam_pipeline.sample_world.rasters import FULL_TILE_M, Frame, write_cog
from beam_pipeline.sample_world.scenes import render
from beam_pipeline.sample_world.stac import CATALOG, COLLECTION, item_id, make_item, write_catalog
from beam_pipeline.sample_world.surveys import LAND_COVER_NAME, night_lights_name, write_surveys
from beam_pipeline.sample_world.weather import FULL_TILE_PASSES, PASSES, Pass

VERSION = 2
"""Of the generator: raise it whenever the same parameters give other files."""

MAX_CELLS = 2500
"""The place is made up only so far: beyond, the area would reach into tiles of other splits."""

_CELLS = "spatial_cell_info.csv"
_EXTRACT = "map.osm.pbf"
_MARKER = "sample_world.json"
_MARGIN_M = 500.0
_TILE_SECONDS = 3.7  # between the sensing times of two tiles of one pass


@dataclasses.dataclass(frozen=True)
class SampleWorld:
    """Where a sample world lies.

    Attributes:
        cells_csv: The cells, in the format of `cells.table`.
        stac_catalog: A static STAC catalogue, catalog.json.
        osm_extract: The map, .osm.pbf.
        night_lights: VIIRS composites of the same years, .tif.gz.
        land_cover: A CCI land-cover map.
        years: The years with images, ascending.
        region: The area, "min_lon,min_lat,max_lon,max_lat" in degrees.
    """

    cells_csv: Path
    stac_catalog: Path
    osm_extract: Path
    night_lights: tuple[Path, ...]
    land_cover: Path
    years: tuple[int, ...]
    region: str


def default_directory(cells: int = 50, seed: int = 0, full_tiles: bool = False) -> Path:
    """Returns where a sample world is kept: `cache_folder`.

    Args:
        cells: As in `make_sample_world`.
        seed: As in `make_sample_world`.
        full_tiles: As in `make_sample_world`.

    Returns:
        A folder whose name holds the parameters and the generator's version; it need not exist.
    """
    name = f"sample-world-v{VERSION}-{cells}-cells-seed-{seed}{'-full-tiles' if full_tiles else ''}"
    return cache_folder(name)


def make_sample_world(
    directory: Path | str, cells: int = 50, seed: int = 0, full_tiles: bool = False
) -> SampleWorld:
    """Makes a sample world, or finds it made.

    It is made in a folder beside `directory` and renamed when it is whole, so that an interrupted run leaves
    nothing that looks finished.

    Args:
        directory: The folder to make; where it exists it must hold the same world.
        cells: About how many cells the area has, 1 to `MAX_CELLS`. With 50 or more every category occurs.
        seed: Of what the place looks like, and of the splits. With seed 0 all three splits have cells.
        full_tiles: Whether rasters cover their whole tile, 10980 x 10980 px, for benchmarks. The area's part
            is repeated to fill them, and there is one date a year; each date of a tile takes about 1.2 GB.

    Returns:
        Its files.

    Raises:
        InvalidInputError: `cells` is out of range, or the folder holds something else.
    """
    if not 1 <= cells <= MAX_CELLS:
        raise InvalidInputError(f"A sample world has 1 to {MAX_CELLS} cells. Received: {cells}")
    directory = Path(directory).absolute()
    passes = FULL_TILE_PASSES if full_tiles else PASSES
    years = tuple(sorted({one.year for one in passes}))
    world = SampleWorld(
        directory / _CELLS,
        directory / CATALOG,
        directory / _EXTRACT,
        tuple(directory / night_lights_name(year) for year in years),
        directory / LAND_COVER_NAME,
        years,
        area_region(cells),
    )
    parameters = {"version": VERSION, "cells": cells, "seed": seed, "full_tiles": full_tiles}
    if _is_made(directory, parameters):
        return world
    require_drawing()
    directory.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    try:
        _make(aside, world.region, passes, seed, full_tiles)
        (aside / _MARKER).write_text(json.dumps(parameters, sort_keys=True) + "\n", "utf-8")
        aside.chmod(0o755)
        try:
            aside.replace(directory)
        except OSError:
            # Another process was faster: what it made is the same to the byte.
            if not _is_made(directory, parameters):
                raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return world


def _is_made(directory: Path, parameters: dict[str, Any]) -> bool:
    try:
        found = json.loads((directory / _MARKER).read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        found = None
    if found == parameters:
        return True
    if found is not None or (directory.exists() and (not directory.is_dir() or any(directory.iterdir()))):
        raise InvalidInputError(
            f"{directory} holds something else: {found or 'no sample world'}. Wanted: {parameters}. "
            "Give another folder, or remove this one."
        )
    return False


def _make(folder: Path, region: str, passes: Sequence[Pass], seed: int, full_tiles: bool) -> None:
    cells = cells_in_region(region, None, seed).cells
    write_cells_csv(cells, folder / _CELLS)
    frames = [_frame(list(group), full_tiles) for group in _by_tile(cells)]
    with Progress(len(frames) * len(passes), "sample world", "scenes") as progress:
        landscape = build_landscape(_plane_bounds(frames), seed)
        write_extract(folder / _EXTRACT, landscape.features)
        bounds = (
            min(cell.min_lon for cell in cells),
            min(cell.min_lat for cell in cells),
            max(cell.max_lon for cell in cells),
            max(cell.max_lat for cell in cells),
        )
        write_surveys(folder, landscape, bounds, sorted({one.year for one in passes}), seed)
        items: list[dict[str, Any]] = []
        for number, frame in enumerate(frames):
            ground = make_ground(landscape, frame.grid, seed)
            seconds_after = 0.405 + _TILE_SECONDS * number
            # One after the other: writing a COG holds the interpreter's lock, so threads would gain nothing.
            for one in passes:
                items.append(_make_scene(folder, ground, frame, one, seconds_after, seed))
                progress.update()
        write_catalog(folder, items)


def _by_tile(cells: Sequence[Cell]) -> list[list[Cell]]:
    ordered = sorted(cells, key=lambda cell: (cell.tile, cell.cell_id))
    return [list(group) for _, group in itertools.groupby(ordered, key=lambda cell: cell.tile)]


def _frame(cells: Sequence[Cell], full_tile: bool) -> Frame:
    """Returns the smallest raster that holds all chips of a tile, in its file."""
    chips = [cell.chip for cell in cells]
    left, top = min(chip.left for chip in chips), max(chip.top for chip in chips)
    columns = (max(chip.right for chip in chips) - left) // COARSE_M
    rows = (top - min(chip.bottom for chip in chips)) // COARSE_M
    grid = Grid(cells[0].tile, chips[0].epsg, left, top, columns, rows)
    if not full_tile:
        return Frame(grid, left, top, columns, rows)
    west, _, _, north = find_tile(grid.tile).bounds
    return Frame(grid, west, north, FULL_TILE_M // COARSE_M, FULL_TILE_M // COARSE_M)


def _plane_bounds(frames: Sequence[Frame]) -> Bounds:
    """Returns what part of the plane the rasters show, with a margin."""
    corners = []
    for grid in (frame.grid for frame in frames):
        right, bottom = grid.left + COARSE_M * grid.columns, grid.top - COARSE_M * grid.rows
        box = [(x, y) for x in (grid.left, right) for y in (bottom, grid.top)]
        corners.append(utm_to_plane(np.array(box, np.float64), grid.epsg))
    low, high = (
        np.concatenate(corners).min(axis=0) - _MARGIN_M,
        np.concatenate(corners).max(axis=0) + _MARGIN_M,
    )
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def _make_scene(
    folder: Path, ground: Ground, frame: Frame, one: Pass, seconds_after: float, seed: int
) -> dict[str, Any]:
    assets = render(ground, one, seed)
    item = make_item(frame, one, seconds_after, assets["SCL"].astype(np.uint8, copy=False))
    scene_folder = folder / COLLECTION / item_id(frame.grid.tile, one)
    scene_folder.mkdir(parents=True)
    for band, image in assets.items():
        key = keyed_hash(seed, "fill", item["id"], band)
        write_cog(scene_folder / f"{band}.tif", image, frame, band, key)
    return item
