"""Rasters that name other files or hosts, inside them or beside them."""

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
import rasterio

import beam_pipeline
from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.imagery.cog import SceneReader
from beam_pipeline.maps.rasters import GDAL_OPTIONS, inspect_land_cover, inspect_night_lights, open_raster
from beam_pipeline.runtime.faults import InvalidInputError, PermanentFault
from beam_pipeline.runtime.gdal_drivers import KEPT
from beam_pipeline.runtime.retries import RetryPolicy
from tests.imagery.made_cogs import EPSG, LEFT, TOP, write_cog
from tests.imagery.range_server import ServerProcess
from tests.maps.made_rasters import LAND_COVER, NIGHT_LIGHTS, window_around, write_netcdf, write_window

CHIP = ChipWindow(EPSG, LEFT + 600, TOP - 3000)
INSPECT = {"lights": inspect_night_lights, "cover": inspect_land_cover}


@pytest.fixture
def inner(tmp_path: Path) -> Iterator[ServerProcess]:
    """A host in a process of its own: GDAL holds Python's lock as it opens an overview."""
    (tmp_path / "served").mkdir()
    write_cog(tmp_path / "served" / "inner.tif")
    with ServerProcess(tmp_path / "served", 0) as server:
        yield server


def write_map(path: Path, kind: str, **profile: object) -> Path:
    lattice, dtype = (NIGHT_LIGHTS, np.float32) if kind == "lights" else (LAND_COVER, np.uint8)
    pixels = np.random.default_rng(0).integers(1, 221, (48, 64)).astype(dtype)
    return write_window(path, pixels, window_around(lattice, 9.5, 47.1, 64, 48), **profile)


def name_overviews(path: Path, name: str, key: str = "OVERVIEW_FILE") -> None:
    with rasterio.open(path, "r+", driver="GTiff", IGNORE_COG_LAYOUT_BREAK="YES") as file:
        file.update_tags(ns="OVERVIEWS", **{key: name})


def names(inner: ServerProcess, folder: Path) -> list[str]:
    write_cog(folder / "secret.tif")
    url = f"{inner.base}inner.tif"
    return [
        f"/vsicurl/{url}",
        f"/vsicurl_streaming/{url}",
        url,
        str(folder / "secret.tif"),
        ":::BASE:::secret.tif",
    ]


def test_no_image_leads_to_another_file_or_host(inner: ServerProcess, tmp_path: Path) -> None:
    for number, name in enumerate(names(inner, tmp_path)):
        path = tmp_path / "served" / f"{number}.tif"
        write_cog(path)
        name_overviews(path, name)
        inner.take_requests()
        for href in (str(path), f"{inner.base}{number}.tif"):
            with SceneReader(1, RetryPolicy(1)) as reader:
                (answer,) = reader.read({"B02": href}, ["B02"], [CHIP])
                with pytest.raises(PermanentFault, match="must hold its overviews itself"):
                    reader.read_coarse({"B02": href}, ["B02"], 100)
            assert isinstance(answer, PermanentFault)
            assert answer.reason == "refers_elsewhere"
        assert {request.path for request in inner.take_requests()} == {f"/{number}.tif"}


@pytest.mark.parametrize("kind", INSPECT)
def test_no_map_leads_to_another_file_or_host(inner: ServerProcess, tmp_path: Path, kind: str) -> None:
    for number, name in enumerate(names(inner, tmp_path)):
        path = write_map(tmp_path / f"{number}.tif", kind)
        name_overviews(path, name)
        inner.take_requests()
        with pytest.raises(InvalidInputError, match="file that it refers to"):
            INSPECT[kind](str(path))
        assert not inner.take_requests()


@pytest.mark.parametrize("kind", INSPECT)
def test_what_lies_beside_a_map_is_not_read(tmp_path: Path, kind: str) -> None:
    path = write_map(tmp_path / "map.tif", kind)
    found = INSPECT[kind](str(path))
    with rasterio.Env(**GDAL_OPTIONS), open_raster(str(path)) as dataset:
        pixels = dataset.read(1)
    for name in ("map.tif.msk", "map.msk", "map.tif.ovr", "map.ovr"):
        with rasterio.open(path) as true:
            profile = {**true.profile, "dtype": "uint8"}
        with rasterio.open(tmp_path / name, "w", **profile) as file:
            file.write(np.zeros(pixels.shape, np.uint8), 1)
    (tmp_path / "map.tif.aux.xml").write_text(
        '<PAMDataset><PAMRasterBand band="1"><NoDataValue>7</NoDataValue></PAMRasterBand></PAMDataset>'
    )
    assert INSPECT[kind](str(path)) == found
    with rasterio.Env(**GDAL_OPTIONS), open_raster(str(path)) as dataset:
        np.testing.assert_array_equal(dataset.read(1), pixels)
        assert dataset.read_masks(1).all()
        assert not dataset.overviews(1)
        assert dataset.files == [str(path)]


