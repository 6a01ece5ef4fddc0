"""Windows of the products' grids, at their true size, and reading from a bucket."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from beam_pipeline.maps.raster_grid import LAND_COVER, NIGHT_LIGHTS, RasterWindow
from beam_pipeline.maps.rasters import (
    GDAL_OPTIONS,
    inspect_land_cover,
    inspect_night_lights,
    lit_pixels,
    open_raster,
)
from beam_pipeline.runtime.faults import InvalidInputError
from tests.imagery.range_server import RangeServer
from tests.maps.made_rasters import window_around, write_window
from tests.shared_data import shared

WHOLE = 86401, 33601


def sparse(path: Path, size: tuple[int, int], transform: Affine, dtype: str) -> Path:
    """A raster of any size that takes no space: no block of it is written."""
    profile = {"driver": "GTiff", "width": size[0], "height": size[1], "count": 1, "dtype": dtype}
    with rasterio.open(path, "w", crs="EPSG:4326", transform=transform, sparse_ok=True, **profile):
        pass
    return path


@pytest.mark.parametrize(
    ("step", "origin"),
    [
        (1 / 240, (-180 - 1 / 480, 75 + 1 / 480)),
        # As EOG's headers round them.
        (0.0041666667, (-180.00208333335, 75.00208333335)),
    ],
    ids=["exact", "rounded"],
)
def test_the_whole_composite_is_recognised(tmp_path: Path, step: float, origin: tuple[float, float]) -> None:
    place = Affine(step, 0, origin[0], 0, -step, origin[1])
    file = inspect_night_lights(str(sparse(tmp_path / "vnl.tif", WHOLE, place, "float32")))
    assert file.window == RasterWindow(NIGHT_LIGHTS, 0, 0, *WHOLE)
    blocks = file.row_blocks(512)
    assert [row for block in blocks for row in block] == list(range(WHOLE[1]))
    assert all(block.start % file.block_rows == 0 for block in blocks)


@pytest.mark.parametrize("grow", [(1, 0), (0, 1)])
def test_a_grid_that_reaches_beyond_the_product_is_refused(tmp_path: Path, grow: tuple[int, int]) -> None:
    place = Affine(1 / 240, 0, -180 - 1 / 480, 0, -1 / 240, 75 + 1 / 480)
    path = sparse(tmp_path / "vnl.tif", (WHOLE[0] + grow[0], WHOLE[1] + grow[1]), place, "float32")
    with pytest.raises(InvalidInputError, match="another grid"):
        inspect_night_lights(str(path))


def test_the_whole_land_cover_is_recognised(tmp_path: Path) -> None:
    place = Affine(1 / 360, 0, -180, 0, -1 / 360, 90)
    file = inspect_land_cover(str(sparse(tmp_path / "lc.tif", (129600, 64800), place, "uint8")))
    assert file.window == RasterWindow(LAND_COVER, 0, 0, 129600, 64800)
    assert file.window.bounds == (-180, -90, 180, 90)


def test_blocks_that_no_memory_holds_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "lc.tif"
    profile = {"driver": "GTiff", "width": 129600, "height": 64800, "count": 1, "dtype": "uint8"}
    place = Affine(1 / 360, 0, -180, 0, -1 / 360, 90)
    with rasterio.open(
        path, "w", crs="EPSG:4326", transform=place, sparse_ok=True, blockysize=16000, **profile
    ):
        pass
    with pytest.raises(InvalidInputError, match="gdal_translate"):
        inspect_land_cover(str(path))


def test_a_real_composite_is_a_window(tmp_path: Path) -> None:
    file = inspect_night_lights(str(shared("viirs", "burundi_2016_01.tif")))
    assert (file.window.columns, file.window.rows) == (445, 520)
    west, south, east, north = file.window.bounds
    # Of the file's own header, which is rounded.
    assert np.allclose(
        (west, south, east, north), (28.9979176, -4.4729149, 30.8520842, -2.3062482), atol=1e-5
    )


def test_a_bucket_is_read_in_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    window = window_around(NIGHT_LIGHTS, 9.5, 47.1, 300, 200)
    values = np.random.default_rng(0).uniform(-1, 1, (200, 300)).astype(np.float32)
    path = write_window(tmp_path / "vnl.tif", values, window, blockysize=10, compress=None)
    (tmp_path / "bucket").mkdir()
    shutil.move(path, tmp_path / "bucket" / "vnl.tif")
    with RangeServer(tmp_path) as server:
        monkeypatch.setenv("CPL_GS_ENDPOINT", server.url(""))
        monkeypatch.setenv("GS_NO_SIGN_REQUEST", "YES")
        file = inspect_night_lights("gs://bucket/vnl.tif")
        assert file.window == window
        with rasterio.Env(**GDAL_OPTIONS), open_raster(file) as dataset:
            lit = lit_pixels(dataset, file, range(100, 110))
        np.testing.assert_array_equal(lit, values[100:110] > 0)
        # A part of the file answers for a part of the rows.
        assert sum(request.sent for request in server.requests) < values.nbytes / 2


@pytest.mark.parametrize("tiled", [False, True])
def test_a_download_that_broke_off_is_refused(tmp_path: Path, tiled: bool) -> None:
    pixels = np.random.default_rng(0).random((64, 480), np.float32)
    window = window_around(NIGHT_LIGHTS, 6, 50, 480, 64)
    layout = {"tiled": True, "blockxsize": 32, "blockysize": 32} if tiled else {}
    path = write_window(tmp_path / "lights.tif", pixels, window, **layout)
    assert inspect_night_lights(str(path)).window == window
    cut = tmp_path / "cut.tif"
    cut.write_bytes(path.read_bytes()[:-1])
    with rasterio.open(cut) as dataset:
        assert dataset.shape == pixels.shape  # its tables come first, so that it opens
    with pytest.raises(InvalidInputError, match=r"cut\.tif is cut short: it holds \d+ bytes of \d+"):
        inspect_night_lights(str(cut))
