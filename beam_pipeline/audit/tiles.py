"""Proves from the files alone that a tile's file of a store is what the store says and its pieces give.

Nothing is taken from other tiles: so they may be looked at in any order, and anywhere.
"""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from beam_pipeline.audit.findings import Findings
from beam_pipeline.audit.parts import AuditPart
from beam_pipeline.audit.store_rows import check_rows
from beam_pipeline.dataset.folder import DatasetFolder
from beam_pipeline.features.footer import TileFooter, WrittenFile
from beam_pipeline.features.identity import ExtractIdentity, StoreRequest
from beam_pipeline.features.merging import merged_rows
from beam_pipeline.features.names import piece_of_tile, tile_file
from beam_pipeline.features.nearness import TileIndex
from beam_pipeline.features.plan import PlannedExtract, PlannedStore, TileCells
from beam_pipeline.features.schema import SCHEMA
from beam_pipeline.features.store_json import StoreTile
from beam_pipeline.features.stored_tile import DAMAGED, OTHER_SCHEMA, StoredTile, data_sha256, describe
from beam_pipeline.features.writing import geo_of, in_order
from beam_pipeline.runtime.faults import Fault

_TILE = "tile"
_PIECE = "piece"


@dataclasses.dataclass(frozen=True)
class TileWork:
    """A tile to be looked at.

    Attributes:
        cells: The tile, as planned; without cells where no plan can be read.
        said: What `store.json` says of its file; None where it says nothing.
        pieces: What each extract gave to it, None for nothing; of the extracts of which that is known.
    """

    cells: TileCells
    said: StoreTile | None
    pieces: Mapping[ExtractIdentity, WrittenFile | None]


