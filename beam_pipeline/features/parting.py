"""Parts the objects of an extract by tile, into a local file for each tile: pieces of the store."""

import itertools
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
from beam_pipeline.features.rows import rows_of
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
        for part in parts:
            tally.update(part.dropped)
            for columns in part.features:
                _add(spool, columns, index, boxes, tally)
        for number, rows in spool.tiles():
            tile = index.tiles[number]
            target = folder / f"{tile}{TILE_SUFFIX}"
            with writing_whole(str(target)) as file:
                write_tile(file, rows, TileFooter.of(tile, request, [extract]))
            with target.open("rb") as file:
                files[tile] = describe(file)
    return PieceRecord.of(extract, bounds, request, files, tally.dropped())


def _add(
    spool: Spool, columns: ObjectColumns, index: TileIndex, boxes: list[Bounds], tally: DroppedTally
) -> None:
    """Adds objects to the spool, once for each tile that they come near."""
    geometries = _decoded(columns)
    bounds = shapely.bounds(geometries)
    touched = index.touched(geometries, bounds)
    for row in touched.tangled.tolist():
        tally.add("tangled", columns.osm_type, int(columns.ids[row]))
    is_cut = np.isin(touched.rows, _to_cut(geometries, touched.tangled))
    whole, tiles = touched.rows[~is_cut], touched.tiles[~is_cut]
    rows = rows_of(columns, bounds)
    every = np.arange(len(columns))
    spool.add(rows if np.array_equal(whole, every) else rows.take(pa.array(whole)), tiles)
    for row in np.unique(touched.rows[is_cut]).tolist():
        of_row = touched.tiles[touched.rows == row]
        (mended,) = mend(geometries[[row]])
        parts = cut_to_tiles(mended, [boxes[tile] for tile in of_row.tolist()])
        left = np.flatnonzero(~shapely.is_missing(parts))
        if len(left):
            copies = _with_geometries(columns, row, parts[left])
            spool.add(rows_of(copies, shapely.bounds(parts[left])), of_row[left])


def _to_cut(geometries: Geometries, tangled: Indices) -> Indices:
    return np.setdiff1d(np.flatnonzero(shapely.get_num_coordinates(geometries) > MOST_NODES), tangled)


def _decoded(columns: ObjectColumns) -> Geometries:
    """Returns the geometries of objects; None for what is no geometry, as a ring of two points."""
    data = columns.geometries.tobytes()
    ends = columns.geometry_offsets.tolist()
    wkb = [data[start:end] for start, end in itertools.pairwise(ends)]
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
