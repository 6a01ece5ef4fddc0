"""Sentinel-2's tiles: ESA's tiling grid as a table, and the choice of the tile that holds a chip.

MGRS arithmetic alone is wrong: ESA left out squares that a neighbour's overlap covers (Beijing lies in 50TMK,
there is no 50SMK), so which tiles exist is looked up. Where one lies follows from its name. Inside this
module northings are measured from the equator; only a chip's `bottom` has the false northing of the south.
"""

import dataclasses
import functools
import importlib.resources
import re

import numpy as np
import numpy.typing as npt
import pyproj

from beam_pipeline.cells.cell import CHIP_SIZE_M, LATTICE_M, ChipWindow

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SQUARE_M = 100_000
TILE_SIZE_M = 109_800
"""Side of a tile's raster. Source: ESA, Sentinel-2 product specification document."""

FALSE_NORTHING_M = 10_000_000
MIN_LAT, MAX_LAT = -80.0, 84.0
"""UTM, and with it the tiling grid, ends there."""

NO_TILE = -1

_COLUMN_LETTERS = ("STUVWXYZ", "ABCDEFGH", "JKLMNPQR")  # by zone % 3
_ROW_LETTERS = "ABCDEFGHJKLMNPQRSTUV"
_BAND_LETTERS = "CDEFGHJKLMNPQRSTUVWX"
_NAME = re.compile(r"(?:MGRS-|T)?(\d{1,2})([C-HJ-NP-X][A-HJ-NP-Z][A-HJ-NP-V])\Z")
_ZONES = 60
_FARTHEST_ZONE = 4  # at 84 N a tile reaches this many zones beyond its own
_ROWS_EACH_SIDE = 100  # squares between the equator and 84 N: 94
_MAX_SNAP_M = LATTICE_M


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
class _Table:
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


@functools.cache
def _table() -> _Table:
    with (
        importlib.resources.files(__package__).joinpath("mgrs_tiles.npz").open("rb") as file,
        np.load(file) as packed,
    ):
        names, epsgs = packed["names"], packed["epsgs"].astype(np.int64)
    columns = np.empty(len(names), np.int64)
    rows = np.empty(len(names), np.int64)
    for index, name in enumerate(names.astype(str)):
        columns[index], rows[index] = _square(name)
    at = np.full((_ZONES + 1, 10, 2 * _ROWS_EACH_SIDE), NO_TILE, np.int32)
    at[epsgs % 100, columns, rows + _ROWS_EACH_SIDE] = np.arange(len(names))
    return _Table(names, epsgs, _floor_60(columns * SQUARE_M), -_floor_60(-(rows + 1) * SQUARE_M), at)


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
    table = _table()
    index = int(np.searchsorted(table.names, normal.encode()))
    if index == len(table.names) or table.names[index].decode() != normal:
        raise ValueError(f"ESA's tiling grid has no such tile. Received: {name!r}")
    return _tile(index)


def all_tiles() -> list[Tile]:
    """Returns all 56,686 tiles, sorted by name."""
    return [_tile(index) for index in range(len(_table().names))]


