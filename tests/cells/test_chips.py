"""Chips and the choice of their tiles against the rule applied to every tile, and against pyproj."""

import numpy as np
import pyproj
import pytest

from beam_pipeline.cells import grid
from beam_pipeline.cells.cell import CHIP_SIZE_M, LATTICE_M, ChipWindow
from beam_pipeline.cells.chips import chip_windows, chips_in_tiles, choose_chips, from_middle, mgrs_zone
from beam_pipeline.cells.mgrs_tiles import NO_TILE, Tile, all_tiles, find_tile


def chosen(lon: float, lat: float) -> tuple[str, int]:
    answer = choose_chips([lon], [lat])
    return (answer.tile_name(0), int(answer.epsgs[0])) if answer.tiles[0] != NO_TILE else ("", 0)


@pytest.mark.parametrize(
    ("lon", "lat", "tile"),
    [
        (116.39, 39.91, "50TMK"),  # Beijing: there is no 50SMK
        (120.97, 14.59, "51PTS"),  # Manila
        (5.0, 60.5, "32V"),  # Norway
        (12.0, 78.5, "33X"),  # Svalbard
        (10.0, 78.5, "31XFH"),  # zone 33 by MGRS, but there is no 33XUH
        (25.0, 78.5, "35X"),
        (8.0, 78.5, "31X"),
        (38.0, 79.0, "37X"),
        (-70.0, -33.4, "19H"),
        (179.99, -16.5, "01KAB"),  # its square is the neighbour's across the antimeridian
    ],
)
def test_known_places(lon: float, lat: float, tile: str) -> None:
    name, epsg = chosen(lon, lat)
    assert name.startswith(tile)
    assert find_tile(name).epsg == epsg


@pytest.mark.parametrize(("lon", "lat"), [(0.0, 84.01), (50.0, -80.01), (10.0, 90.0), (10.0, -90.0)])
def test_beyond_utm_there_is_no_tile(lon: float, lat: float) -> None:
    assert chosen(lon, lat) == ("", 0)


def hard_places() -> tuple[np.ndarray, np.ndarray]:
    """Cell centres at borders of tiles and zones, in both hemispheres, at the equator, +-180, 80 S and 84 N."""
    rng = np.random.default_rng(1)
    lon = [rng.uniform(-180, 180, 60), 6 * rng.integers(-30, 30, 60) + rng.normal(0, 0.02, 60)]
    lat = [np.degrees(np.arcsin(rng.uniform(-0.985, 0.9945, 60))), rng.uniform(-79.9, 83.9, 60)]
    for west, east, south, north in [
        (2.9, 12.1, 55.9, 64.1),
        (-0.1, 42.1, 71.9, 83.9),
        (-180, 180, -0.02, 0.02),
    ]:
        lon.append(rng.uniform(west, east, 40))
        lat.append(rng.uniform(south, north, 40))
    lon.append(np.concatenate([rng.uniform(179.9, 180, 20), rng.uniform(-180, -179.9, 20)]))
    lat.append(rng.uniform(-70, 70, 40))
    lon.append(rng.uniform(-180, 180, 40))
    lat.append(np.concatenate([rng.uniform(-80, -79.5, 20), rng.uniform(83.5, 84, 20)]))
    return grid.id_to_center(
        grid.lonlat_to_id(np.clip(np.concatenate(lon), -180, 180), np.clip(np.concatenate(lat), -90, 90))
    )


def brute_force(lon: float, lat: float, tiles: list[Tile]) -> str:
    """The rule, tile by tile: every zone's projection by pyproj, and no table."""
    if not -80 <= lat <= 84:
        return ""
    best = []
    for zone in range(1, 61):
        if abs((lon - (6 * zone - 183) + 180) % 360 - 180) > 30:
            continue
        easting, northing = pyproj.Transformer.from_crs(4326, 32600 + zone, always_xy=True).transform(
            lon, lat
        )
        left = 60 * np.floor((easting - 960) / 60 + 0.5)
        bottom = 60 * np.floor((northing - 960) / 60 + 0.5)
        for tile in tiles:
            if tile.epsg % 100 != zone:
                continue
            top = tile.top - (10_000_000 if tile.epsg > 32700 else 0)
            inside = (
                tile.left <= left
                and left + 1920 <= tile.left + 109_800
                and top - 109_800 <= bottom
                and bottom + 1920 <= top
            )
            if not inside:
                continue
            column, row = (left + 960) // 100_000, (bottom + 960) // 100_000
            own = (
                zone == mgrs_zone(np.array([lon]), np.array([lat]))[0]
                and 60 * np.floor(column * 100_000 / 60) == tile.left
                and 60 * np.ceil((row + 1) * 100_000 / 60) == top
            )
            distance = np.hypot(tile.left + 54_900 - (left + 960), top - 54_900 - (bottom + 960))
            best.append((not own, distance, tile.name))
    return min(best)[2] if best else ""


def test_the_choice_is_the_rule_applied_to_all_tiles() -> None:
    lon, lat = hard_places()
    answer = choose_chips(lon, lat)
    by_zone = all_tiles()
    for row in range(0, len(lon), 2):
        near = [
            tile
            for tile in by_zone
            if abs((lon[row] - (6 * (tile.epsg % 100) - 183) + 180) % 360 - 180) <= 30
        ]
        expected = brute_force(float(lon[row]), float(lat[row]), near)
        name = answer.tile_name(row) if answer.tiles[row] != NO_TILE else ""
        assert name == expected, (lon[row], lat[row])


