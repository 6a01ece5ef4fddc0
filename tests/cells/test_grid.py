import numpy as np
import pyproj
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_pipeline.cells import grid

GEOD = pyproj.Geod(ellps="WGS84")


def edges_of_bands() -> np.ndarray:
    """All 10,419 latitudes, through the public functions alone."""
    south = [grid.id_to_bounds(grid.lonlat_to_id(0.0, -90.0))[2]]
    ids = grid.lonlat_to_id(np.zeros(60_000), np.linspace(-90, 90, 60_000))
    return np.unique(np.concatenate([south, grid.id_to_bounds(ids)[3]]))


def test_bands_are_equal_arcs_of_the_meridian() -> None:
    edges = edges_of_bands()
    assert len(edges) == grid.NUM_BANDS + 1
    assert (edges[0], edges[grid.NUM_BANDS // 2], edges[-1]) == (-90, 0, 90)
    zeros = np.zeros(grid.NUM_BANDS)
    arcs = GEOD.inv(zeros, edges[:-1], zeros, edges[1:])[2]
    assert arcs.sum() == pytest.approx(20_003_931.4586, abs=0.001)
    # Edges are rounded to 1 mm.
    np.testing.assert_allclose(arcs, 20_003_931.4586 / 10_418, atol=0.0015)
    np.testing.assert_array_equal(edges, -edges[::-1])


def test_no_cell_is_narrower_than_a_chip_and_none_too_few() -> None:
    edges = edges_of_bands()
    poleward = np.where(edges[1:] > 0, edges[1:], edges[:-1])
    west, east, _, _ = grid.id_to_bounds(
        grid.lonlat_to_id(np.zeros(len(poleward)), (edges[:-1] + edges[1:]) / 2)
    )
    cells = np.rint(360 / (east - west)).astype(int)
    assert cells.sum() == grid.NUM_CELLS == 138_328_576
    # The length of a parallel from pyproj alone: the ellipsoid's x at that latitude.
    to_xyz = pyproj.Transformer.from_crs(4979, 4978, always_xy=True)
    x, _, _ = to_xyz.transform(np.zeros(len(poleward)), poleward, np.zeros(len(poleward)))
    parallel = 2 * np.pi * np.abs(x)
    polar = cells == 1
    assert (parallel[~polar] / cells[~polar] >= 1920).all()
    assert (parallel / (cells + 1) < 1920).all()
    assert polar.sum() <= 4


def test_ids_are_row_major_from_the_south_west() -> None:
    assert grid.lonlat_to_id(-180.0, -90.0) == 0
    assert grid.lonlat_to_id(179.9999, 90.0) == grid.NUM_CELLS - 1
    assert grid.lonlat_to_id(180.0, 12.3) == grid.lonlat_to_id(-180.0, 12.3)
    assert grid.lonlat_to_id(180.0, 90.0) == grid.lonlat_to_id(-180.0, 90.0)
    row = grid.lonlat_to_id(np.linspace(-180, 179.99, 1000), np.full(1000, 48.0))
    assert (np.diff(row) > 0).all()


ids = st.integers(0, grid.NUM_CELLS - 1)


@given(ids)
def test_edges_belong_to_the_cell_in_the_south_and_west_only(cell_id: int) -> None:
    west, east, south, north = (float(edge) for edge in grid.id_to_bounds(cell_id))
    assert west < east
    assert south < north
    inside_east, inside_north = np.nextafter(east, -999), np.nextafter(north, -999)
    for lon in (west, inside_east):
        for lat in (south, inside_north):
            assert grid.lonlat_to_id(lon, lat) == cell_id
    lon, lat = grid.id_to_center(cell_id)
    assert grid.lonlat_to_id(lon, lat) == cell_id
    if east < 180:
        assert grid.lonlat_to_id(east, south) == cell_id + 1
    if north < 90:
        assert grid.lonlat_to_id(west, north) > cell_id


@given(st.floats(-180, 180), st.floats(-90, 90))
def test_a_point_lies_in_its_cell(lon: float, lat: float) -> None:
    west, east, south, north = grid.id_to_bounds(grid.lonlat_to_id(lon, lat))
    assert west <= (-180 if lon == 180 else lon) < east
    assert south <= lat
    assert lat < north or lat == north == 90


def test_many_random_points_and_shapes() -> None:
    rng = np.random.default_rng(0)
    lon, lat = rng.uniform(-180, 180, (200, 500)), np.degrees(np.arcsin(rng.uniform(-1, 1, (200, 500))))
    found = grid.lonlat_to_id(lon, lat)
    assert found.shape == lon.shape
    assert found.dtype == np.int64
    west, east, south, north = grid.id_to_bounds(found)
    assert ((west <= lon) & (lon < east) & (south <= lat) & (lat < north)).all()
    assert grid.lonlat_to_id(7.0, np.array([1.0, 2.0])).shape == (2,)
    assert grid.lonlat_to_id(np.zeros(0), np.zeros(0)).shape == (0,)


@pytest.mark.parametrize(
    ("lon", "lat"), [(180.1, 0), (-181, 0), (0, 90.1), (0, -91), (np.nan, 0), (0, np.nan), (np.inf, 0)]
)
def test_what_is_no_place_is_refused(lon: float, lat: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        grid.lonlat_to_id([0.0, lon], [0.0, lat])


@pytest.mark.parametrize("cell_id", [-1, grid.NUM_CELLS])
def test_what_is_no_cell_is_refused(cell_id: int) -> None:
    with pytest.raises(ValueError, match="Received"):
        grid.id_to_bounds([0, cell_id])


@pytest.mark.parametrize("precision", [np.float16, np.float32])
def test_less_than_double_precision_is_computed_with_in_double(precision: type[np.floating]) -> None:
    rng = np.random.default_rng(4)
    lon, lat = rng.uniform(-180, 180, 500).astype(precision), rng.uniform(-90, 90, 500).astype(precision)
    double = grid.lonlat_to_id(lon.astype(np.float64), lat.astype(np.float64))
    np.testing.assert_array_equal(grid.lonlat_to_id(lon, lat), double)
    np.testing.assert_array_equal(grid.lonlat_to_id(lon.astype(np.float64), lat), double)
    np.testing.assert_array_equal(grid.lonlat_to_id(lon, lat.astype(np.float64)), double)


def test_the_description_is_what_datasets_say() -> None:
    assert grid.GRID_DESCRIPTION == {
        "name": "opensentinelmap-wgs84-1920m-v1",
        "ellipsoid": "WGS84",
        "cell_size_m": 1920,
        "bands": 10_418,
        "cells": 138_328_576,
    }


def test_cells_of_a_band() -> None:
    band = grid.bands_between(48.0, 48.0)
    assert len(band) == 1
    found = grid.ids_in_band(band[0], 7.0, 7.5)
    assert found[0] == grid.lonlat_to_id(7.0, 48.0)
    assert found[-1] == grid.lonlat_to_id(7.5, 48.0)
    assert (np.diff(found) == 1).all()
    assert len(grid.bands_between(-90, 90)) == grid.NUM_BANDS
    south, north = grid.band_edges(band[0])
    assert south <= 48.0 < north
    assert grid.band_edges(0)[0] == -90
    assert grid.band_edges(grid.NUM_BANDS - 1)[1] == 90
    everywhere = [len(grid.ids_in_band(band, -180, 180)) for band in (0, 5209, grid.NUM_BANDS - 1)]
    assert everywhere == [1, 40_075_016 // 1920, 1]  # at a pole one cell is left, at the equator its length
