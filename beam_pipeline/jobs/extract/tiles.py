"""The files of a store's tiles: looked at, and made of pieces."""

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from beam_pipeline.dataset.folder import DatasetFolder
from beam_pipeline.features.footer import ExtractFailure, TileFooter
from beam_pipeline.features.identity import ExtractIdentity, StoreRequest, overpass_identity
from beam_pipeline.features.merging import merge_tile
from beam_pipeline.features.names import piece_of_tile, piece_record, tile_file
from beam_pipeline.features.nearness import TileIndex
from beam_pipeline.features.plan import TileCells
from beam_pipeline.features.store_json import StoreTile
from beam_pipeline.features.stored_tile import DAMAGED, StoredTile, describe
from beam_pipeline.jobs.extract.pieces import PieceRead
from beam_pipeline.jobs.extract.putting import put_file
from beam_pipeline.jobs.extract.settings import ExtractSettings, GivenExtract
from beam_pipeline.jobs.storage import local_copy
from beam_pipeline.labels.chip_boxes import Bounds, cells_meeting
from beam_pipeline.runtime.faults import Failure, PermanentFault


@dataclasses.dataclass(frozen=True)
class TileState:
    """The state of a tile's file.

    Attributes:
        tile: The tile.
        file: The file; None where there is none.
        superseded: Copies of objects that differed from those that were kept.
        failures: The extracts that could not be read, as the file says.
        failure: Why there is no file.
    """

    tile: str
    file: StoreTile | None
    superseded: int = 0
    failures: tuple[ExtractFailure, ...] = ()
    failure: Failure | None = None


def look_at_tile(store: DatasetFolder, cells: TileCells, settings: ExtractSettings) -> TileState | None:
    """Returns what an earlier run made of a tile.

    Args:
        store: The store's folder.
        cells: The tile.
        settings: The job's.

    Returns:
        The state of its file; None where it is yet to be made, or was made of something else.
    """
    name = tile_file(cells.tile)
    if not store.exists(name):
        return None
    with store.files.open_ranges(store.at(name)) as file:
        try:
            footer = StoredTile(file, store.at(name)).footer
        except PermanentFault:
            return None  # what a disk that failed left of one
        if not _fits(footer, cells, settings):
            return None
        return _state(footer, StoreTile.of(describe(file), cells.chips))


def make_tile(
    store: DatasetFolder, cells: TileCells, pieces: Sequence[PieceRead], settings: ExtractSettings
) -> TileState:
    """Makes a tile's file of what the extracts near it gave.

    Args:
        store: The store's folder.
        cells: The tile.
        pieces: What came of all extracts.
        settings: The job's.

    Returns:
        The state of the file, which is in the store's folder.

    Raises:
        ValueError: The runner lost what came of an extract.
        Fault: A piece is damaged, or the storage failed.
    """
    near = _asked_of(cells, settings)
    of_tile = {
        piece.extract: piece for piece in pieces if piece.extract in near and piece.tile in ("", cells.tile)
    }
    if len(of_tile) != len(near):
        raise ValueError(f"{len(of_tile)} of {len(near)} extracts near {cells.tile} came to its file")
    read = [piece.extract for piece in of_tile.values() if piece.record is not None]
    unread = _unread_cells(cells, read, settings)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as opened:
        given = [
            (extract, opened.enter_context(_piece(store, of_tile[extract], cells.tile))) for extract in read
        ]
        target = Path(folder) / tile_file(cells.tile)
        with target.open("wb") as file:
            failures = [it for piece in of_tile.values() for it in _failures(piece, cells, unread, settings)]
            footer = merge_tile(file, cells.tile, given, failures, _request(cells, settings))
        with target.open("rb") as file:
            written = StoreTile.of(describe(file), cells.chips)
        put_file(store, tile_file(cells.tile), target)
    return _state(footer, written)


def _fits(footer: TileFooter, cells: TileCells, settings: ExtractSettings) -> bool:
    """Tells whether a file is for the same cells and made of the same extracts, or would be, had none failed."""
    failed = {failure.extract for failure in footer.failures}
    asked_of = _asked_of(cells, settings)
    if not failed <= {extract.name for extract in asked_of}:
        return False
    whole = footer.model_copy(update={"failures": (), "rows": 0, "superseded": 0, "data_sha256": ""})
    made_of = {*footer.extracts, *(extract for extract in asked_of if extract.name in failed)}
    return whole == TileFooter.of(cells.tile, _request(cells, settings), footer.extracts) and made_of == {
        *asked_of
    }


def _state(footer: TileFooter, file: StoreTile) -> TileState:
    return TileState(footer.tile, file, footer.superseded, footer.failures)


def _request(cells: TileCells, settings: ExtractSettings) -> StoreRequest:
    return StoreRequest({cells.tile: cells.chips}, settings.keys)


def _asked_of(cells: TileCells, settings: ExtractSettings) -> list[ExtractIdentity]:
    """Returns what a tile's file is made of."""
    if settings.overpass is not None:
        return [overpass_identity(settings.overpass.date)]
    index = TileIndex([cells])
    return [extract.identity for extract in settings.extracts if index.near(extract.bounds)]


@contextlib.contextmanager
def _piece(store: DatasetFolder, piece: PieceRead, tile: str) -> Iterator[StoredTile | None]:
    """Opens what an extract gave to a tile; a damaged one is read anew by the next run."""
    if piece.record is None or tile not in piece.record.tiles:
        yield None
        return
    name = piece_of_tile(piece.extract, tile)
    try:
        with local_copy(store.at(name)) as local, open(local, "rb") as file:
            yield StoredTile(file, store.at(name), known=piece.record.tiles[tile].digest)
    except PermanentFault as fault:
        if fault.reason == DAMAGED:
            store.files.delete(store.at(piece_record(piece.extract)))
        raise


def _unread_cells(
    cells: TileCells, read: Sequence[ExtractIdentity], settings: ExtractSettings
) -> frozenset[int]:
    """Returns the cells that no extract that was read may hold; one that states no bounds may hold any."""
    bounds = [_bounds(extract, settings.extracts) for extract in read] if settings.overpass is None else []
    held = {cell_id for it in bounds for cell_id in cells_meeting(cells.chips, it)}
    return frozenset(cells.chips) - held


def _failures(
    piece: PieceRead, cells: TileCells, unread: frozenset[int], settings: ExtractSettings
) -> Iterator[ExtractFailure]:
    """Yields what a tile's file says of an extract that failed, or of questions that did.

    Args:
        piece: What came of the extract.
        cells: The tile.
        unread: `_unread_cells`: whatever they have would be of an extract that failed, within its bounds or not, as
            these may be stated too small.
        settings: The job's.
    """
    of_reason: dict[Failure, list[int]] = {}
    if piece.failure is not None:
        # What the rest of the extract would have said of these cells is unknown.
        within = cells_meeting(cells.chips, _bounds(piece.extract, settings.extracts))
        of_reason[piece.failure] = [*unread.union(within)]
    for cell_id, failure in piece.failed_cells.items():
        of_reason.setdefault(failure, []).append(cell_id)
    for (reason, detail), cell_ids in of_reason.items():
        yield ExtractFailure(
            extract=piece.extract.name, reason=reason, detail=detail, cell_ids=tuple(sorted(cell_ids))
        )


def _bounds(identity: ExtractIdentity, extracts: Sequence[GivenExtract]) -> Bounds | None:
    (bounds,) = (extract.bounds for extract in extracts if extract.identity == identity)
    return bounds