@pytest.mark.parametrize("cell_id", [75_685_524, 110_704_030, 16_541_322, 98_079_781])
def test_of_several_tiles_it_is_the_nearest_not_the_first_by_name(cell_id: int) -> None:
    (lon,), (lat,) = grid.id_to_center([cell_id])
    near = [it for it in all_tiles() if abs((lon - (6 * (it.epsg % 100) - 183) + 180) % 360 - 180) <= 9]
    assert chosen(lon, lat)[0] == brute_force(float(lon), float(lat), near)


@pytest.mark.parametrize(
    ("lon", "lat", "zone"),
    [
        *[(-180, 0, 1), (180, 0, 1), (179.999, 0, 60), (-6, 0, 30), (0, 0, 31)],
        *[(3, 56, 32), (3, 55.999, 31), (2.999, 56, 31), (12, 56, 33), (11.999, 63.999, 32), (5, 64, 31)],
        *[(0, 72, 31), (-0.001, 75, 30), (8.999, 72, 31), (9, 72, 33), (9, 71.999, 32), (20.999, 75, 33)],
        *[(21, 75, 35), (32.999, 80, 35), (33, 80, 37), (41.999, 75, 37), (42, 75, 38), (34, 71.999, 36)],
    ],
)
def test_zones_with_the_exceptions_of_norway_and_svalbard(lon: float, lat: float, zone: int) -> None:
    assert mgrs_zone([lon], [lat]).tolist() == [zone]


def test_the_limits_of_utm_belong_to_it() -> None:
    lon = np.linspace(-180, 179, 40)
    for lat in (-80.0, 84.0):
        assert (choose_chips(lon, np.full(40, lat)).tiles != NO_TILE).all()


def test_single_precision_is_computed_with_in_double() -> None:
    lon, lat = np.array([9.53, 120.97], np.float32), np.array([47.14, 14.59], np.float32)
    given, double = choose_chips(lon, lat), choose_chips(lon.tolist(), lat.tolist())
    assert [given.chip(row) for row in (0, 1)] == [double.chip(row) for row in (0, 1)]
    windows = [
        np.stack(chip_windows(*places, 32632)).tolist()
        for places in ((lon, lat), (lon.tolist(), lat.tolist()))
    ]
    assert windows[0] == windows[1]


def test_chips_are_whole_metres_also_where_there_is_none() -> None:
    chosen = choose_chips([0.0, 9.5], [-90.0, 47.1])
    for metres in (chosen.lefts, chosen.bottoms, *chip_windows([9.5], [47.1], 32632)):
        assert metres.dtype == np.int64


def test_chips_lie_on_the_lattice_inside_their_tile() -> None:
    lon, lat = hard_places()
    answer = choose_chips(lon, lat)
    assert (answer.tiles != NO_TILE).mean() > 0.95
    for row in np.flatnonzero(answer.tiles != NO_TILE).tolist():
        tile, chip = find_tile(answer.tile_name(row)), answer.chip(row)
        assert tile.holds(chip)
        equator = 10_000_000 if chip.epsg > 32700 else 0
        assert (chip.left % LATTICE_M, (chip.bottom - equator) % LATTICE_M) == (0, 0)
        # So are the tile's own rasters, at every pixel size.
        assert (chip.left - tile.left) % LATTICE_M == (tile.top - chip.top) % LATTICE_M == 0
        easting, northing = pyproj.Transformer.from_crs(4326, chip.epsg, always_xy=True).transform(
            lon[row], lat[row]
        )
        assert abs(chip.left + CHIP_SIZE_M / 2 - easting) <= 30
        assert abs(chip.bottom + CHIP_SIZE_M / 2 - northing) <= 30


def test_southern_lattice_has_the_false_northing() -> None:
    left, bottom = chip_windows([-70.6], [-33.4], 32719)
    assert left[0] % 60 == 0
    assert bottom[0] % 60 == 10_000_000 % 60 == 40


def test_every_place_on_land_between_the_limits_has_a_tile() -> None:
    rng = np.random.default_rng(2)
    ids = rng.integers(0, grid.NUM_CELLS, 200_000)
    lon, lat = grid.id_to_center(ids)
    answer = choose_chips(lon, lat)
    inside = (lat > -79.9) & (lat < 83.9)
    assert (answer.tiles[inside] != NO_TILE).all()
    assert (answer.tiles[(lat < -80) | (lat > 84)] == NO_TILE).all()


def test_a_given_tile_moves_a_chip_by_one_step_at_most() -> None:
    tile = find_tile("33TWN")
    to_lonlat = pyproj.Transformer.from_crs(tile.epsg, 4326, always_xy=True)
    left, bottom, _, _ = tile.bounds
    for off, kept in ((0, True), (-31, True), (-59, True), (-95, False), (-2000, False)):
        lon, lat = to_lonlat.transform(left + off + 960, bottom + 50_000)
        (chip,) = chips_in_tiles([lon], [lat], [tile])
        assert (chip is not None) == kept
        if chip is not None:
            assert tile.holds(chip)


@pytest.mark.parametrize("epsg", [32633, 32601, 32733, 32760])
@pytest.mark.parametrize(
    "left", [199_980, 812_340]
)  # the last lies in the next zone, or across the antimeridian
def test_points_lie_where_pyproj_says_from_the_middle_of_a_chip(epsg: int, left: int) -> None:
    chip = ChipWindow(epsg, left, 5_000_040)
    to_degrees = pyproj.Transformer.from_crs(epsg, 4326, always_xy=True)
    for east, north in ((0.0, 0.0), (29.5, -3.25), (-1000.0, 12.0)):
        lon, lat = to_degrees.transform(left + 960 + east, 5_000_040 + 960 + north)
        assert from_middle(lon, lat, chip) == pytest.approx((east, north), abs=1e-3)


def test_a_point_that_a_zone_does_not_have_is_infinitely_far() -> None:
    assert np.isinf(from_middle(15.0, 95.0, ChipWindow(32633, 300_000, 5_000_040))).all()
