"""The faults of single objects of a tile's file, judged by the cells and keys that the file is for."""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import shapely
from pyarrow import compute

from beam_pipeline.features.coordinates import coordinates_of_array, restore
from beam_pipeline.features.identity import StoreRequest
from beam_pipeline.features.rows import corners_of, rows_with
from beam_pipeline.features.schema import outward
from beam_pipeline.features.tile_index import TileIndex
from beam_pipeline.features.writing import in_order
from beam_pipeline.labels.chip_boxes import Boxes
from beam_pipeline.labels.geometries import Geometries, Indices

Differ = Callable[[str], None]
"""Notes a detail of a difference."""

_A_DEGREE = 1e7  # steps of OpenStreetMap's grid


def check_rows(rows: pa.Table, request: StoreRequest, differ: Differ) -> None:
    """Looks at each object of a tile's file.

    Args:
        rows: All rows, in order of the file, in one chunk.
        request: The cells of the tile alone, the keys and the padding.
        differ: Is called for each object that is not as it must be, and for each thing that is wrong with it.
    """
    every = np.arange(rows.num_rows)
    order = in_order(rows, every)
    for row in np.flatnonzero(order != every)[:1].tolist():
        differ(f"{_name(rows, row)}, row {row}, is not where the order of the curve has it")
    for row in _copies(rows):
        differ(f"{_name(rows, row)} is in it more than once")
    index = TileIndex(request)
    keys = pa.array(request.keys, pa.string())
    first = 0
    for batch in rows.to_batches(max_chunksize=_ROWS_AT_ONCE):
        for row, what in _faults(batch, index, keys):
            differ(f"{_name(rows, first + row)} {what}")
        first += batch.num_rows


_ROWS_AT_ONCE = 1 << 13


def _name(rows: pa.Table, row: int) -> str:
    return f"{rows['osm_type'][row].as_py()}/{rows['osm_id'][row].as_py()}"


def _copies(rows: pa.Table) -> list[int]:
    """Returns the rows of objects that were there before."""
    types = compute.rank(rows["osm_type"], tiebreaker="dense").to_numpy().astype(np.int64)
    ids: npt.NDArray[np.int64] = rows["osm_id"].to_numpy()
    order = np.lexsort((ids, types))
    same = (np.diff(types[order]) == 0) & (np.diff(ids[order]) == 0)
    return sorted(order[1:][same].tolist())


def _faults(batch: pa.RecordBatch, index: TileIndex, keys: pa.Array) -> Iterator[tuple[int, str]]:
    """Yields (row, what is wrong with it)."""
    try:
        wkb = restore(batch["geometry"])
    except ValueError as error:
        yield 0, f"or one behind it cannot be read: {error}"
        return
    geometries: Geometries = np.empty(batch.num_rows, dtype=object)
    with np.errstate(invalid="ignore"):  # coordinates that are no numbers are near nothing
        geometries[:] = shapely.from_wkb(wkb.to_pylist(), on_invalid="ignore")
        bounds = shapely.bounds(geometries)
    readable = ~shapely.is_missing(geometries)
    for row in np.flatnonzero(~readable).tolist():
        yield row, "has a geometry that cannot be read"
    for row in np.flatnonzero(readable & ~_holds(corners_of(batch), bounds)).tolist():
        yield row, "has a bbox that is not that of its geometry"
    near = np.zeros(batch.num_rows, np.bool_)
    coordinates, _ = coordinates_of_array(wkb)
    near[index.touched(coordinates, geometries.__getitem__).rows] = True
    for row in np.flatnonzero(readable & ~near).tolist():
        if _is_of_grid(geometries[row]):  # what was cut is another shape than the one that was found
            yield row, "comes near no cell of the tile"
    of_keys = np.zeros(batch.num_rows, np.bool_)
    of_keys[_rows_with(batch, keys)] = True
    for row in np.flatnonzero(~of_keys).tolist():
        yield row, "has none of the store's keys"
    for row in _unsorted(batch["tags"]):
        yield row, "has tags that are not sorted by key, or one of them twice"


def _holds(corners: Boxes, bounds: Boxes) -> npt.NDArray[np.bool_]:
    """Tells whether a bbox holds a geometry, and no more than single precision makes of that."""
    wanted = np.stack([column.to_numpy() for column in outward(bounds)], axis=1)
    one_off = np.abs(corners - wanted) <= np.spacing(np.abs(wanted))
    with np.errstate(invalid="ignore"):
        holds = (corners[:, :2] <= bounds[:, :2]).all(1) & (corners[:, 2:] >= bounds[:, 2:]).all(1)
    return np.asarray(holds & one_off.all(1))


def _is_of_grid(geometry: shapely.Geometry) -> bool:
    places = shapely.get_coordinates(geometry)
    return bool((np.rint(places * _A_DEGREE) / _A_DEGREE == places).all())


def _rows_with(batch: pa.RecordBatch, keys: pa.Array) -> Indices:
    numbered = batch.append_column("row", pa.array(np.arange(batch.num_rows)))
    return np.asarray(rows_with(numbered, keys)["row"].to_numpy())


def _unsorted(tags: pa.MapArray) -> list[int]:
    """Returns the rows whose tags are not in strict order of their keys."""
    ends = tags.offsets.to_numpy()
    keys = tags.keys.slice(int(ends[0]), int(ends[-1] - ends[0]))
    ends = ends - ends[0]
    if not len(keys):
        return []
    distinct = keys.dictionary_encode()
    # As Python sorts text; Arrow's bytes of UTF-8 are in the same order.
    rank = np.empty(len(distinct.dictionary), np.int64)
    rank[compute.sort_indices(distinct.dictionary).to_numpy()] = np.arange(len(rank))
    ranks = rank[distinct.indices.to_numpy()]
    falls = np.flatnonzero(np.diff(ranks) <= 0) + 1
    falls = falls[~np.isin(falls, ends)]  # where an object begins anything may come
    rows: list[int] = np.unique(np.searchsorted(ends, falls, side="right") - 1).tolist()
    return rows
