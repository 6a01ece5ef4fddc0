"""The Beam side of the feature store: extracts -> pieces -> a file for each tile. Wiring, metrics, failures; no logic.

Objects of the map are never shuffled: they pass from whoever reads an extract to whoever writes a tile's file by way of
the store's folder. What is grouped and handed on are names of tiles, cells and records of pieces.
"""

import dataclasses
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
from apache_beam import pvalue
from apache_beam.metrics import Metrics

from beam_pipeline.dataset.folder import DatasetFolder
from beam_pipeline.features.piece import PieceRecord
from beam_pipeline.features.plan import TILES_FILE, TileCells
from beam_pipeline.jobs.extract.asking import ask_overpass, overpass_identity
from beam_pipeline.jobs.extract.closing import close_store
from beam_pipeline.jobs.extract.pieces import PieceRead, find_piece, is_needed, read_piece
from beam_pipeline.jobs.extract.settings import AskedOverpass, ExtractSettings, GivenExtract
from beam_pipeline.jobs.extract.tiles import TileState, look_at_tile, make_tile
from beam_pipeline.jobs.stages import JobStage, describe
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.runtime.faults import Fault

_log = logging.getLogger(__name__)

DUE = "due"
"""The tag of tiles whose file is to be made."""

TileReady = tuple[str, TileState]
"""(tile, what there is of its file)."""


class _StoreStage(JobStage):
    """A stage of the job that fills a store."""

    settings: ExtractSettings

    def setup(self) -> None:
        super().setup()
        self.store = DatasetFolder(BeamFiles(), self.settings.store)


@dataclasses.dataclass(eq=False)  # not frozen: Beam keeps notes of its own on a transform
class FillStore(beam.PTransform):
    """(tile, name) of who waits for a tile -> each of the plan's tiles, once nothing is left to do for its file.

    Attributes:
        settings: The job's.
        waiting: Those who wait; None where all tiles are to be made.
    """

    settings: ExtractSettings
    waiting: beam.PCollection[tuple[str, str]] | None = None

    def expand(self, pipeline: beam.Pipeline) -> Any:
        """Returns the tiles under "tiles" as `TileReady`, and under "closed" what comes once the store is described."""
        settings = self.settings
        tiles = pipeline | "Tiles" >> beam.Create([TILES_FILE]) | beam.ParDo(_ReadTiles(settings))
        parts = {"cells": tiles | "KeyByTile" >> beam.Map(_keyed).with_output_types(tuple[str, TileCells])}
        if self.waiting is not None:
            parts["waiting"] = self.waiting
        looked = (
            parts
            | "WhoWaits" >> beam.CoGroupByKey()
            | "LookAtTiles" >> beam.ParDo(_LookAtTile(settings)).with_outputs(DUE, main="done")
        )
        due = looked[DUE]
        pieces = self._ask(due, settings.overpass) if settings.overpass else self._read(pipeline, due)
        merged = due | "MergeTiles" >> beam.ParDo(_MergeTile(settings), pvalue.AsList(pieces))
        states = (looked["done"], merged) | "AllTiles" >> beam.Flatten()
        closed = (
            pipeline
            | "Once" >> beam.Create([None])
            | "DescribeStore"
            >> beam.ParDo(_CloseStore(settings), pvalue.AsList(states), pvalue.AsList(pieces))
        )
        ready = states | "Ready" >> beam.Map(lambda state: (state.tile, state)).with_output_types(TileReady)
        return {"tiles": ready, "closed": closed}

    def _read(self, pipeline: beam.Pipeline, due: beam.PCollection[TileCells]) -> beam.PCollection[PieceRead]:
        names = pvalue.AsList(due | "Names" >> beam.Map(lambda tile: tile.tile))
        return (
            pipeline
            | "Extracts" >> beam.Create(self.settings.extracts, reshuffle=True)
            | "ReadExtracts" >> beam.ParDo(_ReadExtract(self.settings), names)
        )

    def _ask(self, due: beam.PCollection[TileCells], asked: AskedOverpass) -> beam.PCollection[PieceRead]:
        return (
            due
            # One key, so that queries are never sent in parallel: the public servers ask for that.
            | "OneKey" >> beam.WithKeys("").with_output_types(tuple[str, TileCells])
            | "OneAfterAnother" >> beam.GroupByKey()
            | "AskOverpass" >> beam.ParDo(_AskOverpass(self.settings, asked))
        )


