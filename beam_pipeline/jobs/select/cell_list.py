"""The files of a selection: the list in pieces, put together, and the JSON that says how it came about."""

import collections
import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from beam_pipeline.cells.cell import SPLITS, Split
from beam_pipeline.cells.grid import GRID_DESCRIPTION, id_to_center
from beam_pipeline.cells.region import cells_from_ids, is_bbox
from beam_pipeline.cells.table import CELLS_FILE, CSV_HEADER, format_cells_rows
from beam_pipeline.dataset.folder import description_json
from beam_pipeline.jobs.select.options import SelectionSettings
from beam_pipeline.maps.continents import continent_names, continents_of
from beam_pipeline.runtime.files import Files, aside_path, delete_leftovers, join
from beam_pipeline.runtime.storage_faults import with_retries

SELECTION_FILE = "spatial_cell_info.json"
PLOT_FILE = "spatial_cell_info.png"

PROBLEM_FILE = "selection_problem.json"
"""Written instead of the list when it cannot be what was asked for."""

CREDITS = (
    "Night lights: VIIRS Nighttime Light (VNL), Earth Observation Group, Payne Institute for Public Policy, "
    "Colorado School of Mines (CC BY 4.0). Elvidge, C. D., Zhizhin, M., Ghosh, T., Hsu, F.-C., Taneja, J.: Annual "
    "Time Series of Global VIIRS Nighttime Lights Derived from Monthly Averages: 2012 to 2019. Remote Sensing 13 "
    "(2021), 922.",
    "Land cover: (c) ESA Climate Change Initiative - Land Cover led by UCLouvain; from 2016 on Copernicus Climate "
    "Change Service.",
)
"""Sources: https://eogdata.mines.edu/products/vnl/ and https://www.esa-landcover-cci.org/."""

# Of the steps of a selection, in their order; each is followed by what it took away.
COUNTS = (
    "cells",
    "beyond_night_lights",
    "candidates",
    "lit",
    "beyond_land_cover",
    "all_water",
    "not_all_water",
    "beyond_sentinel2",
    "without_tile",
    "usable",
    "sampled",
)

_MOST_LIT = 0.5
"""Source: the masked product is dark but for a few percent; plain `average` is lit nearly everywhere by airglow."""


@dataclasses.dataclass(frozen=True)
class Part:
    """A piece of the list.

    Attributes:
        first_id: Its smallest id; pieces are ranges of ids.
        path: Where it lies.
        splits: Cells by split.
        continents: Cells by continent.
        tiles: Names of the tiles by split.
    """

    first_id: int
    path: str
    splits: Mapping[Split, int]
    continents: Mapping[str, int]
    tiles: Mapping[Split, tuple[str, ...]]


def write_part(files: Files, output: str, ids: npt.NDArray[np.int64], seed: int) -> Part:
    """Writes a piece of the list.

    Args:
        files: The file system.
        output: The selection's folder.
        ids: (N,) ids of cells that have a tile, ascending, at least one.
        seed: Draws the splits.

    Returns:
        What was written.
    """
    cells = cells_from_ids(ids, seed).cells
    path = aside_path(output)
    rows = format_cells_rows(cells).encode()
    with_retries(lambda: files.write_bytes(path, [rows]))
    numbers = np.bincount(continents_of(*id_to_center(ids)), minlength=len(continent_names())).tolist()
    tiles: dict[Split, set[str]] = collections.defaultdict(set)
    for cell in cells:
        tiles[cell.split].add(cell.tile)
    return Part(
        cells[0].cell_id,
        path,
        collections.Counter(cell.split for cell in cells),
        dict(zip(continent_names(), numbers, strict=True)),
        {split: tuple(sorted(of_split)) for split, of_split in tiles.items()},
    )


def close_selection(
    files: Files, settings: SelectionSettings, parts: Iterable[Part], counts: Mapping[str, int]
) -> None:
    """Puts the list together and writes what describes it; or, if cells are missing, only why.

    JSON and map of an earlier list are deleted before the new list takes its place, and the new JSON is written last.
    So a disk that fails in between leaves a list that nothing describes, never one that another's JSON describes.

    Args:
        files: The file system.
        settings: The settings of the job.
        parts: All pieces.
        counts: Of all steps before the sample.
    """
    ordered = sorted(parts, key=lambda part: part.first_id)
    described = _describe(settings, ordered, counts)
    problem = _problem(settings, described["counts"])
    if problem:
        files.write_text(
            join(settings.output, PROBLEM_FILE), description_json({"problem": problem, **described})
        )
    else:
        digest = _join_parts(files, settings.output, ordered)
        described["csv_sha256"] = digest
        # Last: where there is a JSON, its list is whole.
        files.write_text(join(settings.output, SELECTION_FILE), description_json(described))
    delete_leftovers(files, settings.output)