def _tile(index: int) -> Tile:
    table = _table()
    epsg = int(table.epsgs[index])
    return Tile(
        table.names[index].decode(),
        epsg,
        int(table.lefts[index]),
        int(table.tops[index]) + _false_northing(epsg),
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


@dataclasses.dataclass(frozen=True)
class ChosenChips:
    """The tiles and chips of N cells.

    Attributes:
        tiles: (N,) index of the tile, NO_TILE where none holds the chip.
        epsgs: (N,) EPSG of the chip; 0 without tile.
        lefts: (N,) easting of the chip's west edge in metres.
        bottoms: (N,) northing of its south edge in metres, with the false northing in the south.
    """

    tiles: Ints
    epsgs: Ints
    lefts: Ints
    bottoms: Ints

    def tile_name(self, row: int) -> str:
        """Returns the name of the tile of a cell that has one."""
        return str(_table().names[self.tiles[row]].decode())

    def chip(self, row: int) -> ChipWindow:
        """Returns the chip of a cell that has a tile."""
        return ChipWindow(int(self.epsgs[row]), int(self.lefts[row]), int(self.bottoms[row]))


def choose_chips(lon: npt.ArrayLike, lat: npt.ArrayLike) -> ChosenChips:
    """Chooses each cell's tile, and with it the zone and window of its chip.

    It is the tile whose 100 km square holds the chip's centre, if it holds the chip whole. Else it is, of all
    tiles of any zone that hold the chip whole, the one whose centre is nearest to the chip's, and of those
    equally near the first by name.

    Args:
        lon: (N,) longitudes of the cells' centres in degrees.
        lat: (N,) latitudes in degrees.

    Returns:
        Tiles and chips. Beyond 80 S and 84 N, and where no tile holds the chip, there is none.
    """
    lon, lat = np.asarray(lon, np.float64), np.asarray(lat, np.float64)
    table = _table()
    tiles = np.full(len(lon), NO_TILE, np.int64)
    lefts, bottoms = np.zeros(len(lon), np.int64), np.zeros(len(lon), np.int64)
    usable = (lat >= MIN_LAT) & (lat <= MAX_LAT)

    zones = mgrs_zone(lon, lat)
    for zone in np.unique(zones[usable]):
        rows = np.flatnonzero(usable & (zones == zone))
        left, bottom = _snapped(lon[rows], lat[rows], int(zone))
        found = _tile_at(
            int(zone), (left + CHIP_SIZE_M // 2) // SQUARE_M, (bottom + CHIP_SIZE_M // 2) // SQUARE_M
        )
        found = np.where(_holds(found, left, bottom), found, NO_TILE)
        tiles[rows], lefts[rows], bottoms[rows] = found, left, bottom

    rest = np.flatnonzero(usable & (tiles == NO_TILE))
    nearest = np.full(len(rest), np.inf)
    for step in range(-_FARTHEST_ZONE, _FARTHEST_ZONE + 1):
        zones_here = (zones[rest] - 1 + step) % _ZONES + 1
        for zone in np.unique(zones_here):
            chosen = np.flatnonzero(zones_here == zone)
            rows = rest[chosen]
            left, bottom = _snapped(lon[rows], lat[rows], int(zone))
            # A tile reaches over its square to the east and the south.
            for east in (0, -1):
                for south in (0, 1):
                    found = _tile_at(
                        int(zone),
                        (left + CHIP_SIZE_M // 2) // SQUARE_M + east,
                        (bottom + CHIP_SIZE_M // 2) // SQUARE_M + south,
                    )
                    distance = np.hypot(
                        table.lefts[found] + TILE_SIZE_M / 2 - (left + CHIP_SIZE_M / 2),
                        table.tops[found] - TILE_SIZE_M / 2 - (bottom + CHIP_SIZE_M / 2),
                    )
                    # Tables are sorted by name, so the smaller index is the first by name.
                    better = _holds(found, left, bottom) & (
                        (distance < nearest[chosen]) | ((distance == nearest[chosen]) & (found < tiles[rows]))
                    )
                    kept = rows[better]
                    nearest[chosen[better]] = distance[better]
                    tiles[kept], lefts[kept], bottoms[kept] = found[better], left[better], bottom[better]

    epsgs = np.where(tiles == NO_TILE, 0, table.epsgs[tiles])
    bottoms += np.where(epsgs > 32700, FALSE_NORTHING_M, 0)
    return ChosenChips(tiles, epsgs, lefts, bottoms)


def chip_in_tile(lon: float, lat: float, tile: Tile) -> ChipWindow | None:
    """Returns the chip of a place whose tile is given, as in the published file.

    Args:
        lon: Longitude of the cell's centre in degrees.
        lat: Its latitude in degrees.
        tile: The tile.

    Returns:
        The chip, moved by at most one step of the lattice to lie inside of the tile; None where it does not.
    """
    left, bottom = (int(value[0]) for value in _snapped(np.array([lon]), np.array([lat]), tile.epsg % 100))
    chip = ChipWindow(tile.epsg, left, bottom + _false_northing(tile.epsg))
    west, south, east, north = tile.bounds
    # The tile's west and north edges lie on the lattice, and its side is a multiple of it.
    moved = ChipWindow(
        tile.epsg,
        min(max(chip.left, west), east - CHIP_SIZE_M),
        min(max(chip.bottom, south), north - CHIP_SIZE_M),
    )
    if max(abs(moved.left - chip.left), abs(moved.bottom - chip.bottom)) > _MAX_SNAP_M:
        return None
    return moved


def chip_windows(lon: npt.ArrayLike, lat: npt.ArrayLike, epsg: int) -> tuple[Ints, Ints]:
    """Returns the chips of cells in a UTM zone.

    Args:
        lon: (N,) longitudes of the cells' centres in degrees.
        lat: (N,) latitudes in degrees.
        epsg: 326zz or 327zz.

    Returns:
        (lefts, bottoms) in metres of that CRS, int64 (N,).
    """
    left, bottom = _snapped(np.asarray(lon, np.float64), np.asarray(lat, np.float64), epsg % 100)
    return left, bottom + _false_northing(epsg)


def mgrs_zone(lon: npt.ArrayLike, lat: npt.ArrayLike) -> Ints:
    """Returns the UTM zones of points, Norway's and Svalbard's exceptions among them.

    Args:
        lon: (N,) longitudes in degrees.
        lat: (N,) latitudes in degrees.

    Returns:
        int64 (N,), 1 to 60. Source: NGA.SIG.0012, the universal grids, section 3.
    """
    lon, lat = np.asarray(lon, np.float64), np.asarray(lat, np.float64)
    zone = (np.floor((lon + 180.0) / 6.0).astype(np.int64)) % _ZONES + 1
    norway = (lat >= 56) & (lat < 64) & (lon >= 3) & (lon < 12)
    zone = np.where(norway, 32, zone)
    svalbard = (lat >= 72) & (lon >= 0) & (lon < 42)
    steps = np.select([lon < 9, lon < 21, lon < 33], [31, 33, 35], 37)
    return np.where(svalbard, steps, zone)


@functools.lru_cache(maxsize=_ZONES)
def _projection(zone: int) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(4326, 32600 + zone, always_xy=True)


def _snapped(lon: Floats, lat: Floats, zone: int) -> tuple[Ints, Ints]:
    """Returns chips' lower left corners on the lattice, northings from the equator."""
    easting, northing = _projection(zone).transform(lon, lat)
    half = CHIP_SIZE_M / 2
    return tuple(
        LATTICE_M * np.floor((value - half) / LATTICE_M + 0.5).astype(np.int64)
        for value in (easting, northing)
    )


def _tile_at(zone: int, column: Ints, row: Ints) -> Ints:
    inside = (column >= 0) & (column < 10) & (np.abs(row) < _ROWS_EACH_SIDE)
    found = _table().at[zone, np.where(inside, column, 0), np.where(inside, row, 0) + _ROWS_EACH_SIDE]
    return np.where(inside, found, NO_TILE).astype(np.int64)


def _holds(tiles: Ints, left: Ints, bottom: Ints) -> npt.NDArray[np.bool_]:
    table = _table()
    tile_left, tile_top = table.lefts[tiles], table.tops[tiles]
    held: npt.NDArray[np.bool_] = (
        (tiles != NO_TILE)
        & (tile_left <= left)
        & (left + CHIP_SIZE_M <= tile_left + TILE_SIZE_M)
        & (tile_top - TILE_SIZE_M <= bottom)
        & (bottom + CHIP_SIZE_M <= tile_top)
    )
    return held


def _floor_60(metres: Ints) -> Ints:
    return metres // LATTICE_M * LATTICE_M


def _false_northing(epsg: int) -> int:
    return FALSE_NORTHING_M if epsg > 32700 else 0
