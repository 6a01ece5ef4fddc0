"""A cell's chip: its UTM zone, its window on the 60 m lattice, and the tile that holds it.

Inside this module northings are measured from the equator, as the lattice is; only a chip's `bottom` has the
false northing of the south.
"""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyproj

from beam_pipeline.cells.cell import (
    CHIP_SIZE_M,
    FALSE_NORTHING_M,
    LATTICE_M,
    ChipWindow,
    false_northing,
)
from beam_pipeline.cells.mgrs_tiles import (
    NO_TILE,
    NUM_ZONES,
    SQUARE_M,
    TILE_SIZE_M,
    Tile,
    tile_table,
)

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MIN_LAT, MAX_LAT = -80.0, 84.0
"""UTM ends there, and with it the chips, although ESA's tiles reach to 84 S."""

_FARTHEST_ZONE = 4  # at 81 N a tile reaches 13.2 degrees beyond its central meridian
_NEAR_ZONES_LAT = 56.0  # below, no tile reaches 5 degrees from its meridian; a zone but one away begins at 9
_HALF = CHIP_SIZE_M // 2


@dataclasses.dataclass(frozen=True)
class ChosenChips:
    """The tiles and chips of N cells.

    Attributes:
        tiles: (N,) index of the tile in `tile_table`, NO_TILE where none holds the chip.
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
        return str(tile_table().names[self.tiles[row]].decode())

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
    table = tile_table()
    tiles = np.full(len(lon), NO_TILE, np.int64)
    lefts, bottoms = np.zeros(len(lon), np.int64), np.zeros(len(lon), np.int64)
    usable = (lat >= MIN_LAT) & (lat <= MAX_LAT)

    zones = mgrs_zone(lon, lat)
    for zone in np.unique(zones[usable]).tolist():
        rows = np.flatnonzero(usable & (zones == zone))
        left, bottom = _snapped(lon[rows], lat[rows], zone)
        found = table.of_square(zone, (left + _HALF) // SQUARE_M, (bottom + _HALF) // SQUARE_M)
        tiles[rows] = np.where(table.hold(found, left, bottom), found, NO_TILE)
        lefts[rows], bottoms[rows] = left, bottom

    rest = np.flatnonzero(usable & (tiles == NO_TILE))
    nearest = np.full(len(rest), np.iinfo(np.int64).max)  # squares of metres
    far = np.flatnonzero(np.abs(lat[rest]) >= _NEAR_ZONES_LAT)
    for step in range(-_FARTHEST_ZONE, _FARTHEST_ZONE + 1):
        looking = np.arange(len(rest)) if abs(step) <= 1 else far
        zones_here = (zones[rest[looking]] - 1 + step) % NUM_ZONES + 1
        for zone in np.unique(zones_here).tolist():
            chosen = looking[zones_here == zone]
            rows = rest[chosen]
            left, bottom = _snapped(lon[rows], lat[rows], zone)
            column, row = (left + _HALF) // SQUARE_M, (bottom + _HALF) // SQUARE_M
            # A tile reaches over its square to the east and the south.
            for found in (
                table.of_square(zone, column - west, row + north) for west in (0, 1) for north in (0, 1)
            ):
                distance = (table.lefts[found] + TILE_SIZE_M // 2 - left - _HALF) ** 2
                distance += (table.tops[found] - TILE_SIZE_M // 2 - bottom - _HALF) ** 2
                # Tables are sorted by name, so the smaller index is the first by name.
                better = table.hold(found, left, bottom) & (
                    (distance < nearest[chosen]) | ((distance == nearest[chosen]) & (found < tiles[rows]))
                )
                kept = rows[better]
                nearest[chosen[better]] = distance[better]
                tiles[kept], lefts[kept], bottoms[kept] = found[better], left[better], bottom[better]

    epsgs = np.where(tiles == NO_TILE, 0, table.epsgs[tiles])
    return ChosenChips(tiles, epsgs, lefts, bottoms + _false_northings(epsgs))


def chip_windows(lon: npt.ArrayLike, lat: npt.ArrayLike, epsg: npt.ArrayLike) -> tuple[Ints, Ints]:
    """Returns the chips of cells in given UTM zones.

    Args:
        lon: (N,) longitudes of the cells' centres in degrees.
        lat: (N,) latitudes in degrees.
        epsg: 326zz or 327zz, one or (N,).

    Returns:
        (lefts, bottoms) in metres of those CRSs, int64 (N,).
    """
    lon, lat = np.asarray(lon, np.float64), np.asarray(lat, np.float64)
    epsgs = np.broadcast_to(np.asarray(epsg, np.int64), lon.shape)
    lefts, bottoms = np.empty(lon.shape, np.int64), np.empty(lon.shape, np.int64)
    for zone in np.unique(epsgs % 100).tolist():
        rows = np.flatnonzero(epsgs % 100 == zone)
        lefts[rows], bottoms[rows] = _snapped(lon[rows], lat[rows], zone)
    return lefts, bottoms + _false_northings(epsgs)


def chips_in_tiles(lon: npt.ArrayLike, lat: npt.ArrayLike, tiles: Sequence[Tile]) -> list[ChipWindow | None]:
    """Returns the chips of cells whose tiles are given, as in the published file.

    Args:
        lon: (N,) longitudes of the cells' centres in degrees.
        lat: (N,) latitudes in degrees.
        tiles: N tiles.

    Returns:
        N chips, each moved by at most one step of the lattice in either direction where that brings it inside
        of its tile; None where it does not.
    """
    lefts, bottoms = chip_windows(lon, lat, np.array([tile.epsg for tile in tiles], np.int64))
    chips: list[ChipWindow | None] = []
    for tile, left, bottom in zip(tiles, lefts.tolist(), bottoms.tolist(), strict=True):
        west, south, east, north = tile.bounds
        # The tile's edges lie on the lattice, for its side is a multiple of 60 m.
        inside_left = min(max(left, west), east - CHIP_SIZE_M)
        inside_bottom = min(max(bottom, south), north - CHIP_SIZE_M)
        near = max(abs(inside_left - left), abs(inside_bottom - bottom)) <= LATTICE_M
        chips.append(ChipWindow(tile.epsg, inside_left, inside_bottom) if near else None)
    return chips


def centred_chips(lon: npt.ArrayLike, lat: npt.ArrayLike, tiles: Sequence[Tile]) -> list[ChipWindow | None]:
    """Returns chips that are centred on points, to the metre, on no lattice.

    Args:
        lon: (N,) longitudes in degrees.
        lat: (N,) latitudes in degrees.
        tiles: The tile of each.

    Returns:
        N chips; None where one reaches out of its tile by more than a step of the lattice.
    """
    lon, lat = np.asarray(lon, np.float64), np.asarray(lat, np.float64)
    chips: list[ChipWindow | None] = []
    for one_lon, one_lat, tile in zip(lon.tolist(), lat.tolist(), tiles, strict=True):
        easting, northing = _projection(tile.epsg % 100).transform(one_lon, one_lat)
        northing += false_northing(tile.epsg)
        west, south, east, north = tile.bounds
        beyond = max(west - easting, easting - east, south - northing, northing - north) + _HALF
        # Written so that an infinite coordinate fails too.
        if not beyond <= LATTICE_M:
            chips.append(None)
            continue
        chips.append(ChipWindow(tile.epsg, round(easting) - _HALF, round(northing) - _HALF))
    return chips


def from_middle(lon: float, lat: float, chip: ChipWindow) -> tuple[float, float]:
    """Returns how far a point lies east and north of the middle of a chip.

    Args:
        lon: Its longitude in degrees.
        lat: Its latitude in degrees.
        chip: The chip, of any zone.

    Returns:
        Metres of the chip's zone; infinite where the zone has no such point.
    """
    easting, northing = _projection(chip.epsg % 100).transform(lon, lat)
    return easting - chip.left - _HALF, northing + false_northing(chip.epsg) - chip.bottom - _HALF


def mgrs_zone(lon: npt.ArrayLike, lat: npt.ArrayLike) -> Ints:
    """Returns the UTM zones of points, Norway's and Svalbard's exceptions among them.

    Args:
        lon: (N,) longitudes in degrees.
        lat: (N,) latitudes in degrees.

    Returns:
        int64 (N,), 1 to 60. Source: NGA.SIG.0012, the universal grids, section 3.
    """
    lon, lat = np.asarray(lon, np.float64), np.asarray(lat, np.float64)
    zone = (np.floor((lon + 180.0) / 6.0).astype(np.int64)) % NUM_ZONES + 1
    norway = (lat >= 56) & (lat < 64) & (lon >= 3) & (lon < 12)
    zone = np.where(norway, 32, zone)
    svalbard = (lat >= 72) & (lon >= 0) & (lon < 42)
    steps = np.select([lon < 9, lon < 21, lon < 33], [31, 33, 35], 37)
    return np.where(svalbard, steps, zone)


@functools.lru_cache(maxsize=NUM_ZONES)
def _projection(zone: int) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(4326, 32600 + zone, always_xy=True)


def _snapped(lon: Floats, lat: Floats, zone: int) -> tuple[Ints, Ints]:
    """Returns chips' lower left corners on the lattice, northings from the equator."""
    easting, northing = _projection(zone).transform(lon, lat)
    return _snap(easting), _snap(northing)


def _snap(centre: Floats) -> Ints:
    """Returns the edge on the lattice that leaves a chip nearest to its cell's centre."""
    snapped: Ints = LATTICE_M * np.floor((centre - _HALF) / LATTICE_M + 0.5).astype(np.int64)
    return snapped


def _false_northings(epsgs: Ints) -> Ints:
    return np.where(epsgs // 100 == 327, FALSE_NORTHING_M, 0)
