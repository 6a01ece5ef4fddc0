"""The land cover as NetCDF-4: what it must be, and that all of it lies in the one file."""

import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from rasterio.errors import RasterioIOError

from beam_pipeline.maps.rasters import inspect_land_cover, open_raster, read_rows
from beam_pipeline.runtime.faults import InvalidInputError
from tests.maps.made_rasters import LAND_COVER, window_around, write_netcdf
from tests.security.opened_files import noted_openings

WINDOW = window_around(LAND_COVER, 9, 47, 64, 48)
PIXELS = np.random.default_rng(0).integers(0, 221, (48, 64)).astype(np.uint8)

# As `ncdump -h` shows them of version 2.0.7: numbers of another type than the classes, and a `crs` of its own kind.
OF_ESA = {"valid_min": np.int32(1), "valid_max": np.int32(220), "grid_mapping": np.bytes_("crs")}


def write_like_esa(path: Path, signed: bool = False) -> Path:
    write_netcdf(path, PIXELS, WINDOW, signed=signed)
    with h5py.File(path, "r+") as file:
        file["lccs_class"].attrs.update(OF_ESA)
        file["crs"] = np.zeros(1, np.int32)
        file["crs"].attrs.update({"wkt": np.bytes_("GEOGCS[...]"), "i2m": np.bytes_("0.0027,0,0,-0.0027")})
    return path


@pytest.mark.parametrize("signed", [False, True])
def test_classes_and_place_are_read_by_one_reader(tmp_path: Path, signed: bool) -> None:
    path = write_like_esa(tmp_path / "map.nc", signed)
    with noted_openings(tmp_path) as opened:
        file = inspect_land_cover(str(path))
        with open_raster(file) as dataset:
            np.testing.assert_array_equal(read_rows(dataset, range(7, 40), range(3, 50)), PIXELS[7:40, 3:50])
    assert (file.window, file.nodata, file.block_rows) == (WINDOW, 0, 16)
    assert opened == {"map.nc"}


@pytest.mark.parametrize("signed", [False, True])
def test_one_whose_latitude_ascends_is_refused(tmp_path: Path, signed: bool) -> None:
    path = write_like_esa(tmp_path / "map.nc", signed)
    with h5py.File(path, "r+") as file:
        for name, axis in (("lat", 0), ("lccs_class", 1)):
            file[name][...] = np.flip(file[name][...], axis)
    with pytest.raises(InvalidInputError, match="another order of rows"):
        inspect_land_cover(str(path))


def lies_raw(file: h5py.File, name: str, secret: Path) -> None:
    shape, dtype = file[name].shape, file[name].dtype
    del file[name]
    size = int(np.prod(shape)) * dtype.itemsize
    file.create_dataset(name, shape, dtype, external=[(str(secret), 0, size)])


def is_virtual(file: h5py.File, name: str, secret: Path) -> None:
    shape, dtype = file[name].shape, file[name].dtype
    del file[name]
    layout = h5py.VirtualLayout(shape, dtype)
    layout[...] = h5py.VirtualSource(str(secret), name, shape)
    file.create_virtual_dataset(name, layout)


def is_virtual_without_end(file: h5py.File, name: str, secret: Path) -> None:
    shape, dtype = file[name].shape, file[name].dtype
    del file[name]
    most = (*shape[:-1], None)
    layout = h5py.VirtualLayout(shape, dtype, maxshape=most)
    every = (*(slice(length) for length in shape[:-1]), slice(0, h5py.h5s.UNLIMITED))
    layout[every] = h5py.VirtualSource(str(secret), name, shape, maxshape=most)[every]
    file.create_virtual_dataset(name, layout)


def is_an_external_link(file: h5py.File, name: str, secret: Path) -> None:
    del file[name]
    file[name] = h5py.ExternalLink(str(secret), f"/{name}")


def is_a_soft_link_to_one(file: h5py.File, name: str, secret: Path) -> None:
    is_an_external_link(file, name, secret)
    file.move(name, "behind")
    file[name] = h5py.SoftLink("/behind")


