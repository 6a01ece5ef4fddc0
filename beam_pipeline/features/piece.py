"""`piece.json`: what one extract gave to the tiles, written when all of its pieces are."""

from collections.abc import Mapping
from typing import Annotated

import pydantic
from pydantic import Field

from beam_pipeline.features.footer import Model, WrittenFile
from beam_pipeline.features.identity import ExtractIdentity, StoreRequest
from beam_pipeline.features.schema import SCHEMA_VERSION
from beam_pipeline.labels.chip_boxes import Bounds
from beam_pipeline.labels.feature import Dropped
from beam_pipeline.runtime.parsing import parse_json

_Count = Annotated[int, Field(ge=0)]


class LeftOut(Model):
    """Objects of an extract that are not in the store, or of which nothing can be drawn.

    Attributes:
        counts: Reason -> number of objects.
        named: Reason -> the first of them, as "way/123".
    """

    counts: dict[str, _Count] = Field(default_factory=dict)
    named: dict[str, tuple[str, ...]] = Field(default_factory=dict)

    @classmethod
    def of(cls, dropped: Dropped) -> "LeftOut":
        """Returns what was dropped, as JSON holds it."""
        return cls(counts=dict(dropped.counts), named=dict(dropped.named))

    def dropped(self) -> Dropped:
        """Is the inverse of `of`."""
        return Dropped(self.counts, self.named)


class PieceRecord(Model):
    """The record of the objects that one extract gave to tiles.

    Attributes:
        schema_version: `SCHEMA_VERSION` of its writer.
        extract: The extract.
        bounds: Of its header; None where it gives none.
        keys: An object with a tag of one of these keys was taken; sorted.
        padding_m: How far from a chip an object was still taken, in metres.
        cells_sha256: `StoreRequest.cells_sha256` of the cells.
        tiles: Tile -> its file, where the extract has objects for it; sorted.
        left_out: What was left out of the extract.
    """

    schema_version: int
    extract: ExtractIdentity
    bounds: Bounds | None
    keys: tuple[str, ...]
    padding_m: Annotated[float, Field(ge=0)]
    cells_sha256: str
    tiles: dict[str, WrittenFile]
    left_out: LeftOut

    @classmethod
    def of(
        cls,
        extract: ExtractIdentity,
        bounds: Bounds | None,
        request: StoreRequest,
        tiles: Mapping[str, WrittenFile],
        dropped: Dropped,
    ) -> "PieceRecord":
        """Returns the record of an extract that was read for a request."""
        return cls(
            schema_version=SCHEMA_VERSION,
            extract=extract,
            bounds=bounds,
            keys=tuple(sorted(request.keys)),
            padding_m=request.padding_m,
            cells_sha256=request.cells_sha256,
            tiles={tile: tiles[tile] for tile in sorted(tiles)},
            left_out=LeftOut.of(dropped),
        )

    def fits(self, extract: ExtractIdentity, request: StoreRequest) -> bool:
        """Tells whether the pieces are those that reading an extract for a request would give."""
        return (
            self.schema_version == SCHEMA_VERSION
            and self.extract == extract
            and self.keys == tuple(sorted(request.keys))
            and self.padding_m == request.padding_m
            and self.cells_sha256 == request.cells_sha256
        )

    @classmethod
    def from_json(cls, text: str | bytes) -> "PieceRecord":
        """Parses what `to_json` wrote.

        Raises:
            MalformedError: It is none; the message names the field.
        """
        return parse_json(_ADAPTER, text)

    def to_json(self) -> str:
        """Returns the text of the file."""
        return self.model_dump_json(indent=1) + "\n"


_ADAPTER = pydantic.TypeAdapter(PieceRecord)
