"""The land-cover map as ESA ships it, NetCDF-4: coordinates and classes by one reader, from the one file.

NetCDF-4 is HDF5, in which a name may lead to another file, and a variable may lie in others. Nothing is opened before
its name is known to lead to this file, and nothing is read before its bytes are known to lie in it.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pyproj
from affine import Affine
from rasterio.enums import MaskFlags
from rasterio.errors import RasterioIOError
from rasterio.windows import Window

CLASSES = "lccs_class"
"""The variable of the classes. Source: ESA Land Cover CCI Product User Guide v2.0, section 3."""

_MOST_VALUES = 1 << 18
"""Of a coordinate; the whole map has 129,600 columns."""

_MOST_CHUNK_BYTES = 1 << 28
_STRAIGHT_PX = 0.02
_CLASSES_FROM_TO = 10, 220
"""The first class and the last. Source: the same guide, table 3-1."""

_FAILURES = (OSError, LookupError, ValueError, TypeError, RuntimeError, MemoryError)
"""Errors that h5py raises of a file that is damaged, or lies."""


class ElsewhereError(RasterioIOError):
    """A part of the file lies in another one."""


class AscendingError(RasterioIOError):
    """The rows go from south to north."""


def is_netcdf(path: str) -> bool:
    """Tells whether a path names a NetCDF."""
    return path.endswith(".nc")


class NetcdfMap:
    """The classes of a land-cover map, open; a context manager.

    It has what a dataset of rasterio has, as far as `maps.rasters` asks for it.

    Args:
        path: A file on this machine.

    Attributes:
        name: The path.
        width: Columns.
        height: Rows, the first in the north.
        count: How many dates it has.
        dtypes: That of the classes.
        scales: What they are multiplied by, 1 without.
        offsets: What is added, 0 without.
        nodata: The value that means no data, if there is one.
        mask_flag_enums: Whether a range of valid values hides a class.
        block_shapes: Rows and columns of a chunk.
        transform: From pixels to degrees.
        crs: None where the file has none that the CF conventions know.

    Raises:
        ElsewhereError: It would have to be read from another file.
        AscendingError: Its latitude ascends.
        RasterioIOError: It cannot be read, or has not the variables and the layout of the product.
    """

    def __init__(self, path: str) -> None:
        self.name = path
        with _translated(path):
            self._file = h5py.File(path, "r", locking="best-effort")
        try:
            with _translated(path):
                self._look()
        except BaseException:
            self.close()
            raise

    def _look(self) -> None:
        latitudes, longitudes = (_variable(self._file, name) for name in ("lat", "lon"))
        self._classes = classes = _variable(self._file, CLASSES)
        self._unsigned = classes.dtype == np.int8 and _text(classes.attrs.get("_Unsigned")) == "true"
        _require_layout(classes, latitudes, longitudes)
        self.height, self.width = classes.shape[-2:]
        self.count = int(np.prod(classes.shape[:-2]))
        self.dtypes = ("uint8" if self._unsigned else classes.dtype.name,)
        self.scales = (_number(classes, "scale_factor", 1),)
        self.offsets = (_number(classes, "add_offset", 0),)
        self.nodata = self._of_class("_FillValue", self._of_class("missing_value", None))
        self.mask_flag_enums = ([MaskFlags.per_dataset] if self._hides_classes() else [MaskFlags.all_valid],)
        self.block_shapes = (classes.chunks[-2:],)
        self.transform = _transform(_values(latitudes), _values(longitudes))
        self.crs = self._crs()

    def read(self, _band: int, window: Window) -> npt.NDArray[Any]:
        """Returns the classes (H, W) of a window.

        Raises:
            RasterioIOError: They cannot be read.
        """
        rows, columns = window.toslices()
        with _translated(self.name):
            classes: npt.NDArray[Any] = self._classes[(0,) * (self._classes.ndim - 2) + (rows, columns)]
        return classes.view(np.uint8) if self._unsigned else classes

    def tags(self, ns: str) -> dict[str, str]:
        """Returns no tags: of GDAL's domains it has none."""
        return {}

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def __enter__(self) -> "NetcdfMap":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _of_class(self, attribute: str, default: float | None) -> float | None:
        value = _number(self._classes, attribute, default)
        return value if value is None or not self._unsigned else value % 256

    def _hides_classes(self) -> bool:
        """Whether a class lies beyond the range of values that the file calls valid."""
        first, last = self._of_class("valid_min", 0), self._of_class("valid_max", 255)
        pair = self._classes.attrs.get("valid_range")
        if pair is not None:
            first, last = (float(value) % 256 if self._unsigned else float(value) for value in pair)
        assert first is not None
        assert last is not None
        return not (first <= _CLASSES_FROM_TO[0] and _CLASSES_FROM_TO[1] <= last)

    def _crs(self) -> pyproj.CRS | None:
        name = _text(self._classes.attrs.get("grid_mapping"))
        if not name or _link(self._file, name) is None:
            return None
        attributes = {key: _plain(value) for key, value in _variable(self._file, name).attrs.items()}
        try:
            return pyproj.CRS.from_cf(attributes)
        except (pyproj.exceptions.CRSError, KeyError):
            return None  # as ESA's own `crs`, which has a `wkt` that the conventions do not know


