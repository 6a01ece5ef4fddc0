"""The plan of a feature store: which cells each tile's file is for. Workers read it from the store's folder."""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from typing import Annotated

import pydantic
from pydantic import Field

from beam_pipeline.cells.cell import Cell, ChipWindow
from beam_pipeline.runtime.parsing import parse_json

TILES_FILE = "plan/tiles.jsonl"
"""In a store's folder: the cells of each tile, one tile a line."""


@dataclasses.dataclass(frozen=True)
class TileCells:
    """The cells of a tile that a store is for.

    Attributes:
        tile: MGRS tile name.
        cells: (cell id, chip) of each, sorted by id.
    """

    tile: str
    cells: tuple[tuple[int, ChipWindow], ...]

    @property
    def chips(self) -> dict[int, ChipWindow]:
        """The chips by cell id."""
        return dict(self.cells)

    def to_json(self) -> str:
        """Returns one line of JSON, the inverse of `from_json`."""
        rows = [[cell_id, chip.epsg, chip.left, chip.bottom] for cell_id, chip in self.cells]
        return json.dumps({"tile": self.tile, "cells": rows})

    @classmethod
    def from_json(cls, line: str | bytes) -> "TileCells":
        """Reads a line of the plan.

        Raises:
            MalformedError: It is none. The tile becomes the name of a file, so it is checked.
        """
        parsed = parse_json(_LINE, line)
        return cls(parsed.tile, tuple((cell_id, ChipWindow(*chip)) for cell_id, *chip in parsed.cells))


class _TileLine(pydantic.BaseModel):
    """A line of the plan; a cell is [id, EPSG, left, bottom]."""

    model_config = pydantic.ConfigDict(strict=True)

    tile: Annotated[str, Field(pattern=r"^[0-9]{2}[A-Z]{3}$")]
    cells: Annotated[tuple[tuple[int, int, int, int], ...], Field(min_length=1)]


_LINE = pydantic.TypeAdapter(_TileLine)


def tiles_of(cells: Iterable[Cell]) -> list[TileCells]:
    """Gathers cells by tile.

    Args:
        cells: Cells in any order; ids are unique.

    Returns:
        Tiles sorted by name.
    """
    by_tile: dict[str, list[tuple[int, ChipWindow]]] = {}
    for cell in cells:
        by_tile.setdefault(cell.tile, []).append((cell.cell_id, cell.chip))
    return [
        TileCells(tile, tuple(sorted(of_tile, key=lambda it: it[0])))
        for tile, of_tile in sorted(by_tile.items())
    ]


def tiles_text(tiles: Sequence[TileCells]) -> str:
    """Returns the text of `plan/tiles.jsonl`."""
    return "".join(tile.to_json() + "\n" for tile in tiles)


def parse_tiles(text: bytes) -> list[TileCells]:
    """Reads the text of `plan/tiles.jsonl`.

    Raises:
        MalformedError: A line is no tile.
    """
    return [TileCells.from_json(line) for line in text.splitlines()]
