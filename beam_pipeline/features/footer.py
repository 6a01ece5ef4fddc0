"""The description of a file of a store in the file's footer."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Annotated

import pydantic
from pydantic import Field

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.features.identity import ExtractIdentity, StoreRequest
from beam_pipeline.features.schema import SCHEMA_VERSION
from beam_pipeline.runtime.parsing import parse_json

_Count = Annotated[int, Field(ge=0)]
CellRow = tuple[int, int, int, int]
"""Cell id; EPSG code, left and bottom of its chip."""


class Model(pydantic.BaseModel):
    """A part of a store's JSON; unknown fields of a later version are kept as they are."""

    model_config = pydantic.ConfigDict(frozen=True, strict=True, extra="allow")


class WrittenFile(Model):
    """A file of a store.

    Attributes:
        rows: Number of objects.
        bytes: Size of the file.
        digest: `StoredTile.digest`.
    """

    rows: _Count
    bytes: _Count
    digest: str


class ExtractFailure(Model):
    """An extract that could not be read.

    Attributes:
        extract: Its file name.
        reason: A short stable word for counting.
        detail: What happened, for people.
        cell_ids: The cells that may lack objects for it, ascending.
    """

    extract: str
    reason: str
    detail: str
    cell_ids: tuple[int, ...]


class TileFooter(Model):
    """The description of a piece or a tile file, in its footer.

    Attributes:
        schema_version: `SCHEMA_VERSION` of its writer.
        tile: MGRS tile.
        cells: The tile's cells, ascending.
        keys: An object with a tag of one of these keys is held; sorted.
        padding_m: How far from a chip an object is still held, in metres.
        extracts: What it was made of, in order of name.
        failures: Extracts that could not be read, in order of name.
        rows: Number of objects.
        superseded: Copies of objects that differed from those that were kept.
        data_sha256: `stored_tile.data_sha256`. By it the digest of the footer tells of all that the file holds.
    """

    schema_version: int
    tile: str
    cells: tuple[CellRow, ...]
    keys: tuple[str, ...]
    padding_m: Annotated[float, Field(ge=0)]
    extracts: tuple[ExtractIdentity, ...]
    failures: tuple[ExtractFailure, ...] = ()
    rows: _Count = 0
    superseded: _Count = 0
    data_sha256: str = ""

    @classmethod
    def of(
        cls,
        tile: str,
        request: StoreRequest,
        extracts: Iterable[ExtractIdentity],
        failures: Iterable[ExtractFailure] = (),
    ) -> "TileFooter":
        """Returns the footer of a tile's file that is to be written; the numbers follow."""
        return cls(
            schema_version=SCHEMA_VERSION,
            tile=tile,
            cells=cell_rows(request.cells.get(tile, {})),
            keys=tuple(sorted(request.keys)),
            padding_m=request.padding_m,
            extracts=tuple(sorted(extracts)),
            failures=tuple(sorted(failures, key=lambda it: (it.extract, it.reason, it.detail))),
        )

    @property
    def chips(self) -> dict[int, ChipWindow]:
        """Cell id -> chip."""
        return {cell_id: ChipWindow(*chip) for cell_id, *chip in self.cells}

    @classmethod
    def from_json(cls, text: str | bytes) -> "TileFooter":
        """Parses what `to_json` wrote.

        Raises:
            MalformedError: It is none; the message names the field.
        """
        return parse_json(_ADAPTER, text)

    def to_json(self) -> str:
        """Returns the text of the footer."""
        return self.model_dump_json()


_ADAPTER = pydantic.TypeAdapter(TileFooter)


def cell_rows(chips: Mapping[int, ChipWindow]) -> tuple[CellRow, ...]:
    """Returns chips as a footer holds them."""
    return tuple((cell_id, *dataclasses.astuple(chips[cell_id])) for cell_id in sorted(chips))
