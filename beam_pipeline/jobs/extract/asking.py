"""The objects that Overpass gives to tiles: asked for cell by cell, kept as a piece for each tile."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.dataset.folder import DatasetFolder
from beam_pipeline.features.identity import StoreRequest, overpass_identity
from beam_pipeline.features.names import answered_record, piece_of_tile, tile_file
from beam_pipeline.features.parting import part_objects
from beam_pipeline.features.plan import TileCells
from beam_pipeline.jobs.extract.pieces import PieceRead, kept_record, pieces_are_there
from beam_pipeline.jobs.extract.putting import put_file
from beam_pipeline.jobs.extract.settings import AskedOverpass, ExtractSettings
from beam_pipeline.jobs.stages import describe
from beam_pipeline.labels.feature import Found
from beam_pipeline.labels.map_object import MapObject
from beam_pipeline.labels.object_columns import ObjectColumns
from beam_pipeline.labels.overpass import objects_of_chip
from beam_pipeline.runtime.faults import Failure
from beam_pipeline.runtime.traffic import Traffic


def ask_overpass(
    store: DatasetFolder, cells: TileCells, asked: AskedOverpass, settings: ExtractSettings, traffic: Traffic
) -> PieceRead:
    """Asks for the cells of a tile, one after the other; nobody is asked where all was answered before.

    Args:
        store: The store's folder.
        cells: The tile.
        asked: The server.
        settings: The job's.
        traffic: Paces the queries.

    Returns:
        What came of it; each cell that failed with its reason.

    Raises:
        Fault: What was answered cannot be written.
    """
    extract = overpass_identity(asked.date)
    request = StoreRequest({cells.tile: cells.chips}, settings.keys)
    kept = kept_record(store, answered_record(extract, cells.tile))
    if kept is not None and kept.fits(extract, request) and pieces_are_there(store, kept, [cells.tile]):
        return PieceRead(extract, kept, tile=cells.tile)
    answers = _Answers(asked, settings, traffic)
    with tempfile.TemporaryDirectory() as folder:
        record = part_objects(answers.of(cells.chips), request, Path(folder), extract)
        for tile in record.tiles:
            put_file(store, piece_of_tile(extract, tile), Path(folder) / tile_file(tile))
    if not answers.failed:
        store.write_text(answered_record(extract, cells.tile), record.to_json())
    return PieceRead(extract, record, tile=cells.tile, failed_cells=answers.failed)


class _Answers:
    """The answers for the cells of a tile.

    Args:
        asked: The server.
        settings: The job's.
        traffic: Paces the queries.

    Attributes:
        failed: The cells that could not be asked for, once all answers have come, and why.
    """

    def __init__(self, asked: AskedOverpass, settings: ExtractSettings, traffic: Traffic) -> None:
        self.failed: dict[int, Failure] = {}
        self._asked = asked
        self._keys = settings.keys
        self._traffic = traffic
        self._seen: set[tuple[str, int]] = set()

    def of(self, chips: dict[int, ChipWindow]) -> Iterator[Found[ObjectColumns]]:
        """Yields the objects of the cells, each once: neighbours have many in common."""
        for cell_id, chip in sorted(chips.items()):
            try:
                found = objects_of_chip(
                    chip,
                    self._keys,
                    self._asked.url,
                    self._asked.cache,
                    date=self._asked.date,
                    traffic=self._traffic,
                    own_network=self._asked.own_network,
                )
            except Exception as error:
                self.failed[cell_id] = describe(error)
            else:
                yield Found([self._unseen(columns) for columns in found.features], found.dropped)

    def _unseen(self, columns: ObjectColumns) -> ObjectColumns:
        objects: list[MapObject] = []
        for one in columns.objects():
            if (one.osm_type, one.osm_id) not in self._seen:
                self._seen.add((one.osm_type, one.osm_id))
                objects.append(one)
        return ObjectColumns.of(columns.osm_type, objects)