@contextlib.contextmanager
def _translated(path: str) -> Iterator[None]:
    """Makes one error of all that h5py raises."""
    try:
        yield
    except RasterioIOError:
        raise
    except _FAILURES as error:
        raise RasterioIOError(f"{path} is no NetCDF-4 file that can be read: {error}") from error


def _link(file: h5py.File, name: str) -> int | None:
    """Returns of which kind the link of a name is, None without one.

    It is asked of HDF5 itself: `name in file` and `file.get` follow links first, and so does a path of several names.
    """
    if "/" in name:
        return int(h5py.h5l.TYPE_SOFT)
    links, encoded = file.id.links, name.encode()
    return int(links.get_info(encoded).type) if links.exists(encoded) else None


def _variable(file: h5py.File, name: str) -> h5py.Dataset:
    """Opens a variable of the file itself."""
    link = _link(file, name)
    if link is None:
        raise RasterioIOError(f"it has no variable {name}")
    if link != h5py.h5l.TYPE_HARD:
        raise ElsewhereError(f"{name} is a link")
    variable = file[name]
    if not isinstance(variable, h5py.Dataset):
        raise RasterioIOError(f"{name} is no variable")
    if variable.is_virtual or variable.external:
        raise ElsewhereError(f"{name} lies in other files")
    return variable


def _require_layout(classes: h5py.Dataset, latitudes: h5py.Dataset, longitudes: h5py.Dataset) -> None:
    if classes.ndim not in (2, 3) or classes.shape[-2:] != (latitudes.size, longitudes.size):
        raise RasterioIOError(f"{CLASSES} must have the dimensions (time,) lat, lon")
    for axis, coordinate in ((-2, latitudes), (-1, longitudes)):
        if not _is_of_dimension(coordinate, classes, classes.ndim + axis):
            raise RasterioIOError(f"{CLASSES} must have the dimensions (time,) lat, lon")
        if coordinate.ndim != 1 or coordinate.dtype.kind != "f":
            raise RasterioIOError("lat and lon must be lists of floating-point numbers")
        if not 2 <= coordinate.size <= _MOST_VALUES:
            raise RasterioIOError(f"lat and lon must have 2 to {_MOST_VALUES} values")
        if not _is_in_degrees(coordinate):
            raise RasterioIOError("lat and lon must be in degrees, without scale and offset")
    if classes.chunks is None:
        raise RasterioIOError(f"{CLASSES} must be stored in chunks, as ESA ships it")
    for variable in (classes, latitudes, longitudes):
        size = int(np.prod(variable.chunks or (0,), dtype=float)) * variable.dtype.itemsize
        if size > _MOST_CHUNK_BYTES:
            raise RasterioIOError(f"a chunk must have at most {_MOST_CHUNK_BYTES >> 20} MiB")


def _is_in_degrees(coordinate: h5py.Dataset) -> bool:
    unit = coordinate.attrs.get("units")
    return (
        _number(coordinate, "scale_factor", 1) == 1
        and _number(coordinate, "add_offset", 0) == 0
        and (unit is None or _text(unit).startswith("degree"))
    )


def _is_of_dimension(coordinate: h5py.Dataset, classes: h5py.Dataset, axis: int) -> bool:
    """Tells whether a coordinate notes that it is the one of a dimension of the classes.

    References lead to objects of the same file. `classes.dims` and the other note, DIMENSION_LIST, are not used: of
    variable length, they have HDF5 crash or hang on some damaged files.
    """
    noted = coordinate.attrs.get("REFERENCE_LIST")
    return noted is not None and any(
        dimension == axis and classes.file[reference] == classes for reference, dimension in noted.tolist()
    )


def _values(coordinate: h5py.Dataset) -> npt.NDArray[np.float64]:
    values: npt.NDArray[np.float64] = coordinate[...].astype(np.float64)
    return values


def _transform(latitudes: npt.NDArray[np.float64], longitudes: npt.NDArray[np.float64]) -> Affine:
    """Returns where the pixels lie, of their centres in degrees."""
    steps = []
    for values in (latitudes, longitudes):
        step = (values[-1] - values[0]) / (len(values) - 1)
        off = np.abs(values - (values[0] + step * np.arange(len(values))))
        if not np.isfinite(step) or not off.max() <= _STRAIGHT_PX * abs(step):
            raise RasterioIOError("lat and lon must have even steps")
        steps.append(step)
    down, right = steps
    if down > 0:
        raise AscendingError("its latitude ascends")
    return Affine(right, 0, longitudes[0] - right / 2, 0, down, latitudes[0] - down / 2)


def _number(variable: h5py.Dataset, attribute: str, default: float | None) -> float | None:
    value = variable.attrs.get(attribute)
    if np.iscomplexobj(value):
        raise RasterioIOError(f"{attribute} must be a real number")
    return default if value is None else float(np.asarray(value).reshape(-1)[0])


def _text(value: Any) -> str:
    value = _plain(value)
    return value if isinstance(value, str) else ""


def _plain(value: Any) -> Any:
    """Returns an attribute's value as Python has it."""
    value = value.item() if isinstance(value, np.generic | np.ndarray) and np.size(value) == 1 else value
    return value.decode(errors="replace") if isinstance(value, bytes) else value
