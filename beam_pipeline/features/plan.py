"""The plan of a store: what it is to hold, and for which cells. Workers read the cells from the store's folder."""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from typing import Annotated

import pydantic
from pydantic import Field

from beam_pipeline.cells.cell import Cell, ChipWindow
from beam_pipeline.features.identity import ExtractIdentity, StoreRequest
from beam_pipeline.features.schema import SCHEMA_VERSION
from beam_pipeline.runtime.parsing import parse_json

TILES_FILE = "plan/tiles.jsonl"
"""In a store's folder: the cells of each tile, one tile a line."""

REQUEST_FILE = "plan/request.json"
"""In a store's folder: what every file of it is made for, as `PlannedStore`."""

EXTRACTS_FILE = "plan/extracts.json"
"""In a store's folder: the extracts that it was last asked to be made of, as `PlannedExtracts`."""


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


class Overpass(pydantic.BaseModel):
    """The server that is asked in place of extracts.

    Attributes:
        url: Its API, without secrets.
        date: As of when it is asked, "2019-07-01T00:00:00Z"; "" for the time of asking.
    """

    model_config = pydantic.ConfigDict(frozen=True, strict=True)

    url: str
    date: str


class PlannedStore(pydantic.BaseModel):
    """The specification that every file of a store is made to; another one makes another store.

    Attributes:
        schema_version: `schema.SCHEMA_VERSION` of the program that began it.
        cells_sha256: `StoreRequest.cells_sha256`.
        keys: An object with one of these is held; sorted.
        padding_m: How far from a chip an object is still held, in metres.
        overpass: The server that is asked; None with extracts.
    """

    model_config = pydantic.ConfigDict(frozen=True, strict=True)

    schema_version: int
    cells_sha256: str
    keys: tuple[str, ...]
    padding_m: float
    overpass: Overpass | None = None

    @classmethod
    def of(cls, request: StoreRequest, overpass: Overpass | None) -> "PlannedStore":
        """Returns the plan of what is asked for."""
        return cls(
            schema_version=SCHEMA_VERSION,
            cells_sha256=request.cells_sha256,
            keys=request.keys,
            padding_m=request.padding_m,
            overpass=overpass,
        )

    @classmethod
    def from_json(cls, text: str | bytes) -> "PlannedStore":
        """Reads what `to_json` wrote.

        Raises:
            MalformedError: It is none; the message names the field.
        """
        return parse_json(_STORE, text)

    def to_json(self) -> str:
        """Returns the text of `plan/request.json`."""
        return _text(self)

    def differences(self, other: "PlannedStore") -> list[str]:
        """Names what differs, with its value here and in the other."""
        here, there = self.model_dump(), other.model_dump()
        return [
            f"{name}: {here[name]!r} there, {there[name]!r} now" for name in here if here[name] != there[name]
        ]


class PlannedExtract(pydantic.BaseModel):
    """An extract as its header tells of it; the attributes are those of `ExtractIdentity`, and bounds in degrees."""

    model_config = pydantic.ConfigDict(frozen=True, strict=True)

    name: str
    bytes: int
    timestamp: str
    bounds: tuple[float, float, float, float] | None

    @property
    def identity(self) -> ExtractIdentity:
        """The name, size and timestamp that tell it from others."""
        return ExtractIdentity(self.name, self.bytes, self.timestamp)


class PlannedExtracts(pydantic.BaseModel):
    """The extracts of a store, in order of name."""

    model_config = pydantic.ConfigDict(frozen=True, strict=True)

    extracts: tuple[PlannedExtract, ...]

    @classmethod
    def from_json(cls, text: str | bytes) -> "PlannedExtracts":
        """Reads what `to_json` wrote.

        Raises:
            MalformedError: It is none; the message names the field.
        """
        return parse_json(_EXTRACTS, text)

    def to_json(self) -> str:
        """Returns the text of `plan/extracts.json`."""
        return _text(self)


_STORE = pydantic.TypeAdapter(PlannedStore)
_EXTRACTS = pydantic.TypeAdapter(PlannedExtracts)


def _text(model: pydantic.BaseModel) -> str:
    return json.dumps(model.model_dump(mode="json"), indent=1, sort_keys=True) + "\n"


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
