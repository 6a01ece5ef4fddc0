"""The objects that extracts give to tiles: looked for in the store's folder, and else read and put there."""

import dataclasses
import functools
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from beam_pipeline.dataset.folder import DatasetFolder
from beam_pipeline.features.identity import ExtractIdentity, StoreRequest
from beam_pipeline.features.names import piece_of_tile, piece_record, tile_file
from beam_pipeline.features.nearness import TileIndex
from beam_pipeline.features.piece import PieceRecord
from beam_pipeline.features.plan import TILES_FILE, parse_tiles
from beam_pipeline.features.read_process import read_extract
from beam_pipeline.features.schema import STORE_FILE, TILE_SUFFIX
from beam_pipeline.jobs.extract.putting import put_file
from beam_pipeline.jobs.extract.settings import ExtractSettings, GivenExtract
from beam_pipeline.jobs.storage import local_copy
from beam_pipeline.runtime.faults import Failure
from beam_pipeline.runtime.parsing import MalformedError


@dataclasses.dataclass(frozen=True)
class PieceRead:
    """The outcome of reading an extract, or of asking Overpass for a tile.

    Attributes:
        extract: The extract.
        record: What it gave; None where it could not be read.
        failure: Why it could not.
        tile: Of Overpass, the tile that was asked for; "" for all tiles.
        failed_cells: Of Overpass, the cells that could not be asked for, and why.
    """

    extract: ExtractIdentity
    record: PieceRecord | None
    failure: Failure | None = None
    tile: str = ""
    failed_cells: Mapping[int, Failure] = dataclasses.field(default_factory=dict)


def find_piece(
    store: DatasetFolder, extract: GivenExtract, due: Sequence[str], settings: ExtractSettings
) -> PieceRecord | None:
    """Returns the record of what an earlier run read of an extract.

    Args:
        store: The store's folder.
        extract: The extract.
        due: The tiles whose file is to be made: what the extract gave to them must be there.
        settings: The job's.

    Returns:
        The record; None where the extract is yet to be read, or was read for something else.
    """
    record = kept_record(store, piece_record(extract.identity))
    if record is None or not record.fits(extract.identity, _request(store, settings)):
        return None
    return record if pieces_are_there(store, record, due) else None


def is_needed(store: DatasetFolder, extract: GivenExtract, due: Sequence[str]) -> bool:
    """Tells whether an extract whose record is gone is to be read.

    Args:
        store: The store's folder.
        extract: The extract.
        due: The tiles whose file is to be made.

    Returns:
        Whether one of them is near it; of a store that has files and no `store.json`, whether any tile is: nothing else
        tells what was left out of the extract.
    """
    plan, asking = store.read_bytes(TILES_FILE), tuple(due)
    if not store.exists(STORE_FILE) and (asking or store.names(f"*{TILE_SUFFIX}")):
        asking = tuple(tile.tile for tile in parse_tiles(plan))
    return bool(asking) and bool(_index(plan, asking).near(extract.bounds))


def read_piece(store: DatasetFolder, extract: GivenExtract, settings: ExtractSettings) -> PieceRecord:
    """Reads an extract for all tiles of the store.

    Args:
        store: The store's folder.
        extract: The extract.
        settings: The job's.

    Returns:
        The record, which is in the store's folder as the last of its files.

    Raises:
        Fault: The extract cannot be read, or what it gave cannot be written.
    """
    scratch = settings.limits.scratch()
    with local_copy(extract.path) as local, tempfile.TemporaryDirectory(dir=scratch) as folder:
        record = read_extract(local, _request(store, settings), folder, settings.limits)
        for tile in record.tiles:
            put_file(store, piece_of_tile(extract.identity, tile), Path(folder) / tile_file(tile))
    store.write_text(piece_record(extract.identity), record.to_json())
    return record


def _request(store: DatasetFolder, settings: ExtractSettings) -> StoreRequest:
    return _request_of(store.read_bytes(TILES_FILE), settings.keys)


# A worker looks at many extracts of one store: of 137,045 cells each step would take a second for each extract.
@functools.lru_cache(maxsize=1)
def _request_of(plan: bytes, keys: tuple[str, ...]) -> StoreRequest:
    return StoreRequest({tile.tile: tile.chips for tile in parse_tiles(plan)}, keys)


@functools.lru_cache(maxsize=1)
def _index(plan: bytes, due: tuple[str, ...]) -> TileIndex:
    wanted = set(due)
    return TileIndex([tile for tile in parse_tiles(plan) if tile.tile in wanted])


def kept_record(store: DatasetFolder, name: str) -> PieceRecord | None:
    """Returns a record of an earlier run; None where there is none, or what is there is damaged."""
    if not store.exists(name):
        return None
    try:
        return PieceRecord.from_json(store.read_bytes(name))
    except MalformedError:
        return None


def pieces_are_there(store: DatasetFolder, record: PieceRecord, tiles: Sequence[str]) -> bool:
    """Tells whether the files of tiles that a record names are there, as long as it says."""
    sizes = ((tile, record.tiles[tile].bytes) for tile in tiles if tile in record.tiles)
    return all(store.size(piece_of_tile(record.extract, tile)) == size for tile, size in sizes)