@pytest.mark.parametrize("name", ["lat", "lon", "lccs_class", "crs"])
@pytest.mark.parametrize(
    "leads",
    [lies_raw, is_virtual, is_virtual_without_end, is_an_external_link, is_a_soft_link_to_one],
)
def test_one_of_which_a_part_lies_in_another_file_is_refused(
    tmp_path: Path, leads: Callable[[h5py.File, str, Path], None], name: str
) -> None:
    path = write_like_esa(tmp_path / "map.nc")
    (tmp_path / "secrets").mkdir()
    secret = Path(shutil.copy(path, tmp_path / "secrets" / "secret.nc"))
    with h5py.File(path, "r+") as file:
        leads(file, name, secret)
    with (
        noted_openings(secret.parent) as opened,
        pytest.raises(InvalidInputError, match="another file that it refers to"),
    ):
        inspect_land_cover(str(path))
    assert not opened


def test_names_and_scales_of_dimensions_lead_nowhere(tmp_path: Path) -> None:
    path = write_like_esa(tmp_path / "map.nc")
    (tmp_path / "secrets").mkdir()
    secret = Path(shutil.copy(path, tmp_path / "secrets" / "secret.nc"))
    with noted_openings(secret.parent) as opened:
        with h5py.File(path, "r+") as file:
            file["folder"] = h5py.ExternalLink(str(secret), "/")
            file["other"] = h5py.ExternalLink(str(secret), "/lat")
            is_virtual(file, "processed_flag", secret)
        inspect_land_cover(str(path))  # what is not needed is not looked at
        for mapping in ("folder/crs", "/folder/crs", "folder"):
            with h5py.File(path, "r+") as file:
                file["lccs_class"].attrs["grid_mapping"] = np.bytes_(mapping)
            with pytest.raises(InvalidInputError, match="another file that it refers to"):
                inspect_land_cover(str(path))
        with h5py.File(path, "r+") as file:
            file["lccs_class"].dims[1].detach_scale(file["lat"])
        with pytest.raises(InvalidInputError, match="must have the dimensions"):
            inspect_land_cover(str(path))
    assert not opened


@pytest.mark.parametrize(
    ("attributes", "says"),
    [
        ({"scale_factor": 2.0}, "another scale or offset"),
        ({"add_offset": np.int16(1)}, "another scale or offset"),
        ({"add_offset": 1j}, "add_offset must be a real number"),
        ({"_FillValue": np.uint8(210)}, "another value of no data"),
        ({"missing_value": np.uint8(210), "_FillValue": None}, "another value of no data"),
        ({"valid_max": np.int32(209)}, "another mask"),
        ({"valid_range": np.array([11, 220], np.uint8)}, "another mask"),
    ],
)
def test_what_changes_or_hides_classes_is_refused(
    tmp_path: Path, attributes: dict[str, object], says: str
) -> None:
    path = write_like_esa(tmp_path / "map.nc")
    with h5py.File(path, "r+") as file:
        for name, value in attributes.items():
            if value is None:
                del file["lccs_class"].attrs[name]
            else:
                file["lccs_class"].attrs[name] = value
    with pytest.raises(InvalidInputError, match=says):
        inspect_land_cover(str(path))


@pytest.mark.parametrize(
    ("coordinate", "attribute", "value"),
    [("lat", "scale_factor", 2.0), ("lon", "add_offset", 1.0), ("lon", "units", "radians")],
)
def test_what_moves_the_map_is_refused(
    tmp_path: Path, coordinate: str, attribute: str, value: float | str
) -> None:
    path = write_like_esa(tmp_path / "map.nc")
    with h5py.File(path, "r+") as file:
        file[coordinate].attrs[attribute] = value
    with pytest.raises(InvalidInputError, match="must be in degrees, without scale and offset"):
        inspect_land_cover(str(path))


