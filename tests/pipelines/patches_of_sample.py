"""Patches of labelled places of the sample world, and the same scenes as rasterio reads them."""

import csv
import dataclasses
import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import rasterio

from beam_pipeline.cells.cell import Cell, ChipWindow
from beam_pipeline.cells.table import read_cells_csv
from beam_pipeline.records.example import CellYear
from beam_pipeline.resample_patches import main
from beam_pipeline.sample_world import SampleWorld
from tests.pipelines.conftest import Built

BANDS = {
    "gsd_10": ("B02", "B03", "B04", "B08"),
    "gsd_20": ("B05", "B06", "B07", "B8A", "B11", "B12"),
    "gsd_60": ("B01", "B09"),
}
BAD = (1, 3, 8, 9, 10)
SEED = 4

Bounds = tuple[float, float, float, float]


def write_places(world: SampleWorld, path: Path) -> None:
    """Writes a place in the middle of each cell, dark or bright by its red; one twice, and one beyond all tiles."""
    cells = read_cells_csv(world.cells_csv)
    middles = [((it.min_lon + it.max_lon) / 2, (it.min_lat + it.max_lat) / 2) for it in cells]
    folder = world.stac_catalog.parent
    scenes = {it.tile: sorted(folder.glob(f"*/*_{it.tile}_*/B04.tif"))[0] for it in cells}
    red = [np.median(read(str(scenes[it.tile]), it.chip.bounds)) for it in cells]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("name", "class", "lon", "lat", "date"))
        for index, (middle, value) in enumerate(zip(middles, red, strict=True)):
            of_class = "bright" if value > np.median(red) else "dark"
            writer.writerow((f"place {index:02}", of_class, *middle, f"2021-{index % 12 + 1:02}-15"))
        writer.writerow(("again", "bright" if red[0] > np.median(red) else "dark", *middles[0], "2021-01-15"))
        writer.writerow(("north", "dark", 0, 88, "2021-01-15"))


def patches_flags(world: SampleWorld, output: Path | str, *lists: str) -> list[str]:
    """The flags of a job; `lists` say where the places are."""
    given = ["--stac_url", str(world.stac_catalog), "--output", str(output), "--seed", str(SEED)]
    return [*given, "--years", ",".join(map(str, world.years)), "--places_per_shard", "4", *lists]


def make_patches(world: SampleWorld, output: Path, *more: str) -> Built:
    return Built(output, main(patches_flags(world, output, *more)))


def read(href: str, bounds: Bounds) -> Any:
    """Reads a window whose edges are those of pixels; 0 beyond the raster."""
    pixels, transform = read_whole(href)
    (left, upper), (right, lower) = ((round(it) for it in ~transform @ corner)
                                     for corner in ((bounds[0], bounds[3]), (bounds[2], bounds[1])))  # fmt: skip
    width, height = right - left, lower - upper
    padded = np.pad(pixels, ((height, height), (width, width)))
    return padded[upper + height : upper + 2 * height, left + width : left + 2 * width]


@functools.cache
def read_whole(href: str) -> tuple[Any, Any]:
    with rasterio.open(href) as raster:
        return raster.read(1), raster.transform


def crop_of(cell: Cell, pixels: int) -> Bounds:
    """The bounds of so many 10 m pixels of a chip around its place, whose middle is the pixels' corner next to it."""
    to_chip = pyproj.Transformer.from_crs(4326, cell.chip.epsg, always_xy=True)
    point = to_chip.transform(cell.place.longitude, cell.place.latitude)
    (x, y), half = (10 * round(it / 10) for it in point), pixels * 5
    return x - half, y - half, x + half, y + half


def scene_of(built: Built, example: CellYear) -> dict[str, Any]:
    """The scene of a patch as the dataset's scene lists have it."""
    listed = json.loads((built.folder / "scenes" / f"{example.cell.tile}_{example.year}.json").read_text())
    (scene,) = (it for it in listed["scenes"] if it["item_id"] == example.images[0].item_id)
    return scene


@dataclasses.dataclass(frozen=True)
class Filters:
    """The least that makes a chip unusable."""

    bad_fraction: float = 0.25
    min_reflectance: float = 0.2


@dataclasses.dataclass(frozen=True)
class Look:
    """A scene, and whether it is clear at a place."""

    item_id: str
    datetime: str
    clear: bool


def looks(
    built: Built, tile: str, chip: ChipWindow, filters: Filters = Filters()
) -> dict[int, Iterator[Look]]:
    """Judges the scenes of a place's tile by what rasterio reads, in the order of the scene lists, when asked for."""
    # The sample has a scene whose offset is told wrongly; tests of `imagery.offset_check` see to that.
    told_wrongly = {it["item_id"] for it in built.dataset["unusable_scenes"]}
    assert len(told_wrongly) <= 4

    def of_year(scenes: list[dict[str, Any]]) -> Iterator[Look]:
        for it in scenes:
            clear = it["item_id"] not in told_wrongly and is_clear(it, chip, filters)
            yield Look(it["item_id"], it["datetime"], clear)

    listed = [
        json.loads(file.read_text()) for file in sorted((built.folder / "scenes").glob(f"{tile}_20??.json"))
    ]
    return {it["year"]: of_year(it["scenes"]) for it in listed}


def is_clear(scene: dict[str, Any], chip: ChipWindow, filters: Filters) -> bool:
    scl = read(scene["assets"]["SCL"], chip.bounds)
    if (scl == 0).any() or np.isin(scl, BAD).mean() > filters.bad_fraction:
        return False
    visible = np.stack([read(scene["assets"][band], chip.bounds) for band in BANDS["gsd_10"][:3]]).min(axis=0)
    lowest = [read(scene["assets"][band], chip.bounds).repeat(factor, 0).repeat(factor, 1)
              for grid, factor in (("gsd_10", 1), ("gsd_20", 2), ("gsd_60", 6)) for band in BANDS[grid]]  # fmt: skip
    if (np.max(lowest, axis=0) <= 1).any():
        return False
    darkest = np.sort(visible.ravel())[int(np.ceil(0.05 * visible.size)) - 1]
    return bool((int(darkest) + scene["boa_add_offset"]) / 10_000 <= filters.min_reflectance)
