"""The last step of filling a store: says what it holds, in `store.json`."""

import collections
import logging
from collections.abc import Sequence

from beam_pipeline.dataset.folder import LICENSES_FILE, DatasetFolder
from beam_pipeline.features.footer import ExtractFailure
from beam_pipeline.features.identity import ExtractIdentity, overpass_identity
from beam_pipeline.features.nearness import TileIndex
from beam_pipeline.features.notices import store_licences_md
from beam_pipeline.features.piece import LeftOut
from beam_pipeline.features.plan import REQUEST_FILE, TILES_FILE, PlannedStore, TileCells, parse_tiles
from beam_pipeline.features.schema import STORE_FILE
from beam_pipeline.features.store_json import Store, StoreExtract, gathered_failures
from beam_pipeline.jobs.extract.pieces import PieceRead
from beam_pipeline.jobs.extract.settings import ExtractSettings
from beam_pipeline.jobs.extract.tiles import TileState
from beam_pipeline.labels.feature import DroppedTally

_MOST_NAMED = 3

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
        failed = collections.Counter(state.failure for state in states if state.failure is not None)
        for (reason, detail), count in failed.most_common(_MOST_NAMED):
            _log.warning("%d of them: %s: %s", count, reason, detail)
        return
    failures = gathered_failures(failure for state in states for failure in state.failures)
    planned = PlannedStore.from_json(store.read_bytes(REQUEST_FILE))
    described = Store(
        schema_version=planned.schema_version,
        source="extracts" if planned.overpass is None else "overpass",
        url="" if planned.overpass is None else planned.overpass.url,
        date="" if planned.overpass is None else planned.overpass.date,
        extracts=_extracts(tiles, pieces, failures, settings),
        keys=planned.keys,
        padding_m=planned.padding_m,
        cells=sum(len(tile.cells) for tile in tiles),
        cells_sha256=planned.cells_sha256,
        tiles=files,
        superseded=sum(state.superseded for state in states),
        failures=failures,
    )
    store.write_text(LICENSES_FILE, store_licences_md())
    store.delete_leftovers()
    # Last: a folder with a store.json is whole.
    store.write_text(STORE_FILE, described.to_json())


def _extracts(
    tiles: Sequence[TileCells],
    pieces: Sequence[PieceRead],
    failures: Sequence[ExtractFailure],
    settings: ExtractSettings,
) -> tuple[StoreExtract, ...]:
    """Says of each extract what came of it; Overpass is one."""
    failed = {failure.extract for failure in failures}
    tallies: dict[ExtractIdentity, DroppedTally] = {}
    for piece in sorted(pieces, key=lambda it: it.tile):
        if piece.record is not None:
            tallies.setdefault(piece.extract, DroppedTally()).update(piece.record.left_out.dropped())
    near = TileIndex(tiles).near
    asked = [(it.identity, it.bounds, bool(near(it.bounds))) for it in settings.extracts]
    if settings.overpass is not None:
        asked = [(overpass_identity(settings.overpass.date), None, True)]
    return tuple(
        StoreExtract(
            extract=extract,
            bounds=bounds,
            outcome="beyond" if not is_near else "failed" if extract.name in failed else "read",
            left_out=LeftOut.of(tallies[extract].dropped()) if extract in tallies else LeftOut(),
        )
        for extract, bounds, is_near in asked
    )