def _keyed(tile: TileCells) -> tuple[str, TileCells]:
    return tile.tile, tile


class _ReadTiles(_StoreStage):
    stage = "plan"

    def process(self, name: str) -> Iterator[TileCells]:
        for line in self.store.read_bytes(name).splitlines():
            yield TileCells.from_json(line)


class _LookAtTile(_StoreStage):
    stage = "look_at_tile"

    def process(self, element: tuple[str, Mapping[str, Iterable[Any]]]) -> Iterator[Any]:
        _, grouped = element
        (cells,) = grouped["cells"]
        state = look_at_tile(self.store, cells, self.settings)
        again = self.settings.make_all or any(True for _ in grouped.get("waiting", ()))
        if state is not None and not (state.failures and again):
            Metrics.counter(self.stage, "tiles_there").inc()
            yield state
        elif again:
            Metrics.counter(self.stage, "tiles_due").inc()
            yield pvalue.TaggedOutput(DUE, cells)


class _ReadExtract(_StoreStage):
    stage = "read_extract"

    def process(self, extract: GivenExtract, due: Sequence[str]) -> Iterator[PieceRead]:
        try:
            record = self._record(extract, due)
        except Exception as error:
            self.failures.inc()
            yield PieceRead(extract.identity, None, describe(error))
        else:
            if record is not None:
                yield PieceRead(extract.identity, record)

    def _record(self, extract: GivenExtract, due: Sequence[str]) -> PieceRecord | None:
        """Returns what an extract gave; None where nothing of it is needed."""
        record = find_piece(self.store, extract, due, self.settings)
        if record is not None:
            Metrics.counter(self.stage, "pieces_there").inc()
            return record
        if not is_needed(self.store, extract, due):
            return None
        with self.timing.measured():
            record = read_piece(self.store, extract, self.settings)
        Metrics.counter(self.stage, "pieces_read").inc()
        Metrics.counter(self.stage, "features").inc(sum(file.rows for file in record.tiles.values()))
        for reason, count in record.left_out.counts.items():
            Metrics.counter(self.stage, f"dropped_{reason}").inc(count)
        return record


class _AskOverpass(_StoreStage):
    stage = "overpass"

    def __init__(self, settings: ExtractSettings, asked: AskedOverpass) -> None:
        super().__init__(settings)
        self._asked = asked

    def process(self, element: tuple[str, Iterable[TileCells]]) -> Iterator[PieceRead]:
        for cells in sorted(element[1], key=lambda it: it.tile):
            try:
                with self.timing.measured():
                    read = ask_overpass(self.store, cells, self._asked, self.settings, self.api)
            except Exception as error:
                failed = dict.fromkeys(cells.chips, describe(error))
                read = PieceRead(overpass_identity(self._asked), None, tile=cells.tile, failed_cells=failed)
            self.failures.inc(len(read.failed_cells))
            self.count_retried()
            yield read


class _MergeTile(_StoreStage):
    stage = "merge_tile"

    def process(self, cells: TileCells, pieces: Sequence[PieceRead]) -> Iterator[TileState]:
        try:
            with self.timing.measured():
                state = make_tile(self.store, cells, pieces, self.settings)
        except Exception as error:
            self.failures.inc()
            state = TileState(cells.tile, None, failure=describe(error))
        yield state


class _CloseStore(_StoreStage):
    stage = "describe_store"

    def process(self, _: None, states: Sequence[TileState], pieces: Sequence[PieceRead]) -> Iterator[None]:
        try:
            close_store(self.store, states, pieces, self.settings)
        except Fault as fault:
            # E.g. on a full disk. The tiles are sound, and the next run describes them.
            self.failures.inc()
            _log.error("the store of features could not be described: %s", fault)
        yield None
