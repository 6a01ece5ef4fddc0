"""The plan: which cells go into which shard, fixed before anything is read.

A *unit* is one shard's work: up to `cells_per_shard` cells of one tile, all years. Cells are sorted and cut
per tile, so shard names are known up front and do not depend on the runner. The plan lies in the output
folder and workers read it from there: a job graph must not hold 137,045 cells.
"""

import dataclasses
import itertools
import json
from collections.abc import Iterable, Sequence
from typing import Annotated, Self

import pydantic
from pydantic import Field

from beam_pipeline.cells.cell import SPLITS, Cell, ChipWindow, Place, Split
from beam_pipeline.records.shards import parse_shard_name, shard_name
from beam_pipeline.runtime.parsing import parse_json

_Degrees = Annotated[int | float, Field(gt=-(2**53), lt=2**53, allow_inf_nan=False)]
_CellRow = tuple[int, int, int, int, _Degrees, _Degrees, _Degrees, _Degrees]
_PlaceRow = tuple[str, str, _Degrees, _Degrees, str]


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
        places = [dataclasses.astuple(c.place) for c in self.cells if c.place is not None]
        of_places = {"places": places} if places else {}
        return json.dumps(
            {"name": self.name, "split": self.split, "tile": self.tile, "cells": rows, **of_places}
        )

    @classmethod
    def from_json(cls, line: str | bytes) -> "Unit":
        """Reads a line of the plan.

        Raises:
            MalformedError: It is none. Name and tile become those of files, so both are checked.
        """
        parsed = parse_json(_LINE, line)
        places: list[Place | None] = [Place(*row) for row in parsed.places]
        cells = tuple(
            Cell(
                cell_id,
                parsed.tile,
                parsed.split,
                ChipWindow(epsg, left, bottom),
                west,
                east,
                south,
                north,
                place,
            )
            for (cell_id, epsg, left, bottom, west, east, south, north), place in zip(
                parsed.cells, places or [None] * len(parsed.cells), strict=True
            )
        )
        return cls(parsed.name, parsed.split, parsed.tile, cells)


class _UnitLine(pydantic.BaseModel):
    """A line of the plan; a cell is [id, EPSG, left, bottom, min_lon, max_lon, min_lat, max_lat].

    Its place, where there are places, is [name, class, longitude, latitude, date].
    """

    model_config = pydantic.ConfigDict(strict=True)

    name: str
    split: Split
    tile: Annotated[str, Field(pattern=r"^[0-9]{2}[A-Z]{3}$")]
    cells: tuple[_CellRow, ...]
    places: tuple[_PlaceRow, ...] = ()

    @pydantic.model_validator(mode="after")
    def _name_says_split(self) -> Self:
        split, _, _ = parse_shard_name(self.name)
        if self.split != split:
            raise ValueError(f"{self.name} is no unit of the split {self.split!r}")
        if self.places and len(self.places) != len(self.cells):
            raise ValueError(f"there are {len(self.places)} places of {len(self.cells)} cells")
        return self


_LINE = pydantic.TypeAdapter(_UnitLine)


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
    """Returns the text of `plan/units.jsonl`, one unit a line."""
    return "".join(unit.to_json() + "\n" for unit in units)


def parse_units(text: bytes) -> list[Unit]:
    """Reads the text of `plan/units.jsonl`.

    Raises:
        MalformedError: A line is no unit.
    """
    return [Unit.from_json(line) for line in text.splitlines()]


def numbered_in_turn(units: Sequence[Unit]) -> bool:
    """Tells whether the names of a plan's units are those of all shards, in their order."""
    names = {split: [unit.name for unit in units if unit.split == split] for split in SPLITS}
    return all(
        name == shard_name(split, index, len(of_split))
        for split, of_split in names.items()
        for index, name in enumerate(of_split)
    )