def _describe(
    settings: SelectionSettings, parts: Iterable[Part], counts: Mapping[str, int]
) -> dict[str, Any]:
    sampling = settings.sampling
    cells: collections.Counter[str] = collections.Counter()
    continents: collections.Counter[str] = collections.Counter()
    tiles: dict[Split, set[str]] = collections.defaultdict(set)
    for part in parts:
        cells.update(part.splits)
        continents.update(part.continents)
        for split, names in part.tiles.items():
            tiles[split].update(names)
    all_counts = {**counts, "sampled": cells.total()}
    return {
        "grid": GRID_DESCRIPTION,
        "seed": sampling.seed,
        "settings": {
            "region": _region(settings.region),
            "num_cells": sampling.num_cells,
            "fraction": sampling.fraction if sampling.num_cells is None else None,
            "max_tiles": sampling.max_tiles,
            "night_lights": [_name(file.path) for file in settings.night_lights],
            "land_cover": _name(settings.land_cover.path),
        },
        "counts": {name: all_counts.get(name, 0) for name in COUNTS},
        "night_light_pixels": counts.get("pixels", 0),
        "lit_pixels": counts.get("lit_pixels", 0),
        "splits": {split: {"cells": cells[split], "tiles": len(tiles[split])} for split in SPLITS},
        "continents": {name: number for name, number in sorted(continents.items()) if number},
        "credits": list(CREDITS),
    }


def _region(region: str | None) -> Any:
    """Returns a region as JSON has it: a bounding box as a list of numbers."""
    if region is None:
        return None
    return [float(part) for part in region.split(",")] if is_bbox(region) else json.loads(region)


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _problem(settings: SelectionSettings, counts: Mapping[str, int]) -> str:
    wanted = settings.sampling.num_cells
    if not counts["usable"]:
        return (
            f"no cell is left: {counts['candidates']:,} candidates, {counts['lit']:,} of them lit, "
            f"{counts['not_all_water']:,} of these on land"
        )
    if wanted is not None and counts["sampled"] < wanted:
        where = "" if settings.sampling.max_tiles is None else f" in {settings.sampling.max_tiles} tiles"
        return (
            f"--num_cells is larger than what there is: {counts['sampled']:,} cells can be drawn{where}. "
            f"Give at most so many, or leave it out to take all. Received: {wanted}"
        )
    return ""


def _join_parts(files: Files, output: str, parts: Iterable[Part]) -> str:
    """Writes the list of its pieces, one at a time in memory; returns its SHA-256."""
    digest = hashlib.sha256()

    def pieces() -> Iterator[bytes]:
        yield CSV_HEADER.encode()
        for part in parts:
            yield files.read_bytes(part.path)

    def hashed() -> Iterator[bytes]:
        for piece in pieces():
            digest.update(piece)
            yield piece

    aside = aside_path(output)
    files.write_bytes(aside, hashed())
    for name in (SELECTION_FILE, PLOT_FILE):
        files.delete(join(output, name))
    files.rename(aside, join(output, CELLS_FILE))
    return digest.hexdigest()


def selection_table(described: Mapping[str, Any]) -> str:
    """Returns what a person wants to know of a finished selection, as text."""
    counts = described["counts"]
    width = max(map(len, COUNTS))
    lines = [f"{name.replace('_', ' '):{width}} {counts[name]:>13,}" for name in COUNTS]
    for split, numbers in described["splits"].items():
        lines.append(f"  {split:{width - 2}} {numbers['cells']:>13,} in {numbers['tiles']:,} tiles")
    lines += [f"  {name:{width - 2}} {number:>13,}" for name, number in described["continents"].items()]
    if described["lit_pixels"] > _MOST_LIT * described["night_light_pixels"]:
        share = described["lit_pixels"] / described["night_light_pixels"]
        lines.append(
            f"WARNING: {share:.0%} of the night-light pixels are lit. Is it the masked product (average_masked)?"
        )
    return "\n".join(lines)
