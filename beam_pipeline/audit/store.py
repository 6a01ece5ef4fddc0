"""Reads what a store of features says of itself, and compares it with its files."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeVar

from beam_pipeline.audit.findings import LEFTOVER, NOT_RENAMED, Findings
from beam_pipeline.audit.parts import StoreSums
from beam_pipeline.audit.reading import list_files, read_file
from beam_pipeline.audit.report import REPORT_FILE
from beam_pipeline.audit.tiles import TileAudit, TileWork
from beam_pipeline.dataset.folder import LICENSES_FILE, DatasetFolder
from beam_pipeline.features.footer import Model, WrittenFile
from beam_pipeline.features.identity import ExtractIdentity, StoreRequest, cells_sha256, overpass_identity
from beam_pipeline.features.names import answered_record, piece_record, tile_file
from beam_pipeline.features.nearness import TileIndex
from beam_pipeline.features.notices import store_licences_md
from beam_pipeline.features.piece import LeftOut, PieceRecord
from beam_pipeline.features.plan import (
    EXTRACTS_FILE,
    REQUEST_FILE,
    TILES_FILE,
    Overpass,
    PlannedExtract,
    PlannedExtracts,
    PlannedStore,
    TileCells,
    parse_tiles,
    tiles_text,
)
from beam_pipeline.features.schema import PIECES_FOLDER, SCHEMA_VERSION, STORE_FILE, TILE_SUFFIX
from beam_pipeline.features.store_json import Store, StoreExtract, gathered_failures
from beam_pipeline.labels.chip_boxes import Bounds
from beam_pipeline.labels.feature import DroppedTally
from beam_pipeline.runtime.faults import Fault
from beam_pipeline.runtime.files import TEMPORARY_FOLDER
from beam_pipeline.runtime.parsing import MalformedError
from beam_pipeline.runtime.regular_files import put_files_there
from beam_pipeline.runtime.whole_files import PARTIAL_SUFFIX

_Read = TypeVar("_Read")
_Part = TypeVar("_Part", bound=Model)

_ROOMS = ("plan", PIECES_FOLDER, TEMPORARY_FOLDER)
_DEPTHS = ("*", "*/*", "*/*/*")
_STORE = "store"


@dataclasses.dataclass(frozen=True)
class StorePlan:
    """The plan and the description of a store, by which its audit goes.

    Attributes:
        folder: The store's folder.
        shown: What the names of its files begin with where they are told: "features/" in a dataset.
        described: `store.json`; None where it cannot be read.
        planned: What every file is made for, as far as it can be read.
        extracts: What the store was asked to be made of; None where that cannot be read, or of Overpass.
        records: What each extract gave, by extract and tile ("" for all tiles); of those whose pieces are kept.
        works: The tiles to be looked at.
        is_whole: Whether each tile must have a file.
    """

    folder: DatasetFolder
    shown: str
    described: Store | None
    planned: PlannedStore
    extracts: tuple[PlannedExtract, ...] | None
    records: Mapping[tuple[ExtractIdentity, str], PieceRecord]
    works: Sequence[TileWork]
    is_whole: bool

    @property
    def tiles(self) -> list[TileCells]:
        """The tiles and their cells."""
        return [work.cells for work in self.works]

    @property
    def audit(self) -> TileAudit:
        """Audits one tile."""
        return TileAudit(self.folder, self.shown, self.planned, self._of_files, self.is_whole)

    @property
    def _of_files(self) -> tuple[PlannedExtract, ...] | None:
        if self.planned.overpass is None:
            return self.extracts
        one = overpass_identity(self.planned.overpass.date)
        return (PlannedExtract(name=one.name, bytes=one.bytes, timestamp=one.timestamp, bounds=None),)


def read_store(folder: DatasetFolder, shown: str, findings: Findings, *, may_grow: bool) -> StorePlan | None:
    """Reads the plan of a store and what it says of itself, and compares them with the names of its files.

    Args:
        folder: The store's folder.
        shown: As `StorePlan.shown`.
        findings: Where differences go.
        may_grow: Whether it is right that tiles have no file as long as there is no `store.json`, as where a build
            could not make them: their cells have no labels then.

    Returns:
        The plan; None where the store is of another schema, or nothing says what it is for.
    """
    found = Findings()
    plan = _read(folder, shown, found, may_grow)
    findings.merge(found.below(shown))
    return plan


def _read(folder: DatasetFolder, shown: str, findings: Findings, may_grow: bool) -> StorePlan | None:
    _check_regular(folder, findings)
    described = _parsed(folder, STORE_FILE, Store.from_json, Store.to_json, findings, required=not may_grow)
    planned = _parsed(folder, REQUEST_FILE, PlannedStore.from_json, PlannedStore.to_json, findings)
    extracts = _parsed(folder, EXTRACTS_FILE, PlannedExtracts.from_json, PlannedExtracts.to_json, findings)
    tiles = _parsed(folder, TILES_FILE, parse_tiles, tiles_text, findings)
    said = {it.schema_version for it in (described, planned) if it is not None}
    if said - {SCHEMA_VERSION}:
        for name, it in ((STORE_FILE, described), (REQUEST_FILE, planned)):
            if it is not None and it.schema_version != SCHEMA_VERSION:
                detail = f"is of schema {it.schema_version}, and this version reads {SCHEMA_VERSION}"
                findings.differ("other_store_schema", name, detail)
        return None
    names = [name for depth in _DEPTHS for name in list_files(folder, depth, findings)]
    if described is None and may_grow and tiles is not None:
        may_grow = not {tile_file(tile.tile) for tile in tiles} <= set(names)
        if not may_grow:
            findings.differ(_STORE, STORE_FILE, "is not there, though each tile has its file")
    planned = planned or _planned_of(described)
    if planned is None:
        return None
    if tiles is None:  # each file says for which cells it is
        files = [name for name in names if "/" not in name and name.endswith(TILE_SUFFIX)]
        tiles = [TileCells(name.removesuffix(TILE_SUFFIX), ()) for name in files]
    records = _records(folder, names, findings)
    _check_names(names, tiles, findings)
    _check_licences(folder, findings, required=described is not None)
    return StorePlan(
        folder=folder,
        shown=shown,
        described=described,
        planned=planned,
        extracts=None if extracts is None else extracts.extracts,
        records=records,
        works=[_work(tile, described, records, planned) for tile in tiles],
        is_whole=described is not None or not may_grow,
    )


def _parsed(
    folder: DatasetFolder,
    name: str,
    parse: Callable[[bytes], _Read],
    to_text: Callable[[Any], str],
    findings: Findings,
    *,
    required: bool = True,
) -> _Read | None:
    content = read_file(folder, name, findings, _STORE if required else None)
    if content is None:
        return None
    findings.checked["store_files"] += 1
    try:
        parsed = parse(content)
    except MalformedError as error:
        findings.differ(_STORE, name, f"cannot be read: {error}")
        return None
    if to_text(parsed).encode() != content:
        findings.differ(_STORE, name, "is not laid out as it was written")
    return parsed


def _planned_of(described: Store | None) -> PlannedStore | None:
    """Returns what `store.json` says that the files are made for."""
    if described is None:
        return None
    asked = Overpass(url=described.url, date=described.date) if described.source == "overpass" else None
    return PlannedStore(
        schema_version=described.schema_version,
        cells_sha256=described.cells_sha256,
        keys=described.keys,
        padding_m=described.padding_m,
        overpass=asked,
    )


def _work(
    tile: TileCells,
    described: Store | None,
    records: Mapping[tuple[ExtractIdentity, str], PieceRecord],
    planned: PlannedStore,
) -> TileWork:
    pieces: dict[ExtractIdentity, WrittenFile | None] = {}
    for (extract, of_tile), record in records.items():
        is_for = record.keys == planned.keys and record.padding_m == planned.padding_m
        if is_for and of_tile in ("", tile.tile):
            pieces[extract] = record.tiles.get(tile.tile)
    return TileWork(tile, None if described is None else described.tiles.get(tile.tile), pieces)


def _records(
    folder: DatasetFolder, names: Sequence[str], findings: Findings
) -> dict[tuple[ExtractIdentity, str], PieceRecord]:
    """Reads what each extract gave, where its pieces are kept."""
    records = {}
    for name in names:
        room, _, file = name.partition("/")
        if room != PIECES_FOLDER or not file.endswith(".json") or "/" not in file:
            continue
        record = _parsed(folder, name, PieceRecord.from_json, PieceRecord.to_json, findings)
        if record is None:
            continue
        if name == piece_record(record.extract):
            records[record.extract, ""] = record
            continue
        tile = file.partition("/")[2].removesuffix(".json")
        if name == answered_record(record.extract, tile) and {*record.tiles} <= {tile}:
            records[record.extract, tile] = record
        else:
            findings.differ("piece", name, f"is of {record.extract.name}, and is not where its record lies")
    return records


def _check_names(names: Sequence[str], tiles: Sequence[TileCells], findings: Findings) -> None:
    """Looks for files that are no part of the store, and for what killed attempts left behind."""
    own = {STORE_FILE, LICENSES_FILE, REPORT_FILE, REQUEST_FILE, TILES_FILE, EXTRACTS_FILE}
    own |= {tile_file(tile.tile) for tile in tiles}
    for name in names:
        *rooms, file = name.split("/")
        if rooms[:1] == [TEMPORARY_FOLDER] or file.endswith(PARTIAL_SUFFIX):
            findings.differ(LEFTOVER, name, NOT_RENAMED)
        elif rooms[:1] == [PIECES_FOLDER] and len(rooms) == 2 and file.endswith((".json", TILE_SUFFIX)):
            continue  # a piece without a record is of a reading that did not end
        elif name not in own:
            findings.differ("stray_file", name, "is no file of the store")


def _check_licences(folder: DatasetFolder, findings: Findings, *, required: bool) -> None:
    content = read_file(folder, LICENSES_FILE, findings, _STORE if required else None)
    if content is not None and content != store_licences_md().encode():
        findings.differ(_STORE, LICENSES_FILE, "is not the notice that a store carries")


def _check_regular(folder: DatasetFolder, findings: Findings) -> None:
    try:
        irregular = folder.files.irregular(folder.path, _ROOMS)
    except Fault as fault:
        findings.unreadable(".", fault.detail)
        return
    for name, kind in irregular.items():
        findings.unreadable(name, f"is {kind}. {put_files_there(kind)}")


def close_store(plan: StorePlan, sums: StoreSums, findings: Findings) -> None:
    """Compares what a store says of itself with what was found in its files.

    Args:
        plan: From `read_store`.
        sums: Of its tiles.
        findings: Where differences go.
    """
    found = Findings()
    described = plan.described
    if described is not None:
        again = dict(_described_again(plan, described, sums))
        given = described.model_dump(mode="json")
        for field in sorted({*given, *again}):
            if given.get(field) != again.get(field):
                found.differ(_STORE, STORE_FILE, f"{field} is not what its plan and its files give")
    request = StoreRequest({tile.tile: tile.chips for tile in plan.tiles}, plan.planned.keys)
    if all(tile.cells for tile in plan.tiles) and request.cells_sha256 != plan.planned.cells_sha256:
        found.differ(_STORE, REQUEST_FILE, f"cells_sha256 is not that of the cells in {TILES_FILE}")
    findings.merge(found.below(plan.shown))


def _described_again(plan: StorePlan, described: Store, sums: StoreSums) -> Iterator[tuple[str, Any]]:
    """Yields the fields of `store.json` as plan and files give them; those as they are that nothing else tells."""
    planned, tiles = plan.planned, plan.tiles
    known = all(tile.cells for tile in tiles)
    whole = {tile.tile for tile in tiles} == {*sums.tiles}
    failures = gathered_failures(sums.failures) if whole else described.failures
    again = Store(
        schema_version=planned.schema_version,
        source="extracts" if planned.overpass is None else "overpass",
        url="" if planned.overpass is None else planned.overpass.url,
        date="" if planned.overpass is None else planned.overpass.date,
        extracts=tuple(_extracts_again(plan, described, {failure.extract for failure in failures})),
        keys=planned.keys,
        padding_m=planned.padding_m,
        cells=sum(len(tile.cells) for tile in tiles) if known else described.cells,
        cells_sha256=planned.cells_sha256,
        # What differs of a file was told of the file.
        tiles={
            tile.tile: _known_fields(described.tiles[tile.tile]).model_copy(update=_cells_again(tile))
            if tile.tile in described.tiles
            else sums.tiles[tile.tile]
            for tile in tiles
            if tile.tile in described.tiles or tile.tile in sums.tiles
        },
        superseded=sums.superseded if whole else described.superseded,
        failures=failures,
    )
    yield from again.model_dump(mode="json").items()


def _known_fields(part: _Part) -> _Part:
    """Returns a part of a description without what this version does not know: nothing tells whether that is so."""
    return type(part)(**{name: getattr(part, name) for name in type(part).model_fields})


def _cells_again(tile: TileCells) -> dict[str, Any]:
    return {"cells": len(tile.cells), "cells_sha256": cells_sha256(tile.chips)} if tile.cells else {}


def _extracts_again(plan: StorePlan, described: Store, failed: set[str]) -> Iterator[StoreExtract]:
    asked: list[tuple[ExtractIdentity, Bounds | None]]
    if plan.planned.overpass is not None:
        asked = [(overpass_identity(plan.planned.overpass.date), None)]
    elif plan.extracts is None:
        yield from described.extracts
        return
    else:
        asked = [(it.identity, it.bounds) for it in plan.extracts]
    index = TileIndex([tile for tile in plan.tiles if tile.cells])
    said = {it.extract: it.left_out for it in described.extracts}
    for extract, bounds in asked:
        outcome: Literal["read", "beyond", "failed"]
        outcome = "beyond" if not index.near(bounds) else "failed" if extract.name in failed else "read"
        left_out = _known_fields(said.get(extract, LeftOut()))
        recorded = _left_out(plan, extract)
        if outcome == "read" and recorded is not None:
            left_out = recorded
        yield StoreExtract(extract=extract, bounds=bounds, outcome=outcome, left_out=left_out)


def _left_out(plan: StorePlan, extract: ExtractIdentity) -> LeftOut | None:
    """Returns what the records of an extract's pieces say that was left out; None where they are not all there."""
    of_tiles = {tile: record for (of, tile), record in plan.records.items() if of == extract}
    if not of_tiles or ("" not in of_tiles and {*of_tiles} != {tile.tile for tile in plan.tiles}):
        return None
    tally = DroppedTally()
    for tile in sorted(of_tiles):
        tally.update(of_tiles[tile].left_out.dropped())
    return LeftOut.of(tally.dropped())
