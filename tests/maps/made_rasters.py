"""Small rasters on the two lattices, in the real formats."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import rasterio
from affine import Affine

from beam_pipeline.maps.raster_grid import LAND_COVER, NIGHT_LIGHTS, Lattice, RasterWindow

# The names of the dimensions of a NetCDF-4 file's variable that has no coordinates of its own.
_NO_COORDINATES = b"This is a netCDF dimension but not a netCDF variable."


def window_around(lattice: Lattice, lon: float, lat: float, columns: int, rows: int) -> RasterWindow:
    """The window of a lattice whose middle is nearest to a point, moved to lie on it."""
    scale = lattice.pixels_per_degree
    column = round((lon + 180) * scale - lattice.left / 2 - columns / 2)
    row = round(lattice.top / 2 - lat * scale - rows / 2)
    column, row = np.clip([column, row], 0, [lattice.columns - columns, lattice.rows - rows]).tolist()
    return RasterWindow(lattice, column, row, columns, rows)


def transform_of(window: RasterWindow) -> Affine:
    west, _, _, north = window.bounds
    step = 1 / window.lattice.pixels_per_degree
    return Affine(step, 0, west, 0, -step, north)


def write_tif(path: Path, pixels: np.ndarray, transform: Affine, **profile: Any) -> Path:
    settings = {"crs": "EPSG:4326", "compress": "lzw", **profile}
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=pixels.shape[1],
        height=pixels.shape[0],
        count=1,
        dtype=pixels.dtype.name,
        transform=transform,
        **settings,
    ) as file:
        file.write(pixels, 1)
    return path


def write_window(path: Path, pixels: np.ndarray, window: RasterWindow, **profile: Any) -> Path:
    return write_tif(path, pixels, transform_of(window), **profile)


def write_netcdf(
    path: Path, pixels: np.ndarray, window: RasterWindow, chunk: int = 16, signed: bool = False
) -> Path:
    """Writes a land-cover map as ESA does: NetCDF-4, (time, lat, lon), chunked, deflated.

    Version 2.0.7 has signed bytes that are meant unsigned, the maps from 2016 on unsigned ones.
    """
    assert window.lattice == LAND_COVER
    west, _, _, north = window.bounds
    step = 1 / window.lattice.pixels_per_degree
    rows, columns = pixels.shape
    with h5py.File(path, "w") as file:
        for name, size in (("time", 1), ("lat", rows), ("lon", columns)):
            values = {
                "time": np.zeros(1),
                "lat": north - step * (np.arange(rows) + 0.5),
                "lon": west + step * (np.arange(columns) + 0.5),
            }[name]
            scale = file.create_dataset(name, data=values)
            assert len(scale) == size
            scale.make_scale(name)
        file["lat"].attrs.update(
            {"units": np.bytes_("degrees_north"), "standard_name": np.bytes_("latitude")}
        )
        file["lon"].attrs.update(
            {"units": np.bytes_("degrees_east"), "standard_name": np.bytes_("longitude")}
        )
        variable = file.create_dataset(
            "lccs_class",
            data=pixels.view(np.int8 if signed else np.uint8)[None],
            chunks=(1, min(chunk, rows), min(chunk, columns)),
            compression="gzip",
        )
        variable.attrs["_FillValue"] = variable.dtype.type(0)
        if signed:
            variable.attrs["_Unsigned"] = np.bytes_("true")
        for axis, name in enumerate(("time", "lat", "lon")):
            variable.dims[axis].attach_scale(file[name])
        # A second variable, as there are in the real file.
        other = file.create_dataset("processed_flag", data=np.zeros((1, rows, columns), np.int8))
        for axis, name in enumerate(("time", "lat", "lon")):
            other.dims[axis].attach_scale(file[name])
    return path


__all__ = [
    "LAND_COVER",
    "NIGHT_LIGHTS",
    "transform_of",
    "window_around",
    "write_netcdf",
    "write_tif",
    "write_window",
]
