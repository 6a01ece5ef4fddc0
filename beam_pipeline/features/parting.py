"""Parts the objects of an extract by tile, into a local file for each tile: pieces of the store."""

import functools
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import shapely

from beam_pipeline.features.cutting import cut_box, cut_to_tiles
from beam_pipeline.features.footer import TileFooter
from beam_pipeline.features.identity import MOST_NODES, ExtractIdentity, StoreRequest
from beam_pipeline.features.piece import PieceRecord
from beam_pipeline.features.rows import coordinates_of, rows_of
from beam_pipeline.features.schema import TILE_SUFFIX
from beam_pipeline.features.spool import Spool
from beam_pipeline.features.stored_tile import describe
from beam_pipeline.features.tile_index import TileIndex
from beam_pipeline.features.writing import write_tile
from beam_pipeline.labels.chip_boxes import Bounds
from beam_pipeline.labels.clipping import mend
from beam_pipeline.labels.extract import ExtractInfo, check_extract, read_columns
from beam_pipeline.labels.feature import DroppedTally, Found
from beam_pipeline.labels.geometries import Geometries, Indices
from beam_pipeline.labels.object_columns import ObjectColumns, offsets_of
from beam_pipeline.labels.read_ahead import read_ahead
from beam_pipeline.runtime.whole_files import writing_whole


def part_extract(
    path: str | os.PathLike[str],
    request: StoreRequest,
    folder: Path,
    *,
    original: ExtractInfo | None = None,
    index_folder: str | None = None,
) -> PieceRecord:
    """Reads an extract and writes its pieces.

    Args:
        path: A local `.osm.pbf` file.
        request: What is to be held.
        folder: A local folder; `{tile}.parquet` is written there for each tile that the extract has objects for.
        original: Of the whole extract, where `path` is a part that was cut from it.
        index_folder: Where the locations of nodes are kept; the temporary folder if None.

    Returns:
        The record of the pieces.

    Raises:
        PermanentFault: The extract cannot be read, as `extract.read_columns`.
        TransientFault: There is no room, as `extract.read_columns`.
        OSError: A piece cannot be written.
    """
    info = original or check_extract(path)
    parts = read_columns(path, request.keys, index_folder=index_folder)
    extract = ExtractIdentity(info.name, info.size, info.timestamp)
    return part_objects(parts, request, folder, extract, info.bounds)


def part_objects(
    parts: Iterable[Found[ObjectColumns]],
    request: StoreRequest,
    folder: Path,
    extract: ExtractIdentity,
    bounds: Bounds | None = None,
) -> PieceRecord:
    """Writes the pieces of objects, whatever they come from.

    Args:
        parts: The objects, no one twice; what their reader raises passes unchanged.
        request: What is to be held.
        folder: As for `part_extract`.
        extract: What the objects come from.
        bounds: Of all that they come from, in degrees; None where they are not known.

    Returns:
        The record of the pieces.
    """
    index = TileIndex(request)
    boxes = [cut_box(request.cells[tile]) for tile in index.tiles]
    tally = DroppedTally()
    files = {}
    with tempfile.TemporaryDirectory(dir=folder) as runs:
        spool = Spool(Path(runs))
        for part in read_ahead(iter(parts)):
            tally.update(part.dropped)
            for columns in part.features:
                _add(spool, columns, index, boxes, tally)
        for number, rows in spool.tiles():
            tile = index.tiles[number]
            target = folder / f"{tile}{TILE_SUFFIX}"
            # Whoever asked for it takes it to the store: here it need not last.
            with writing_whole(str(target), lasting=False) as file:
                write_tile(file, rows, TileFooter.of(tile, request, [extract]))
            with target.open("rb") as file:
                files[tile] = describe(file)
    return PieceRecord.of(extract, bounds, request, files, tally.dropped())


def _add(
    spool: Spool, columns: ObjectColumns, index: TileIndex, boxes: list[Bounds], tally: DroppedTally
) -> None:
    """Adds objects to the spool, once for each tile that they come near."""
    coordinates = coordinates_of(columns)
    touched = index.touched(coordinates, functools.partial(_decoded, columns))
    for row in touched.tangled.tolist():
        tally.add("tangled", columns.osm_type, int(columns.ids[row]))
    to_cut = np.setdiff1d(np.flatnonzero(coordinates.counts > MOST_NODES), touched.tangled)
    is_cut = np.isin(touched.rows, to_cut)
    whole, tiles = touched.rows[~is_cut], touched.tiles[~is_cut]
    rows = rows_of(columns, coordinates)
    every = np.arange(len(columns))
    spool.add(rows if np.array_equal(whole, every) else rows.take(pa.array(whole)), tiles)
    for row in np.unique(touched.rows[is_cut]).tolist():
        of_row = touched.tiles[touched.rows == row]
        (mended,) = mend(_decoded(columns, np.array([row])))
        parts = cut_to_tiles(mended, [boxes[tile] for tile in of_row.tolist()])
        left = np.flatnonzero(~shapely.is_missing(parts))
        if len(left):
            copies = _with_geometries(columns, row, parts[left])
            spool.add(rows_of(copies, coordinates_of(copies)), of_row[left])


def _decoded(columns: ObjectColumns, rows: Indices) -> Geometries:
    """Returns the geometries of some objects; None for what is no geometry, as a ring of two points."""
    begins, ends = columns.geometry_offsets[rows].tolist(), columns.geometry_offsets[rows + 1].tolist()
    data = columns.geometries.data
    wkb = [bytes(data[start:end]) for start, end in zip(begins, ends, strict=True)]
    geometries: Geometries = np.empty(len(wkb), dtype=object)
    with np.errstate(invalid="ignore"):  # coordinates that are no numbers are dealt with by the callers
        geometries[:] = shapely.from_wkb(wkb, on_invalid="ignore")
    return geometries


def _with_geometries(columns: ObjectColumns, row: int, geometries: Geometries) -> ObjectColumns:
    """Returns one object as often as there are geometries for it."""
    copies = len(geometries)
    wkb = shapely.to_wkb(geometries, byte_order=1)
    tags = slice(*columns.tag_offsets[row : row + 2].tolist())
    return ObjectColumns(
        columns.osm_type,
        columns.ids[[row] * copies],
        columns.versions[[row] * copies],
        columns.timestamps[[row] * copies],
        columns.strings,
        offsets_of(np.full(copies, tags.stop - tags.start)),
        np.tile(columns.tag_keys[tags], copies),
        np.tile(columns.tag_values[tags], copies),
        offsets_of(np.array([len(one) for one in wkb])),
        np.frombuffer(b"".join(wkb), np.uint8),
    )