@pytest.mark.parametrize("kind", INSPECT)
@pytest.mark.parametrize("tag", ["scales", "offsets"])
def test_scale_and_offset_are_refused(tmp_path: Path, kind: str, tag: str) -> None:
    path = write_map(tmp_path / "map.tif", kind)
    with rasterio.open(path, "r+") as file:
        setattr(file, tag, (2.0,))
    with pytest.raises(InvalidInputError, match="another scale or offset"):
        INSPECT[kind](str(path))


def test_a_land_cover_that_hides_classes_is_refused(tmp_path: Path) -> None:
    assert inspect_land_cover(str(write_map(tmp_path / "map.tif", "cover", nodata=0))).nodata == 0
    with pytest.raises(InvalidInputError, match="another value of no data"):
        inspect_land_cover(str(write_map(tmp_path / "map.tif", "cover", nodata=210)))
    path = write_map(tmp_path / "masked.tif", "cover")
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
        file.write_mask(np.zeros((48, 64), bool))
    with pytest.raises(InvalidInputError, match="another mask"):
        inspect_land_cover(str(path))


@pytest.mark.parametrize("signed", [False, True])
def test_a_netcdf_whose_latitude_ascends_is_refused(tmp_path: Path, signed: bool) -> None:
    pixels = np.random.default_rng(0).integers(0, 221, (48, 64)).astype(np.uint8)
    path = write_netcdf(tmp_path / "map.nc", pixels, window_around(LAND_COVER, 9, 47, 64, 48), signed=signed)
    inspect_land_cover(str(path))
    with h5py.File(path, "r+") as file:
        for name, axis in (("lat", 0), ("lccs_class", 1)):
            file[name][...] = np.flip(file[name][...], axis)
    with pytest.raises(InvalidInputError, match="another order of rows"):
        inspect_land_cover(str(path))


@pytest.mark.parametrize("kind", ["raw", "virtual"])
def test_a_netcdf_whose_classes_lie_in_another_file_is_refused(tmp_path: Path, kind: str) -> None:
    pixels = np.full((48, 64), 210, np.uint8)
    window = window_around(LAND_COVER, 9, 47, 64, 48)
    path, secret = write_netcdf(tmp_path / "map.nc", pixels, window), tmp_path / "secret.nc"
    shutil.copy(path, secret)
    with h5py.File(path, "r+") as file:
        del file["lccs_class"]
        if kind == "raw":
            elsewhere = [(str(secret), 0, pixels.size)]
            made = file.create_dataset("lccs_class", (1, 48, 64), "u1", external=elsewhere)
        else:
            layout = h5py.VirtualLayout((1, 48, 64), "u1")
            layout[...] = h5py.VirtualSource(str(secret), "lccs_class", (1, 48, 64))
            made = file.create_virtual_dataset("lccs_class", layout)
        for axis, name in enumerate(("time", "lat", "lon")):
            made.dims[axis].attach_scale(file[name])
    with pytest.raises(InvalidInputError, match="another layout"):
        inspect_land_cover(str(path))


def run_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    return done.stdout.strip() + done.stderr.strip()


def test_the_drivers_are_those_that_are_needed() -> None:
    """In any thread, and in whatever Env comes later."""
    code = """
import threading
from beam_pipeline.runtime.gdal_drivers import rasterio
def show():
    with rasterio.Env() as env: print(*sorted(env.drivers()))
show()
thread = threading.Thread(target=show); thread.start(); thread.join()
"""
    assert run_python(code).split("\n") == [" ".join(sorted(KEPT))] * 2


def test_without_the_first_wall_a_driver_that_is_not_needed_opens_nothing(
    inner: ServerProcess, tmp_path: Path
) -> None:
    path = write_map(tmp_path / "map.tif", "lights")
    name_overviews(path, f"{inner.base}inner.tif")  # of the HTTP driver, which would download it
    code = f"rasterio.open({str(path)!r}, driver='GTiff').overviews(1)"
    run_python(f"from beam_pipeline.runtime.gdal_drivers import rasterio; {code}")
    assert not inner.take_requests()
    run_python(f"import rasterio; {code}")
    assert inner.take_requests()


def test_without_the_second_wall_the_first_holds_and_says_so(inner: ServerProcess, tmp_path: Path) -> None:
    path = write_map(tmp_path / "map.tif", "lights")
    name_overviews(path, f"{inner.base}inner.tif")
    said = run_python(
        "import rasterio\nwith rasterio.Env(): pass\n"
        "from beam_pipeline.maps.rasters import inspect_night_lights\n"
        f"try: inspect_night_lights({str(path)!r})\nexcept Exception as error: print(error)"
    )
    assert "file that it refers to" in said
    assert "drivers that are not needed" in said
    assert not inner.take_requests()


def test_rasterio_is_imported_from_one_place() -> None:
    """Only so are the drivers limited before GDAL registers them, in launcher, workers and every entry."""
    harmless = {"rasterio.enums", "rasterio.errors", "rasterio.windows"}
    folder = Path(beam_pipeline.__file__).parent
    for path in folder.rglob("*.py"):
        if path.name == "gdal_drivers.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            found = {module for module in modules if module.split(".")[0] == "rasterio"}
            assert found <= harmless, path
