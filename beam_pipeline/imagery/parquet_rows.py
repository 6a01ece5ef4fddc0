"""Rows of a STAC GeoParquet file: chosen by tile, year and collection, and made STAC items again.

Items of different profiles lie side by side: what one lacks is null in its row.
"""

import contextlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import compute

from beam_pipeline.imagery.parquet_columns import NO_PROPERTIES, is_text
from beam_pipeline.imagery.parquet_tile_year import TIME, TileYear
from beam_pipeline.imagery.stac_item import (
    TILE_PROPERTIES,
    normalise_tile,
    sensing_time,
    tile_of_item,
)

_MOST_TEXT_BYTES = 1 << 16
_CORNERS = ("xmin", "ymin", "xmax", "ymax")

Item = dict[str, Any]


def wanted_rows(rows: pa.RecordBatch, asked: TileYear, per_second: int, collection: str) -> pa.Array:
    """Chooses the rows that `find_scenes` must see: of the tile, year and collection, or that do not say of which.

    Args:
        rows: The columns of `parquet_columns.KEYS`.
        asked: The tile and year.
        per_second: What the timestamps count.
        collection: Its id; an item that names none belongs to all.

    Returns:
        A boolean for each row.

    Raises:
        ValueError: As `items_of`.
    """
    first, after = asked.counted(per_second)
    times = rows.column(TIME).cast(pa.int64()).to_pylist()
    near = [
        may_be and (time is None or first <= time < after)
        for time, may_be in zip(times, _may_be_of(rows, asked.tile), strict=True)
    ]
    items = iter(items_of(rows.filter(booleans(near))))
    return booleans([is_near and _is_wanted(next(items), asked, collection) for is_near in near])


def booleans(values: Sequence[bool]) -> pa.Array:
    """Makes an array of booleans; `pyarrow.array` would import pandas, which takes 40 MB."""
    bits = np.packbits(np.asarray(values, bool), bitorder="little")
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, pa.py_buffer(bits.tobytes())])


def _may_be_of(rows: pa.RecordBatch, tile: str) -> list[bool]:
    """Drops, at little cost, the rows whose first name of a tile is that of another."""
    firsts = [keys[0] for keys in TILE_PROPERTIES if keys[0] in rows.schema.names]
    if not firsts or not is_text(rows.schema.field(firsts[0]).type):
        return [True] * rows.num_rows
    names = plain(rows.column(firsts[0]))
    may_be = {name: _tile_named(name) in (tile, None) for name in names.unique().to_pylist()}
    return [may_be[name] for name in names.to_pylist()]


def _tile_named(name: str | None) -> str | None:
    with contextlib.suppress(ValueError):
        return normalise_tile(name) if name is not None else None
    return None


def _is_wanted(item: Item, asked: TileYear, collection: str) -> bool:
    if item["collection"] not in (collection, None):
        return False
    sensed = sensing_time(item)
    if sensed and int(sensed[:4]) != asked.year:
        return False
    tile = tile_of_item(item)
    if tile is None and "bbox" in item:
        return asked.may_lie_in(*item["bbox"])
    return tile in (asked.tile, None)


def items_of(*parts: pa.RecordBatch) -> list[Item]:
    """Makes items of rows: what is null in one, because others have it, is no part of it.

    Args:
        parts: Batches of other columns of the same rows; of `assets`, each may have some. Timestamps of any unit
            become ISO 8601.

    Raises:
        ValueError: A text is longer than any item's, or is no UTF-8; or an item has no id.
    """
    rows: list[dict[str, Any]] = [{} for _ in range(parts[0].num_rows)] if parts else []
    for part in parts:
        for name, column in zip(part.schema.names, part.columns, strict=True):
            column = plain(column)
            require_short(column)
            for row, value in zip(rows, column.to_pylist(), strict=True):
                row[name] = {**(row.get(name) or {}), **(value or {})} if name == "assets" else value
    return [_item(row) for row in rows]


def plain(column: pa.Array) -> pa.Array:
    """Returns a column without a dictionary, and timestamps as texts: some are of years that Python has not."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return column.cast(pa.string()) if pa.types.is_timestamp(column.type) else column


def require_short(column: pa.Array) -> None:
    """Refuses texts that no item has, before they are made objects.

    Raises:
        ValueError: One is longer.
    """
    if (
        pa.types.is_struct(column.type)
        or pa.types.is_list(column.type)
        or pa.types.is_large_list(column.type)
    ):
        flat = column.flatten()
        for inner in flat if isinstance(flat, list) else [flat]:
            require_short(inner)
    elif is_text(column.type):
        longest = compute.max(compute.binary_length(column)).as_py()
        if longest is not None and longest > _MOST_TEXT_BYTES:
            raise ValueError(f"a text has {longest:,} bytes, and may have {_MOST_TEXT_BYTES:,}")


def _item(row: dict[str, Any]) -> Item:
    given = {name: value for name, value in row.items() if value is not None}
    if "id" not in given:
        raise ValueError("an item has no id")  # several of them would be taken for one
    assets = given.get("assets", {})
    corners = [given.get("bbox", {}).get(corner) for corner in _CORNERS]
    return {
        "type": "Feature",
        "id": given["id"],
        "collection": given.get("collection"),
        "properties": {name: value for name, value in given.items() if name not in NO_PROPERTIES},
        "assets": {key: _without_nulls(asset) for key, asset in assets.items() if asset is not None},
        "links": [_without_nulls(link) for link in _each(given.get("links"))],
        **({} if None in corners else {"bbox": corners}),
    }


def _each(values: Iterable[Any] | None) -> list[Any]:
    return [value for value in values or () if value is not None]


def _without_nulls(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
