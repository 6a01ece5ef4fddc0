"""The plan: which cells go into which shard, fixed before anything is read.

A *unit* is one shard's work: up to `cells_per_shard` cells of one tile, all years. Cells are sorted and cut
per tile, so shard names are known up front and do not depend on the runner. The plan lies in the output
folder and workers read it from there: a job graph must not hold 137,045 cells.
"""

import dataclasses
import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from beam_pipeline.cells.cell import SPLITS, Cell, ChipWindow, Split
from beam_pipeline.imagery.scenes import SceneNote
from beam_pipeline.records.example import CellYear
from beam_pipeline.records.shards import parse_shard_name, shard_name

UNITS_FILE = "plan/units.jsonl"
ONTOLOGY_FILE = "plan/osm_categories.json"
"""The ontology of the labels, whole."""

LAUNCH_FILE = "plan/launch.json"
"""What the launcher saw that decides nothing: {"cells_beyond_extracts": number of cells, null if unknown}."""

_TILE = re.compile(r"[0-9]{2}[A-Z]{3}")


@dataclasses.dataclass(frozen=True)
class Unit:
    """One shard's work.

    Attributes:
        name: The shard's file name, e.g. "opensentinelmap-training.tfrecord-00003-of-00012".
        split: The split of the tile.
        tile: MGRS tile name that all the unit's cells share.
        cells: The cells, sorted by id.
    """

    name: str
    split: Split
    tile: str
    cells: tuple[Cell, ...]

    def to_json(self) -> str:
        """Returns one line of JSON, the inverse of `from_json`."""
        # Tile and split are the unit's; a cell repeats neither.
        rows = [
            [c.cell_id, c.chip.epsg, c.chip.left, c.chip.bottom, c.min_lon, c.max_lon, c.min_lat, c.max_lat]
            for c in self.cells
        ]
        return json.dumps({"name": self.name, "split": self.split, "tile": self.tile, "cells": rows})

    @classmethod
    def from_json(cls, line: str) -> "Unit":
        """Reads a line of `UNITS_FILE`.

        Raises:
            ValueError: It is none. Name and tile become those of files, so both are checked.
        """
        fields = json.loads(line)
        split, _, _ = parse_shard_name(fields["name"])
        if fields["split"] != split:
            raise ValueError(f"{fields['name']} is no unit of the split {fields['split']!r}")
        if _TILE.fullmatch(fields["tile"]) is None:
            raise ValueError(f"{fields['tile']!r} is no MGRS tile")
        return cls(
            fields["name"], split, fields["tile"], tuple(_cell(row, fields) for row in fields["cells"])
        )


def _cell(row: Sequence[Any], unit: Mapping[str, Any]) -> Cell:
    """Reads a cell of a unit, whose row is as `Unit.to_json` writes it.

    Raises:
        ValueError: It is not.
    """
    cell_id, epsg, left, bottom, *bounds = row
    whole = all(type(value) is int for value in (cell_id, epsg, left, bottom))
    # Neither NaN nor a whole number that no double holds.
    degrees = all(type(value) in (int, float) and abs(value) < 2**53 for value in bounds)
    if not whole or len(bounds) != 4 or not degrees:
        raise ValueError(f"{row!r} is no cell of {unit['name']}")
    return Cell(cell_id, unit["tile"], unit["split"], ChipWindow(epsg, left, bottom), *bounds)


def make_units(cells: Iterable[Cell], cells_per_shard: int) -> list[Unit]:
    """Cuts cells into units.

    Args:
        cells: Cells in any order; ids are unique.
        cells_per_shard: The most cells a unit holds.

    Returns:
        Units sorted by split, tile and cell id. The same cells give the same units.
    """
    ordered = sorted(cells, key=lambda cell: (SPLITS.index(cell.split), cell.tile, cell.cell_id))
    pieces: dict[Split, list[tuple[Cell, ...]]] = {split: [] for split in SPLITS}
    for (split, _tile), group in itertools.groupby(ordered, key=lambda cell: (cell.split, cell.tile)):
        of_tile = tuple(group)
        pieces[split] += [
            of_tile[start : start + cells_per_shard] for start in range(0, len(of_tile), cells_per_shard)
        ]
    return [
        Unit(shard_name(split, index, len(of_split)), split, piece[0].tile, piece)
        for split, of_split in pieces.items()
        for index, piece in enumerate(of_split)
    ]


def units_text(units: Sequence[Unit]) -> str:
    """Returns the content of `UNITS_FILE`, one unit a line."""
    return "".join(unit.to_json() + "\n" for unit in units)


def json_text(content: Mapping[str, Any]) -> str:
    """Returns the content of a JSON file of the plan; equal content gives equal text."""
    return json.dumps(content, indent=1, sort_keys=True) + "\n"


CellYearId = tuple[int, int]
"""(cell id, year)."""


@dataclasses.dataclass(frozen=True)
class DeadLetter:
    """An unexpected failure that cost a cell-year, a cell or a unit.

    Attributes:
        unit: The unit's shard name.
        cell_id: The cell, None where the whole unit failed.
        year: The year, None where all years failed.
        stage: What was being done, e.g. "read".
        reason: A short stable word for counting, e.g. "throttled".
        detail: What happened, for people.
    """

    unit: str
    cell_id: int | None
    year: int | None
    stage: str
    reason: str
    detail: str

    def to_json(self) -> str:
        """Returns one line of JSON."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)


@dataclasses.dataclass(frozen=True)
class AssembledUnit:
    """A unit whose pixels are read.

    Attributes:
        unit: The unit.
        years: How many years were asked for.
        cell_years: What is to be written, sorted by cell and year.
        rejections: Cell-years that the data refused, (cell_id, year), by reason.
        scene_rejections: Looks at a scene of a chip that the filters refused, by reason.
        dropped_geometries: OSM geometries that could not be drawn, by reason.
        years_without_items: Years in which the catalogue has no item of the tile.
        notes: Scenes that are unusable for good, each once.
        dead_letters: Cell-years that failed.
    """

    unit: Unit
    years: int
    cell_years: tuple[CellYear, ...]
    rejections: dict[str, list[CellYearId]]
    scene_rejections: dict[str, int]
    dropped_geometries: dict[str, int]
    years_without_items: tuple[int, ...]
    notes: tuple[SceneNote, ...]
    dead_letters: tuple[DeadLetter, ...]
