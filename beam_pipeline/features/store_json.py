"""`store.json`: what a store holds and was made of, written when all tiles are; and whether it fits a request."""

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Literal

import pydantic
from pydantic import Field

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.features.footer import ExtractFailure, Model, TileFooter, WrittenFile
from beam_pipeline.features.identity import ExtractIdentity, StoreRequest, cells_sha256
from beam_pipeline.features.piece import LeftOut
from beam_pipeline.features.schema import SCHEMA_VERSION
from beam_pipeline.labels.chip_boxes import Bounds
from beam_pipeline.runtime.parsing import parse_json

_Count = Annotated[int, Field(ge=0)]
_MOST_NAMED = 10


class StoreTile(WrittenFile):
    """A tile file.

    Attributes:
        cells: Number of its cells.
        cells_sha256: `identity.cells_sha256` of these.
    """

    cells: _Count
    cells_sha256: str

    @classmethod
    def of(cls, written: WrittenFile, chips: Mapping[int, ChipWindow]) -> "StoreTile":
        """Returns what `store.json` holds of a tile file."""
        return cls(**written.model_dump(), cells=len(chips), cells_sha256=cells_sha256(chips))


class StoreExtract(Model):
    """An extract of which a store was to be made.

    Attributes:
        extract: The extract.
        bounds: Of its header; None where it gives none.
        outcome: "read"; "beyond", as it lies far from all cells; or "failed".
        left_out: What was left out of it.
    """

    extract: ExtractIdentity
    bounds: Bounds | None
    outcome: Literal["read", "beyond", "failed"]
    left_out: LeftOut = LeftOut()


class Store(Model):
    """The content of `store.json`.

    Attributes:
        schema_version: `SCHEMA_VERSION` of its writer.
        source: Where the objects are from.
        url: Of the Overpass server; "" of extracts.
        date: Of the objects that Overpass was asked for; "" of extracts.
        extracts: The extracts, in order of name.
        keys: An object with a tag of one of these keys is held; sorted.
        padding_m: How far from a chip an object is still held, in metres.
        cells: Number of cells.
        cells_sha256: `StoreRequest.cells_sha256`.
        tiles: Tile -> its file; sorted. Each tile of a cell has one.
        superseded: Copies of objects that differed from those that were kept.
        failures: Extracts that could not be read.
    """

    schema_version: int = SCHEMA_VERSION
    source: Literal["extracts", "overpass"]
    url: str = ""
    date: str = ""
    extracts: tuple[StoreExtract, ...]
    keys: tuple[str, ...]
    padding_m: Annotated[float, Field(ge=0)]
    cells: _Count
    cells_sha256: str
    tiles: dict[str, StoreTile]
    superseded: _Count = 0
    failures: tuple[ExtractFailure, ...] = ()

    @classmethod
    def from_json(cls, text: str | bytes) -> "Store":
        """Parses what `to_json` wrote.

        Raises:
            MalformedError: It is none; the message names the field.
        """
        return parse_json(_ADAPTER, text)

    def to_json(self) -> str:
        """Returns the text of the file; the same whatever the order of extracts, tiles and failures."""
        ordered = self.model_copy(
            update={
                "extracts": tuple(sorted(self.extracts, key=lambda it: it.extract)),
                "tiles": {tile: self.tiles[tile] for tile in sorted(self.tiles)},
                "failures": tuple(sorted(self.failures, key=lambda it: (it.extract, it.reason, it.detail))),
            }
        )
        return ordered.model_dump_json(indent=1) + "\n"


_ADAPTER = pydantic.TypeAdapter(Store)


def store_differences(
    store: Store, request: StoreRequest, extracts: Collection[ExtractIdentity] | None = None
) -> list[str]:
    """Returns what a store lacks of a request, or has otherwise; a line each, none where it fits.

    A store may have more than is asked for: more cells, keys or padding.

    Args:
        store: The store.
        request: What is asked for.
        extracts: What the store must be made of; None for any.

    Returns:
        The lines. Whether the cells of `tiles_to_compare` are there is not among them.
    """
    if store.schema_version != SCHEMA_VERSION:
        return [f"its schema is {store.schema_version}, and this version reads {SCHEMA_VERSION}"]
    lines = _lacking(store.keys, store.padding_m, request)
    missing = sorted(tile for tile, chips in request.cells.items() if chips and tile not in store.tiles)
    if missing:
        lines.append(f"it lacks {_listed('tile', missing)}")
    if extracts is not None:
        lines += _extract_differences([it.extract for it in store.extracts], extracts)
    return lines


def tiles_to_compare(store: Store, request: StoreRequest) -> list[str]:
    """Returns the tiles of a store whose cells are not just those that are asked for: `tile_differences` tells more."""
    return [
        tile
        for tile, chips in sorted(request.cells.items())
        if chips and tile in store.tiles and store.tiles[tile].cells_sha256 != cells_sha256(chips)
    ]


def tile_differences(
    footer: TileFooter, tile: str, request: StoreRequest, extracts: Collection[ExtractIdentity] | None = None
) -> list[str]:
    """Returns what a tile file lacks of a request, or has otherwise; a line each, none where it is complete.

    Args:
        footer: Of the file, of this schema.
        tile: The tile that it should be of.
        request: What is asked for.
        extracts: What it must be made of; None for any.
    """
    lines = [] if footer.tile == tile else [f"it is of tile {footer.tile}"]
    lines += _lacking(footer.keys, footer.padding_m, request)
    held, asked = footer.chips, request.cells.get(tile, {})
    missing = [str(cell_id) for cell_id in sorted(asked) if cell_id not in held]
    moved = [str(cell_id) for cell_id in sorted(asked) if held.get(cell_id, asked[cell_id]) != asked[cell_id]]
    if missing:
        lines.append(f"it lacks {_listed('cell', missing)} of tile {tile}")
    if moved:
        lines.append(f"it has elsewhere {_listed('cell', moved)} of tile {tile}")
    if extracts is not None:
        lines += _extract_differences(footer.extracts, extracts)
    lines += [f"{it.extract} could not be read ({it.reason}: {it.detail})" for it in footer.failures]
    return lines


def _lacking(keys: Collection[str], padding_m: float, request: StoreRequest) -> list[str]:
    lines = []
    if lacking := sorted(set(request.keys) - set(keys)):
        lines.append(f"it lacks {_listed('key', lacking)}")
    if padding_m < request.padding_m:
        lines.append(f"it reaches {padding_m:g} m beyond the chips, and {request.padding_m:g} m are needed")
    return lines


def _extract_differences(held: Collection[ExtractIdentity], asked: Collection[ExtractIdentity]) -> list[str]:
    lines = []
    if lacking := sorted(set(asked) - set(held)):
        lines.append(f"it was not made of {_listed('extract', list(map(_shown, lacking)))}")
    if more := sorted(set(held) - set(asked)):
        lines.append(f"it was also made of {_listed('extract', list(map(_shown, more)))}")
    return lines


def _shown(extract: ExtractIdentity) -> str:
    return f"{extract.name} ({extract.bytes} bytes, {extract.timestamp or 'of no stated time'})"


def _listed(noun: str, names: Sequence[str]) -> str:
    plural = noun if len(names) == 1 else f"{len(names)} {noun}s"
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return f"{plural} {', '.join(names[:_MOST_NAMED])}{more}"
