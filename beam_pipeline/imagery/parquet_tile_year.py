"""A tile and a year, as the row groups of STAC GeoParquet are asked for them."""

import datetime
import re
from typing import Any

from beam_pipeline.cells.mgrs_tiles import tile_lonlat_bounds
from beam_pipeline.imagery.stac_item import TILE_PROPERTIES, normalise_tile
from beam_pipeline.runtime.parquet_statistics import ColumnRange, Statistics

TIME = "datetime"
BBOX = ("bbox.xmin", "bbox.ymin", "bbox.xmax", "bbox.ymax")
INDEXED = frozenset((TIME, "collection", *BBOX, *(key for keys in TILE_PROPERTIES for key in keys)))
"""Paths of the columns whose statistics are looked at."""

PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
"""Ticks of a timestamp, by the unit of its type."""

_FROM_ZONE_ON = re.compile(r"\d.*")

_MARGIN_DEGREES = 1e-3
"""Bounds may be written in single precision."""


class TileYear:
    """A tile and a year, as row groups are asked for them.

    Args:
        tile: Five characters.
        year: The year, in UTC.
    """

    def __init__(self, tile: str, year: int) -> None:
        self.tile = tile
        self.year = year
        self._spellings = tuple(map(_spellings, TILE_PROPERTIES, [tile] * len(TILE_PROPERTIES)))
        self._bounds = tile_lonlat_bounds(tile)

    def counted(self, per_second: int) -> tuple[int, int]:
        """Returns the first moment of the year and the first after it, as timestamps count."""
        first, after = (
            int(datetime.datetime(year, 1, 1, tzinfo=datetime.UTC).timestamp()) * per_second
            for year in (self.year, self.year + 1)
        )
        return first, after

    def may_be_in(self, said: Statistics, per_second: int) -> bool:
        """Tells whether a row group may hold items of the tile and year.

        Args:
            said: Of the row group; it is believed.
            per_second: Of its timestamps.
        """
        time = said.get(TIME)
        first, after = self.counted(per_second)
        if time is not None and not time.has_nulls and (time.high < first or after <= time.low):
            return False
        return not (self._names_exclude(said) or self._bounds_exclude(said))

    def may_lie_in(self, west: float, south: float, east: float, north: float) -> bool:
        """Tells whether bounds in degrees, west > east across the antimeridian, meet those of the tile."""
        tile_west, tile_south, tile_east, tile_north = self._bounds
        if north < tile_south - _MARGIN_DEGREES or tile_north + _MARGIN_DEGREES < south:
            return False
        return any(
            not (one_east < other_west - _MARGIN_DEGREES or other_east + _MARGIN_DEGREES < one_west)
            for one_west, one_east in _halves(west, east)
            for other_west, other_east in _halves(tile_west, tile_east)
        )

    def _names_exclude(self, said: Statistics) -> bool:
        """Tells whether every row names a tile, and none this one."""
        for keys, spellings in zip(TILE_PROPERTIES, self._spellings, strict=True):
            columns = [said.get(key) for key in keys]
            if not all(columns):
                continue
            known = [column for column in columns if column is not None]
            if len(keys) == 1 and not _is_tile_range(known[0]):
                return False
            if not any(map(ColumnRange.holds_none_of, known, spellings)):
                return False
            if not any(column.has_nulls for column in known):
                return True
        return False

    def _bounds_exclude(self, said: Statistics) -> bool:
        columns = [said.get(path) for path in BBOX]
        if not all(column is not None and not column.has_nulls for column in columns):
            return False
        west, south, east, north = (column for column in columns if column is not None)
        if west.high > 90 and east.low < -90:
            # One of them may cross the antimeridian, whose east is less than its west.
            return not self.may_lie_in(-180.0, south.low, 180.0, north.high)
        return not self.may_lie_in(west.low, south.low, east.high, north.high)


def _spellings(keys: tuple[str, ...], tile: str) -> tuple[tuple[Any, ...], ...]:
    """Returns for each property how it may say its part of a tile's name."""
    zones = tuple(dict.fromkeys((tile[:2], str(int(tile[:2])))))
    if len(keys) > 1:
        return ((int(tile[:2]), *zones), _both_cases(tile[2]), _both_cases(tile[3:]))
    names = (f"{prefix}{zone}{tile[2:]}" for prefix in ("MGRS-", "T", "") for zone in zones)
    return (tuple(spelt for name in names for spelt in _both_cases(name)),)


def _both_cases(text: str) -> tuple[str, str]:
    return text.upper(), text.lower()


def _is_tile_range(column: ColumnRange) -> bool:
    """Tells whether least and greatest are names of tiles, written in one way: so is what lies between them."""
    ends = column.low, column.high
    try:
        return all(map(normalise_tile, ends)) and len({_FROM_ZONE_ON.sub("", end) for end in ends}) == 1
    except (ValueError, AttributeError):
        return False


def _halves(west: float, east: float) -> tuple[tuple[float, float], ...]:
    return ((west, east),) if west <= east else ((west, 180.0), (-180.0, east))
