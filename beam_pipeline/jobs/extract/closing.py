"""The last step of filling a store: says what it holds, in `store.json`."""

import logging
from collections.abc import Sequence

from beam_pipeline.dataset.folder import LICENSES_FILE, DatasetFolder
from beam_pipeline.dataset.notices import store_licences_md
from beam_pipeline.features.footer import ExtractFailure
from beam_pipeline.features.identity import ExtractIdentity
from beam_pipeline.features.piece import LeftOut
from beam_pipeline.features.plan import REQUEST_FILE, TILES_FILE, PlannedStore, TileCells, parse_tiles
from beam_pipeline.features.schema import STORE_FILE
from beam_pipeline.features.store import StoredExtract, StoreRecord
from beam_pipeline.jobs.extract.nearness import TileIndex
from beam_pipeline.jobs.extract.pieces import PieceRead
from beam_pipeline.jobs.extract.settings import ExtractSettings
from beam_pipeline.jobs.extract.tiles import TileState
from beam_pipeline.labels.feature import DroppedTally

_log = logging.getLogger(__name__)


def close_store(
    store: DatasetFolder,
    states: Sequence[TileState],
    pieces: Sequence[PieceRead],
    settings: ExtractSettings,
) -> None:
    """Describes a store of which every tile has its file; any other is left to the next run.

    Args:
        store: The store's folder.
        states: What there is of each tile's file.
        pieces: What came of each extract that was looked at.
        settings: The job's.
    """
    tiles = parse_tiles(store.read_bytes(TILES_FILE))
    files = {
        state.tile: state.file for state in sorted(states, key=lambda it: it.tile) if state.file is not None
    }
    missing = [tile.tile for tile in tiles if tile.tile not in files]
    if missing:
        _log.warning("%s is not whole: %d of %d tiles have no file", store.path, len(missing), len(tiles))
        return
    failures = _failures(states)
    planned = PlannedStore.from_json(store.read_bytes(REQUEST_FILE))
    record = StoreRecord(
        **planned.model_dump(exclude={"overpass"}),
        overpass=planned.overpass,
        cells=sum(len(tile.cells) for tile in tiles),
        extracts=_extracts(tiles, pieces, failures, settings),
        answers=_answers(pieces) if settings.overpass is not None else None,
        failures=failures,
        superseded=sum(state.superseded for state in states),
        tiles=files,
    )
    store.write_text(LICENSES_FILE, store_licences_md())
    store.delete_leftovers()
    # Last: a folder with a store.json is whole.
    store.write_text(STORE_FILE, record.to_json())


def _failures(states: Sequence[TileState]) -> tuple[ExtractFailure, ...]:
    """Gathers what tiles say of what could not be read, by extract and reason."""
    cells: dict[tuple[str, str, str], set[int]] = {}
    for state in states:
        for failure in state.failures:
            cells.setdefault((failure.extract, failure.reason, failure.detail), set()).update(
                failure.cell_ids
            )
    return tuple(
        ExtractFailure(extract=extract, reason=reason, detail=detail, cell_ids=tuple(sorted(cell_ids)))
        for (extract, reason, detail), cell_ids in sorted(cells.items())
    )


def _extracts(
    tiles: Sequence[TileCells],
    pieces: Sequence[PieceRead],
    failures: Sequence[ExtractFailure],
    settings: ExtractSettings,
) -> tuple[StoredExtract, ...]:
    index = TileIndex(tiles)
    left_out: dict[ExtractIdentity, LeftOut] = {
        piece.extract: piece.record.left_out for piece in pieces if piece.record is not None
    }
    failed = {failure.extract for failure in failures}
    return tuple(
        StoredExtract(
            name=it.identity.name,
            bytes=it.identity.bytes,
            timestamp=it.identity.timestamp,
            bounds=it.bounds,
            state="beyond"
            if not index.near(it.bounds)
            else "failed"
            if it.identity.name in failed
            else "read",
            left_out=left_out.get(it.identity),
        )
        for it in sorted(settings.extracts, key=lambda it: it.identity)
    )


def _answers(pieces: Sequence[PieceRead]) -> LeftOut:
    """Adds up what was left out of the answers of all tiles."""
    tally = DroppedTally()
    for piece in sorted(pieces, key=lambda it: it.tile):
        if piece.record is not None:
            tally.update(piece.record.left_out.dropped())
    return LeftOut.of(tally.dropped())
