"""Sentinel-2's tiles: ESA's tiling grid as a table.

MGRS arithmetic alone is wrong: ESA left out squares that a neighbour's overlap covers (Beijing lies in 50TMK,
there is no 50SMK), so which tiles exist is looked up. Where one lies follows from its name.
"""

import dataclasses
import functools
import importlib.resources
import re

import numpy as np
import numpy.typing as npt
import pyproj

from beam_pipeline.cells.cell import CHIP_SIZE_M, LATTICE_M, ChipWindow, false_northing

Ints = npt.NDArray[np.int64]

SQUARE_M = 100_000
TILE_SIZE_M = 109_800
"""Side of a tile's raster. Source: ESA, Sentinel-2 product specification document."""

NO_TILE = -1
"""Stands where no tile is."""

NUM_ZONES = 60

_COLUMN_LETTERS = ("STUVWXYZ", "ABCDEFGH", "JKLMNPQR")  # by zone % 3
_ROW_LETTERS = "ABCDEFGHJKLMNPQRSTUV"
_BAND_LETTERS = "CDEFGHJKLMNPQRSTUVWX"
_NAME = re.compile(r"(?:MGRS-|T)?(\d{1,2})([C-HJ-NP-X][A-HJ-NP-Z][A-HJ-NP-V])\Z")
_ROWS_EACH_SIDE = 100  # squares between the equator and 84 N: 94


@dataclasses.dataclass(frozen=True)
class Tile:
    """A tile of ESA's grid.

    Attributes:
        name: Five characters, zero-padded, e.g. "05QKB".
        epsg: 326zz or 327zz.
        left: Easting of the west edge of its rasters in metres.
        top: Northing of their north edge in metres, with the false northing in the south.
    """

    name: str
    epsg: int
    left: int
    top: int

    @property
    def bounds(self) -> tuple[int, int, int, int]:
        """(left, bottom, right, top) in metres of the UTM zone."""
        return self.left, self.top - TILE_SIZE_M, self.left + TILE_SIZE_M, self.top

    def holds(self, chip: ChipWindow) -> bool:
        """Tells whether the tile holds a chip whole, in its own zone."""
        left, bottom, right, top = self.bounds
        return (
            chip.epsg == self.epsg
            and left <= chip.left
            and bottom <= chip.bottom
            and chip.right <= right
            and chip.top <= top
        )


@dataclasses.dataclass(frozen=True)
class TileTable:
    """All tiles, sorted by name.

    Attributes:
        names: (T,) bytes of five characters.
        epsgs: (T,) EPSG codes.
        lefts: (T,) eastings of the west edges in metres.
        tops: (T,) northings of the north edges in metres from the equator.
        at: (zone, column 0-9, row + _ROWS_EACH_SIDE) -> index of the tile of that 100 km square, or NO_TILE.
    """

    names: npt.NDArray[np.bytes_]
    epsgs: Ints
    lefts: Ints
    tops: Ints
    at: npt.NDArray[np.int32]

    def of_square(self, zone: int, column: Ints, row: Ints) -> Ints:
        """Returns the tiles of 100 km squares.

        Args:
            zone: UTM zone, 1 to 60.
            column: (N,) easting // 100 km.
            row: (N,) northing from the equator // 100 km.

        Returns:
            (N,) indices, NO_TILE where ESA's grid has no tile of that square.
        """
        inside = (column >= 0) & (column < 10) & (np.abs(row) < _ROWS_EACH_SIDE)
        found = self.at[zone, np.where(inside, column, 0), np.where(inside, row, 0) + _ROWS_EACH_SIDE]
        return np.where(inside, found, NO_TILE).astype(np.int64)

    def hold(self, tiles: Ints, left: Ints, bottom: Ints) -> npt.NDArray[np.bool_]:
        """Tells which tiles hold a chip of their zone whole.

        Args:
            tiles: (N,) indices, or NO_TILE.
            left: (N,) eastings of the chips' west edges in metres.
            bottom: (N,) northings of their south edges in metres from the equator.

        Returns:
            (N,) bool, False for NO_TILE.
        """
        tile_left, tile_top = self.lefts[tiles], self.tops[tiles]
        held: npt.NDArray[np.bool_] = (
            (tiles != NO_TILE)
            & (tile_left <= left)
            & (left + CHIP_SIZE_M <= tile_left + TILE_SIZE_M)
            & (tile_top - TILE_SIZE_M <= bottom)
            & (bottom + CHIP_SIZE_M <= tile_top)
        )
        return held


