"""Cells of lit pixels and cells in water, against every cell and every pixel as shapes on a plane."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from beam_pipeline.cells import grid
from beam_pipeline.maps.activity import cells_of_lit, cells_reached
from beam_pipeline.maps.land_cover import find_land, groups_of_bands
from beam_pipeline.maps.raster_grid import LAND_COVER, NIGHT_LIGHTS, Lattice, RasterWindow
from beam_pipeline.maps.rasters import inspect_land_cover, inspect_night_lights, lit_pixels, open_raster
from tests.maps.made_rasters import window_around, write_netcdf, write_window
from tests.shared_data import shared

# Edges that should be one differ by the rounding of degrees; those that differ do so by far more.
ROUNDING = 1e-12

PLACES = {
    "antimeridian": (180.0, -17.0),
    "antimeridian, west side": (-180.0, 66.5),
    "north-west corner": (-180.0, 90.0),
    "south-east corner": (180.0, -90.0),
    "north edge": (30.0, 75.0),
    "south edge": (-70.0, -65.0),
    "where equator and Greenwich meet": (0.0, 0.0),
    "equator, 90 E": (90.0, 0.0),
    "Alps": (9.5, 47.1),
    "Svalbard": (16.0, 78.2),
    "south": (147.3, -42.9),
}

windows = st.one_of(
    st.sampled_from(list(PLACES.values())),
    st.tuples(st.floats(-180, 180), st.floats(-90, 90)),
)
sizes = st.tuples(st.integers(1, 24), st.integers(1, 24))
slow = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def cells_near(window: RasterWindow) -> np.ndarray:
    """All cells around a window, and some more."""
    west, south, east, north = window.bounds
    reach = 2.5 * 360 / grid.band_table().cells[grid.bands_between(south, north)].min()
    pieces = []
    for turn in (-360, 0, 360):
        low, high = max(west - reach + turn, -180.0), min(east + reach + turn, 180.0)
        if low < high:
            pieces += [grid.ids_in_band(b, low, high) for b in grid.bands_between(south - 0.06, north + 0.06)]
    return np.unique(np.concatenate(pieces))


def boxes_of_cells(ids: np.ndarray) -> np.ndarray:
    min_lon, max_lon, min_lat, max_lat = grid.id_to_bounds(ids)
    return shapely.box(min_lon, min_lat, max_lon, max_lat)


def boxes_of_pixels(dataset: rasterio.DatasetReader, mask: np.ndarray) -> np.ndarray:
    """Shapes of some pixels, three times each: as they lie and once around the Earth to both sides."""
    rows, columns = np.nonzero(mask)
    place = dataset.transform
    west, east = (place.c + place.a * (columns + side) for side in (0, 1))
    north, south = (place.f + place.e * (rows + side) for side in (0, 1))
    return np.concatenate([shapely.box(west + turn, south, east + turn, north) for turn in (-360, 0, 360)])


def touching(ids: np.ndarray, dataset: rasterio.DatasetReader, mask: np.ndarray) -> np.ndarray:
    """Which cells touch a pixel of a mask: every one against every one."""
    pixels = boxes_of_pixels(dataset, mask)
    if not len(pixels):
        return np.zeros(len(ids), bool)
    return (shapely.distance(boxes_of_cells(ids)[:, None], pixels[None]) <= ROUNDING).any(axis=1)


def lit_cells(path: Path, rows_per_block: int) -> np.ndarray:
    """Cells as the pipeline finds them, block by block."""
    file = inspect_night_lights(str(path))
    with open_raster(file) as dataset:
        found = [
            cells_of_lit(lit_pixels(dataset, file, rows), file.window, rows.start)
            for rows in file.row_blocks(rows_per_block)
        ]
    return np.unique(np.concatenate(found))


def some_night_lights(rng: np.random.Generator, shape: tuple[int, int], share: float) -> np.ndarray:
    values = np.where(rng.random(shape) < share, rng.uniform(0.01, 90, shape), 0).astype(np.float32)
    odd = np.array([np.nan, -1.5, -0.0, np.inf, -np.inf, 999.0], np.float32)
    return np.where(rng.random(shape) < 0.2, rng.choice(odd, shape), values)


@slow
@given(place=windows, size=sizes, share=st.sampled_from([0.0, 0.02, 0.3]), seed=st.integers(0, 2**32))
def test_lit_cells_are_those_of_brute_force(
    tmp_path: Path, place: tuple[float, float], size: tuple[int, int], share: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    window = window_around(NIGHT_LIGHTS, *place, columns=size[0], rows=size[1])
    values = some_night_lights(rng, (size[1], size[0]), share)
    path = write_window(tmp_path / "vnl.tif", values, window, nodata=999.0, blockysize=1)
    ids = cells_near(window)
    with rasterio.open(path) as dataset:
        lit = np.isfinite(values) & (values > 0) & (values != 999.0)
        expected = ids[touching(ids, dataset, lit)]
    np.testing.assert_array_equal(lit_cells(path, int(rng.integers(1, 30))), expected)


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_a_single_lit_pixel(tmp_path: Path, place: tuple[float, float]) -> None:
    window = window_around(NIGHT_LIGHTS, *place, columns=1, rows=1)
    path = write_window(tmp_path / "vnl.tif", np.full((1, 1), 0.5, np.float32), window)
    ids = cells_near(window)
    with rasterio.open(path) as dataset:
        expected = ids[touching(ids, dataset, np.ones((1, 1), bool))]
    assert 1 <= len(expected) <= 6
    np.testing.assert_array_equal(lit_cells(path, 1), expected)


def test_the_first_and_the_last_column_are_the_same_ground() -> None:
    row = NIGHT_LIGHTS.rows // 3
    lit = np.ones((1, 1), bool)
    sides = [
        cells_of_lit(lit, RasterWindow(NIGHT_LIGHTS, column, row, 1, 1))
        for column in (0, NIGHT_LIGHTS.columns - 1)
    ]
    np.testing.assert_array_equal(sides[0], sides[1])
    lon, _ = grid.id_to_center(sides[0])
    assert {*np.sign(lon).tolist()} == {-1, 1}


def test_an_internal_mask_darkens_pixels(tmp_path: Path) -> None:
    window = window_around(NIGHT_LIGHTS, 9.5, 47.1, 40, 40)
    values = np.ones((40, 40), np.float32)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        path = write_window(tmp_path / "vnl.tif", values, window)
        with rasterio.open(path, "r+") as file:
            file.write_mask(np.arange(1600).reshape(40, 40) < 40)
    ids = cells_near(window)
    with rasterio.open(path) as dataset:
        expected = ids[touching(ids, dataset, np.arange(1600).reshape(40, 40) < 40)]
    np.testing.assert_array_equal(lit_cells(path, 7), expected)


def exact_edges(cell: tuple[int, int, int], lattice: Lattice, column: int) -> tuple[Fraction, ...]:
    number, cells, _ = cell
    step = Fraction(1, 2 * lattice.pixels_per_degree)
    return (
        Fraction(360 * number, cells),
        Fraction(360 * (number + 1), cells),
        (2 * column + lattice.left) * step,
        (2 * column + 2 + lattice.left) * step,
    )


@pytest.mark.parametrize("lattice", [NIGHT_LIGHTS, LAND_COVER], ids=lambda lattice: lattice.name[:3])
def test_edges_are_compared_without_rounding(lattice: Lattice) -> None:
    table = grid.band_table()
    rng = np.random.default_rng(0)
    # Bands whose meridians meet the pixels' edges at many places, and others.
    bands = (
        np.flatnonzero(table.cells % 256 == 0)[::4].tolist() + rng.integers(0, grid.NUM_BANDS, 30).tolist()
    )
    window = RasterWindow(lattice, 0, 0, lattice.columns, lattice.rows)
    shared_edges = 0
    for band in bands:
        cells = int(table.cells[band])
        ends = 0, lattice.columns // 2, lattice.columns - 1
        for column in [*ends, *rng.integers(0, lattice.columns, 6).tolist()]:
            first, last = (int(n[0]) for n in window.cells_of_columns(np.array([column]), cells))
            for number in range(first - 1, last + 2):
                west, east, left, right = exact_edges((number, cells, band), lattice, column)
                assert (west <= right and left <= east) == (first <= number <= last)
                shared_edges += west == right or left == east
            numbers = np.arange(max(first, 0), min(last, cells - 1) + 1)
            ranges = window.columns_of_cells(numbers, cells)
            assert all(any(a[i] <= column <= b[i] for a, b in ranges) for i in range(len(numbers)))
    assert shared_edges > 20 or lattice == NIGHT_LIGHTS


def test_rows_and_bands_are_inverse_to_each_other() -> None:
    for lattice in (NIGHT_LIGHTS, LAND_COVER):
        window = RasterWindow(lattice, 0, 0, lattice.columns, lattice.rows)
        first_row, last_row = window.rows_of_bands(np.arange(grid.NUM_BANDS))
        first_band, last_band = window.bands_of_rows(np.arange(lattice.rows))
        edges = [Fraction(round(edge * 10**8), 10**8) for edge in grid.band_table().edges.tolist()]
        step = Fraction(1, 2 * lattice.pixels_per_degree)
        # Bands and land-cover rows share the equator.
        equator = lattice.top // 2
        for row in [*range(0, lattice.rows, 97), *range(equator - 2, equator + 2), lattice.rows - 1]:
            top, bottom = (lattice.top - 2 * row) * step, (lattice.top - 2 * row - 2) * step
            low, high = int(first_band[row]), int(last_band[row])
            for band in range(max(low - 1, 0), min(high + 2, grid.NUM_BANDS)):
                touches = edges[band] <= top and bottom <= edges[band + 1]
                assert touches == (low <= band <= high)
                assert touches == (first_row[band] <= row <= last_row[band])


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_cells_reached_are_those_that_touch_a_pixel(tmp_path: Path, place: tuple[float, float]) -> None:
    window = window_around(NIGHT_LIGHTS, *place, columns=30, rows=9)
    path = write_window(tmp_path / "vnl.tif", np.ones((9, 30), np.float32), window)
    ids = cells_near(window)
    with rasterio.open(path) as dataset:
        expected = int(touching(ids, dataset, np.ones((9, 30), bool)).sum())
    assert sum(len(cells_reached(band, window)) for band in range(grid.NUM_BANDS)) == expected


def land_of(ids: np.ndarray, path: Path, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns what the pipeline finds, group by group."""
    file = inspect_land_cover(str(path))
    groups = groups_of_bands(file, rows)[np.searchsorted(grid.band_table().first, ids, side="right") - 1]
    reached, land = np.zeros(len(ids), bool), np.zeros(len(ids), bool)
    with open_raster(file) as dataset:
        for group in np.unique(groups).tolist():
            of_group = groups == group
            found = find_land(ids[of_group], dataset, file, file.row_blocks(rows)[group])
            reached[of_group], land[of_group] = found.reached, found.land
    return reached, land