def test_values_of_signed_bytes_are_meant_unsigned(tmp_path: Path) -> None:
    path = write_like_esa(tmp_path / "map.nc", signed=True)
    with h5py.File(path, "r+") as file:
        file["lccs_class"].attrs["valid_max"] = np.int8(220 - 256)
    inspect_land_cover(str(path))
    with h5py.File(path, "r+") as file:
        file["lccs_class"].attrs["_FillValue"] = np.int8(210 - 256)
    with pytest.raises(InvalidInputError, match="another value of no data"):
        inspect_land_cover(str(path))
    with h5py.File(path, "r+") as file:
        del file["lccs_class"].attrs["_Unsigned"]
    with pytest.raises(InvalidInputError, match="another dtype"):
        inspect_land_cover(str(path))


def test_another_datum_is_refused(tmp_path: Path) -> None:
    path = write_like_esa(tmp_path / "map.nc")
    with h5py.File(path, "r+") as file:
        file["crs"].attrs["grid_mapping_name"] = np.bytes_("latitude_longitude")
    inspect_land_cover(str(path))
    with h5py.File(path, "r+") as file:
        file["crs"].attrs.update({"semi_major_axis": 6378206.4, "inverse_flattening": 294.978698214})
    with pytest.raises(InvalidInputError, match="another CRS"):
        inspect_land_cover(str(path))


def replace(name: str, **how: object) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        scale_of = {"lat": 1, "lon": 2}.get(name)
        if scale_of is not None:
            file["lccs_class"].dims[scale_of].detach_scale(file[name])
        data = {"data": file[name][...], **how}
        del file[name]
        made = file.create_dataset(name, **data)
        for axis, scale in enumerate(("time", "lat", "lon") if made.ndim == 3 else ()):
            made.dims[axis].attach_scale(file[scale])
        if scale_of is not None:
            made.make_scale(name)
            file["lccs_class"].dims[scale_of].attach_scale(made)

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda file: file.__delitem__("lat"), "no variable lat"),
        (replace("lccs_class"), "must be stored in chunks"),
        (replace("lccs_class", chunks=(1, 48, 1 << 23), maxshape=(None, None, None)), "a chunk must have"),
        (replace("lat", data=np.full(48, np.nan)), "even steps"),
        (replace("lat", data=np.geomspace(48, 46, 48) ** 2), "even steps"),
        (replace("lat", data=np.arange(48)), "floating-point"),
        (replace("lon", data=np.zeros(64)), "another grid"),
        (replace("lccs_class", data=np.zeros((2, 48, 64), np.uint8), chunks=(1, 16, 16)), "number of bands"),
        (replace("lccs_class", data=np.zeros((1, 48, 64), np.uint16), chunks=(1, 16, 16)), "another dtype"),
    ],
)
def test_another_layout_is_refused(tmp_path: Path, change: Callable[[h5py.File], None], says: str) -> None:
    path = write_like_esa(tmp_path / "map.nc")
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(InvalidInputError, match=says):
        inspect_land_cover(str(path))


def test_what_is_damaged_or_no_netcdf_4_is_refused(tmp_path: Path) -> None:
    path = write_like_esa(tmp_path / "map.nc")
    content = path.read_bytes()
    file = inspect_land_cover(str(path))
    path.write_bytes(content[: len(content) // 2])
    for given in (str(path), str(tmp_path / "none.nc")):
        with pytest.raises(InvalidInputError, match="cannot be opened"):
            inspect_land_cover(given)
    path.write_bytes(b"CDF\1" + bytes(100))
    with pytest.raises(InvalidInputError, match="no NetCDF-4 file"):
        inspect_land_cover(str(path))
    path.write_bytes(content)
    with h5py.File(path) as opened:
        start = opened["lccs_class"].id.get_chunk_info(0).byte_offset
    path.write_bytes(content[:start] + bytes(20) + content[start + 20 :])
    with open_raster(file) as dataset, pytest.raises(RasterioIOError, match="Rows 0 to 15 of"):
        read_rows(dataset, range(16))