@functools.cache
def tile_table() -> TileTable:
    """Returns the table, read once."""
    with (
        importlib.resources.files(__package__).joinpath("mgrs_tiles.npz").open("rb") as file,
        np.load(file) as packed,
    ):
        names, epsgs = packed["names"], packed["epsgs"].astype(np.int64)
    columns = np.empty(len(names), np.int64)
    rows = np.empty(len(names), np.int64)
    for index, name in enumerate(names.astype(str)):
        columns[index], rows[index] = _square(name)
    at = np.full((NUM_ZONES + 1, 10, 2 * _ROWS_EACH_SIDE), NO_TILE, np.int32)
    at[epsgs % 100, columns, rows + _ROWS_EACH_SIDE] = np.arange(len(names))
    return TileTable(names, epsgs, _floor_60(columns * SQUARE_M), -_floor_60(-(rows + 1) * SQUARE_M), at)


def _square(name: str) -> tuple[int, int]:
    """Returns column and row of a tile's 100 km square, the row counted from the equator."""
    zone, band = int(name[:2]), name[2]
    column = _COLUMN_LETTERS[zone % 3].index(name[3]) + 1
    row = (_ROW_LETTERS.index(name[4]) - (5 if zone % 2 == 0 else 0)) % 20
    # Row letters repeat every 2000 km; the latitude band tells which.
    middle_lat = 78.0 if band == "X" else -76.0 + 8 * _BAND_LETTERS.index(band)
    middle = middle_lat * 1.112  # in squares of 100 km, near enough
    return column, row + 20 * round((middle - row - 0.5) / 20)


def normalise_tile_name(name: str) -> str:
    """Returns the zero-padded name of a tile.

    Args:
        name: E.g. "5QKB", "05QKB", "T05QKB" or "MGRS-5QKB".

    Returns:
        Five characters, e.g. "05QKB".

    Raises:
        ValueError: It is no name of a tile.
    """
    match = _NAME.match(name.strip().upper())
    if match is None:
        raise ValueError(f'Tile names look like "05QKB". Received: {name!r}')
    return f"{int(match[1]):02d}{match[2]}"


def find_tile(name: str) -> Tile:
    """Returns a tile of ESA's grid.

    Args:
        name: As `normalise_tile_name` takes it.

    Returns:
        The tile.

    Raises:
        ValueError: It is no name, or ESA's grid has no such tile.
    """
    normal = normalise_tile_name(name)
    table = tile_table()
    index = int(np.searchsorted(table.names, normal.encode()))
    if index == len(table.names) or table.names[index].decode() != normal:
        raise ValueError(f"ESA's tiling grid has no such tile. Received: {name!r}")
    return _tile(index)


def all_tiles() -> list[Tile]:
    """Returns all 56,686 tiles, sorted by name."""
    return [_tile(index) for index in range(len(tile_table().names))]


def _tile(index: int) -> Tile:
    table = tile_table()
    epsg = int(table.epsgs[index])
    return Tile(
        table.names[index].decode(),
        epsg,
        int(table.lefts[index]),
        int(table.tops[index]) + false_northing(epsg),
    )


def tile_lonlat_bounds(name: str) -> tuple[float, float, float, float]:
    """Returns a tile's bounds in degrees.

    Args:
        name: As `find_tile`.

    Returns:
        (west, south, east, north); west > east where the tile crosses the antimeridian.

    Raises:
        ValueError: As `find_tile`.
    """
    tile = find_tile(name)
    transformer = pyproj.Transformer.from_crs(tile.epsg, 4326, always_xy=True)
    left, bottom, right, top = tile.bounds
    west, south, east, north = transformer.transform_bounds(left, bottom, right, top, densify_pts=21)
    return west, south, east, north


def _floor_60(metres: Ints) -> Ints:
    return metres // LATTICE_M * LATTICE_M