@slow
@given(
    place=windows,
    size=st.tuples(st.integers(1, 50), st.integers(1, 50)),
    share=st.sampled_from([0.0, 0.003, 0.2, 1.0]),
    kind=st.sampled_from(["strips", "tiles", "unsigned.nc", "signed.nc"]),
    seed=st.integers(0, 2**32),
)
def test_cells_in_water_are_those_of_brute_force(
    tmp_path: Path, place: tuple[float, float], size: tuple[int, int], share: float, kind: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    window = window_around(LAND_COVER, *place, columns=size[0], rows=size[1])
    shape = size[1], size[0]
    classes = np.where(rng.random(shape) < share, rng.choice([0, 10, 130, 190, 209, 211, 220], shape), 210)
    classes = classes.astype(np.uint8)
    if kind.endswith(".nc"):
        if min(size) < 2:
            return  # one coordinate alone gives no step
        path = write_netcdf(tmp_path / "lc.nc", classes, window, 16, signed=kind == "signed.nc")
    else:
        layout = (
            {"blockysize": 1} if kind == "strips" else {"tiled": True, "blockxsize": 16, "blockysize": 16}
        )
        path = write_window(tmp_path / "lc.tif", classes, window, **layout)
    ids = cells_near(window)
    ids = ids[rng.random(len(ids)) < rng.choice([0.3, 1.0])]
    reached, land = land_of(ids, path, int(rng.integers(1, 40)))
    with rasterio.open(write_window(tmp_path / "same.tif", classes, window)) as dataset:
        np.testing.assert_array_equal(land, touching(ids, dataset, classes != 210))
        np.testing.assert_array_equal(reached, touching(ids, dataset, np.ones(shape, bool)))


def test_real_night_lights() -> None:
    path = shared("viirs", "burundi_2016_01.tif")
    file = inspect_night_lights(str(path))
    with rasterio.open(path) as dataset:
        lit = dataset.read(1) > 0.5  # a monthly composite: all of it is above 0
        ids = cells_near(file.window)
        tree = shapely.STRtree(boxes_of_pixels(dataset, lit))
    # The file's own corners are off the lattice by 0.0004 px; no edge of a cell lies in between.
    expected = np.unique(tree.query(boxes_of_cells(ids), "intersects")[0])
    found = cells_of_lit(lit, file.window)
    assert len(found) > 100
    np.testing.assert_array_equal(found, ids[expected])