@dataclasses.dataclass(frozen=True)
class TileAudit:
    """Compares the file of a tile with the plan, with what the store says, and with its pieces. It pickles.

    Attributes:
        store: The store's folder.
        shown: What the names of its files begin with where they are told.
        planned: What every file is made for.
        extracts: What the store was asked to be made of; None where that cannot be read.
        is_whole: Whether each tile must have a file.
    """

    store: DatasetFolder
    shown: str
    planned: PlannedStore
    extracts: tuple[PlannedExtract, ...] | None
    is_whole: bool

    def __call__(self, work: TileWork) -> AuditPart:
        """Reads a tile.

        Args:
            work: The tile.

        Returns:
            What was found in it alone.
        """
        part, findings = AuditPart(), Findings()
        findings.checked["tiles"] += 1
        name = tile_file(work.cells.tile)
        try:
            with self._opened(name, findings, "missing_tile" if self.is_whole else None) as opened:
                if opened is not None:
                    self._audit(work, name, *opened, part, findings)
        except Fault as fault:  # of the storage, on the way
            _note(fault, name, findings, None)
        part.findings.merge(findings.below(self.shown))
        return part

    def _audit(
        self,
        work: TileWork,
        name: str,
        file: BinaryIO,
        tile: StoredTile,
        part: AuditPart,
        findings: Findings,
    ) -> None:
        footer = tile.footer
        cells = work.cells if work.cells.cells else TileCells(work.cells.tile, tuple(footer.chips.items()))
        written = StoreTile.of(describe(file), cells.chips)
        findings.checked["tile_bytes"] += written.bytes
        part.store.add(cells.tile, written, footer)
        for field in ("rows", "bytes", "digest"):
            said = None if work.said is None else getattr(work.said, field)
            if said not in (None, getattr(written, field)):
                findings.differ(
                    _TILE, name, f"has {field} {getattr(written, field)}, and store.json says {said}"
                )
        request = StoreRequest({cells.tile: cells.chips}, self.planned.keys, self.planned.padding_m)
        for detail in (*_footer_faults(footer, cells.tile, request), *self._extract_faults(footer, cells)):
            findings.differ(_TILE, name, detail)
        rows = self._rows(tile, name, findings)
        if rows is None:
            return
        findings.checked["objects"] += rows.num_rows
        if footer.data_sha256 != data_sha256(file):
            findings.differ(_TILE, name, "does not hold the data whose hash is in its footer")
        check_rows(rows, request, lambda detail: findings.differ("object", name, detail))
        if rows.num_rows and tile.geo != geo_of(rows, np.arange(rows.num_rows)):
            findings.differ(_TILE, name, "says of its geometries what they are not, under the key geo")
        self._compare_pieces(work, cells, footer, rows, name, findings)

    def _extract_faults(self, footer: TileFooter, cells: TileCells) -> Iterator[str]:
        """Compares what a file says it was made of with the extracts near it."""
        if self.extracts is None:
            return
        index = TileIndex([cells])
        near = {it.identity for it in self.extracts if index.near(it.bounds)}
        failed = {failure.extract for failure in footer.failures}
        for extract in sorted(set(footer.extracts) - near):
            yield f"was made of {extract.name}, which the store was not to be made of, or which is far from the tile"
        for extract in sorted(near - set(footer.extracts)):
            if extract.name not in failed:
                yield f"was not made of {extract.name}"
        for name in sorted(failed - {extract.name for extract in near}):
            yield f"says that {name} could not be read, of which it was not to be made"
        for failure in footer.failures:
            if unknown := sorted({*failure.cell_ids} - {*cells.chips}):
                yield f"says that cell {unknown[0]} lacks {failure.extract}, and is not for that cell"

    def _compare_pieces(
        self,
        work: TileWork,
        cells: TileCells,
        footer: TileFooter,
        rows: pa.Table,
        name: str,
        findings: Findings,
    ) -> None:
        """Merges the pieces of a tile once more, if all of them are there."""
        with contextlib.ExitStack() as stack:
            given: list[tuple[ExtractIdentity, StoredTile | None]] = []
            whole = set(work.pieces) >= set(footer.extracts)
            for extract, said in sorted(work.pieces.items(), key=lambda it: it[0]):
                opened = stack.enter_context(self._piece(extract, said, cells, findings))
                if said is not None and opened is None:
                    whole = whole and extract not in footer.extracts
                elif extract in footer.extracts:
                    given.append((extract, opened))
            if not whole:
                return
            try:
                merged, kept, superseded = merged_rows(given)
            except Fault as fault:
                findings.differ(_PIECE, name, fault.detail)
                return
            if not merged.take(pa.array(in_order(merged, kept))).equals(rows):
                findings.differ(_TILE, name, "is not what its pieces give")
            if footer.superseded != superseded:
                findings.differ(
                    _TILE,
                    name,
                    f"says that {footer.superseded} copies were superseded, its pieces give {superseded}",
                )

    @contextlib.contextmanager
    def _piece(
        self, extract: ExtractIdentity, said: WrittenFile | None, cells: TileCells, findings: Findings
    ) -> Iterator[StoredTile | None]:
        """Opens a piece, if it is there and what its record says; pieces may be deleted."""
        if said is None:
            yield None
            return
        name = piece_of_tile(extract, cells.tile)
        with self._opened(name, findings, None) as opened:
            if opened is None:
                yield None
                return
            file, piece = opened
            findings.checked["pieces"] += 1
            request = StoreRequest({cells.tile: cells.chips}, self.planned.keys, self.planned.padding_m)
            filled = {"rows": said.rows, "data_sha256": data_sha256(file)}
            wanted = TileFooter.of(cells.tile, request, [extract]).model_copy(update=filled)
            is_said = describe(file) == WrittenFile(**said.model_dump(include={"rows", "bytes", "digest"}))
            if not is_said or piece.footer != wanted:
                findings.differ(_PIECE, name, "is not what its record says")
            yield piece if is_said else None

    @contextlib.contextmanager
    def _opened(
        self, name: str, findings: Findings, missing: str | None
    ) -> Iterator[tuple[BinaryIO, StoredTile] | None]:
        """Opens a file of the store whose footer is sound; what is wrong is noted."""
        with contextlib.ExitStack() as stack:
            opened = None
            try:
                file = stack.enter_context(self.store.files.open_ranges(self.store.at(name)))
                opened = file, StoredTile(file, name)
            except Fault as fault:
                _note(fault, name, findings, missing)
            yield opened

    def _rows(self, tile: StoredTile, name: str, findings: Findings) -> pa.Table | None:
        """Returns all rows of a file in one chunk; None where they cannot be read."""
        try:
            return pa.Table.from_batches(tile.rows(), SCHEMA).combine_chunks()
        except Fault as fault:
            _note(fault, name, findings, None)
        except OSError as error:
            findings.unreadable(name, str(error))
        return None


def _note(fault: Fault, name: str, findings: Findings, missing: str | None) -> None:
    if fault.reason == "not_found":
        if missing is not None:
            findings.differ(missing, name, "is not there")
    elif fault.reason in (DAMAGED, OTHER_SCHEMA):
        findings.differ(fault.reason, name, fault.detail)
    else:
        findings.unreadable(name, fault.detail)


def _footer_faults(footer: TileFooter, tile: str, request: StoreRequest) -> Iterator[str]:
    wanted = TileFooter.of(tile, request, footer.extracts, footer.failures)
    for field in ("tile", "cells", "keys", "padding_m", "extracts", "failures"):
        if getattr(footer, field) != getattr(wanted, field):
            yield f"says other {field} than the plan"
