"""The two global rasters that cells are chosen by: what they must be, and reading their rows.

Paths are local ones or URLs that GDAL knows, such as gs://bucket/file.tif. A NetCDF must lie on this machine.
"""

import contextlib
import dataclasses
import functools
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj
from rasterio.enums import MaskFlags
from rasterio.errors import RasterioError, RasterioIOError
from rasterio.windows import Window

from beam_pipeline.maps.netcdf import AscendingError, ElsewhereError, NetcdfMap, is_netcdf
from beam_pipeline.maps.raster_grid import LAND_COVER, NIGHT_LIGHTS, Lattice, RasterWindow
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.gdal_drivers import gdal_options, rasterio
from beam_pipeline.runtime.raster_walls import NO_SIDECARS, named_elsewhere
from beam_pipeline.runtime.tiff_blocks import extent_of_block, places_of_blocks

Bools = npt.NDArray[np.bool_]

WATER = 210
"""Class of water bodies. Source: ESA Land Cover CCI Product User Guide v2.0, table 3-1."""

GDAL_OPTIONS = {
    **NO_SIDECARS,
    # In bytes, of the process. Every block is read once, so more would hold what nobody asks for again.
    "GDAL_CACHEMAX": 64 << 20,
    "GDAL_HTTP_MAX_RETRY": "5",
    "GDAL_HTTP_RETRY_DELAY": "1",
    "GDAL_HTTP_TIMEOUT": "60",
    "GDAL_HTTP_UNSAFESSL": "NO",
}

MAX_ROWS_BYTES = 1 << 30
"""The most that one row of blocks may take in memory."""

_STRIP_ROWS = 32
"""Of a raster without tall blocks: the kernel takes longer to give fresh memory for more than GDAL to decode it."""

_TOLERANCE_PX = 0.02
"""Pixels that a corner may be off its place: EOG rounds the pixel size to 10 decimals, 0.0007 px at the far end."""

_FLAG_AND_DTYPE = {NIGHT_LIGHTS: ("--night_lights", "float32"), LAND_COVER: ("--land_cover", "uint8")}

# Source: NIMA TR8350.2. NetCDFs and old GeoTIFFs name the ellipsoid, but not always the datum.
_WGS84_AXIS_M, _WGS84_INVERSE_FLATTENING = 6_378_137.0, 298.257223563


@dataclasses.dataclass(frozen=True)
class RasterFile:
    """A raster that was looked at and found fit.

    Attributes:
        path: Path or URL.
        window: What part of its lattice it holds.
        block_rows: Height of its blocks in pixels.
        block_columns: Their width.
        nodata: The value that means no data, if there is one that equals itself.
        has_mask: Whether it brings a mask of its own.
    """

    path: str
    window: RasterWindow
    block_rows: int
    block_columns: int
    nodata: float | None
    has_mask: bool

    def row_blocks(self, rows: int) -> list[range]:
        """Cuts the file into ranges of about `rows` rows along the edges of its blocks, from the north."""
        step = self.block_rows * max(1, rows // self.block_rows)
        return [range(row, min(row + step, self.window.rows)) for row in range(0, self.window.rows, step)]

    def strips(self, rows: range) -> list[range]:
        """Cuts some of its rows into what is best read at a time: few rows, but no block twice."""
        step = self.block_rows * max(1, _STRIP_ROWS // self.block_rows)
        return [range(row, min(row + step, rows.stop)) for row in range(rows.start, rows.stop, step)]


def inspect_night_lights(path: str) -> RasterFile:
    """Looks at the header of a VIIRS composite.

    Args:
        path: Path or URL of a GeoTIFF, the whole product or a window of it.

    Returns:
        The file.

    Raises:
        InvalidInputError: It cannot be opened, has another CRS, grid, dtype or layout, or, on this machine, is
            cut short.
    """
    return _inspect(path, NIGHT_LIGHTS)


def inspect_land_cover(path: str) -> RasterFile:
    """Looks at the header of a CCI land-cover map, GeoTIFF or NetCDF; see `inspect_night_lights`."""
    return _inspect(path, LAND_COVER)


@contextlib.contextmanager
def open_raster(file: RasterFile) -> Iterator[Any]:
    """Opens a raster for `read_rows`, and looks at it once more: it may lie where others change it.

    To be used within `gdal_options(**GDAL_OPTIONS)`.

    Args:
        file: What was found when it was looked at first.

    Yields:
        The open dataset.

    Raises:
        RasterioIOError: It cannot be opened, or is not what it was.
    """
    with _opened(file.path) as dataset:
        try:
            found = _checked(dataset, file.path, file.window.lattice)
        except InvalidInputError as error:
            raise RasterioIOError(f"{file.path} has changed since it was looked at: {error}") from error
        if found != file:
            names = [field.name for field in dataclasses.fields(file)]
            changed = [name for name in names if getattr(found, name) != getattr(file, name)]
            raise RasterioIOError(
                f"{file.path} has changed since it was looked at: it has another {' and another '.join(changed)}"
            )
        yield dataset


def _opened(path: str) -> Any:
    if is_netcdf(path):
        return NetcdfMap(path)
    # Absolute, because GDAL takes other names for more than paths: GTIFF_DIR:1:name.
    place = path if "://" in path else os.path.abspath(path)
    # No other driver: a VRT in a .tif would have GDAL open whatever it names.
    return rasterio.open(place, driver="GTiff")


def read_rows(dataset: Any, rows: range, columns: range | None = None) -> npt.NDArray[Any]:
    """Returns the pixels (len(rows), len(columns)) of an open raster; all columns by default.

    Raises:
        RasterioIOError: They cannot be read; names file and rows.
    """
    columns = range(dataset.width) if columns is None else columns
    window = Window(columns.start, rows.start, len(columns), len(rows))
    try:
        pixels: npt.NDArray[Any] = dataset.read(1, window=window)
    except RasterioError as error:
        # Its own message only points to its cause.
        raise RasterioIOError(
            f"Rows {rows.start} to {rows.stop - 1} of {dataset.name} cannot be read: {error.__cause__ or error}"
        ) from error
    return pixels


def lit_pixels(dataset: Any, file: RasterFile, rows: range) -> Bools:
    """Reads which pixels are lit: positive and finite, and neither no data nor masked.

    Args:
        dataset: The open file.
        file: What `inspect_night_lights` found.
        rows: The rows to read.

    Returns:
        (len(rows), W) bool.
    """
    lit = np.empty((len(rows), dataset.width), bool)
    for strip in file.strips(rows):
        _find_lit(dataset, file, strip, lit[strip.start - rows.start : strip.stop - rows.start])
    return lit


def _find_lit(dataset: Any, file: RasterFile, rows: range, lit: Bools) -> None:
    values = read_rows(dataset, rows)
    np.greater(values, 0, out=lit)  # False for NaN
    if not lit.any():
        return
    lit &= values < np.inf
    if file.nodata is not None and file.nodata > 0:
        lit &= values != values.dtype.type(file.nodata)
    if file.has_mask:
        lit &= dataset.read_masks(1, window=Window(0, rows.start, dataset.width, len(rows))) > 0


def require_lit(file: RasterFile, rows: int) -> None:
    """Makes sure that a composite has a lit pixel; it reads no further than the first that it finds.

    Args:
        file: The composite.
        rows: How many rows are read at a time.

    Raises:
        InvalidInputError: The whole file has none, or it cannot be read.
    """

    def found(dataset: Any, block: range) -> bool:
        return any(bool(lit_pixels(dataset, file, strip).any()) for strip in file.strips(block))

    if not _anywhere(file, rows, found, "--night_lights"):
        raise InvalidInputError(
            f"--night_lights must have positive radiances; none of all {file.window.rows} rows has one. "
            f"Received: {file.path}"
        )


def require_water(file: RasterFile, rows: int) -> None:
    """Makes sure that a land-cover map has water; see `require_lit`."""

    def found(dataset: Any, block: range) -> bool:
        return any(bool((read_rows(dataset, strip) == WATER).any()) for strip in file.strips(block))

    if not _anywhere(file, rows, found, "--land_cover"):
        raise InvalidInputError(
            f"--land_cover must have the class {WATER}, water; no pixel of it has. Is it a CCI land-cover map, "
            f"with some sea or lake? Received: {file.path}"
        )


def _anywhere(file: RasterFile, rows: int, found: Callable[[Any, range], bool], flag: str) -> bool:
    try:
        with gdal_options(**GDAL_OPTIONS), open_raster(file) as dataset:
            return any(found(dataset, block) for block in _spread(file.row_blocks(rows)))
    except RasterioError as error:
        raise InvalidInputError(f"{flag} cannot be read: {error}. Received: {file.path}") from error


def _spread(blocks: list[range]) -> Iterator[range]:
    """Yields blocks from a third of the way on, where the whole products have both light and water."""
    start = len(blocks) // 3
    yield from blocks[start:]
    yield from blocks[:start]


def _inspect(path: str, lattice: Lattice) -> RasterFile:
    flag, _ = _FLAG_AND_DTYPE[lattice]
    try:
        with gdal_options(**GDAL_OPTIONS), _opened(path) as dataset:
            file = _checked(dataset, path, lattice)
            if not is_netcdf(path) and os.path.isfile(path):
                _require_whole(dataset, path, flag)
            return file
    except ElsewhereError as error:
        raise _refusal(flag, path, "file that it refers to", "all in the file itself", error) from error
    except AscendingError as error:
        remedy = "`ncpdq -a -lat IN.nc OUT.nc` turns it"
        wanted = f"`lat` from north to south, as ESA ships it ({remedy})"
        raise _refusal(flag, path, "order of rows", wanted, "another") from error
    except RasterioError as error:
        raise InvalidInputError(f"{flag} cannot be opened: {error}. Received: {path}") from error


def _refusal(flag: str, path: str, what: str, wanted: Any, received: Any) -> InvalidInputError:
    return InvalidInputError(f"{flag}: {path} has another {what}. Expected: {wanted}. Received: {received}")


def _require_whole(dataset: Any, path: str, flag: str) -> None:
    """Refuses a GeoTIFF that ends before its blocks do, as a download that broke off leaves it."""
    ends = (extent_of_block(dataset, row, column)[1] for row, column in places_of_blocks(dataset))
    size, needed = os.path.getsize(path), max(ends)
    if size < needed:
        raise InvalidInputError(
            f"{flag}: {path} is cut short: it holds {size} bytes of {needed} or more. Download it again"
        )


def _checked(dataset: Any, path: str, lattice: Lattice) -> RasterFile:
    flag, dtype = _FLAG_AND_DTYPE[lattice]
    refuse = functools.partial(_refusal, flag, path)
    if elsewhere := named_elsewhere(dataset):
        raise refuse("file that it refers to", "all in the file itself", elsewhere)
    # A NetCDF's coordinates are named; ESA's `crs` variable is none that GDAL understands.
    if not (_is_wgs84(dataset.crs) or (is_netcdf(path) and dataset.crs is None)):
        raise refuse("CRS", "longitude and latitude on WGS84 (EPSG:4326)", dataset.crs or "none")
    if dataset.count != 1:
        raise refuse("number of bands", 1, dataset.count)
    if dataset.dtypes[0] != dtype:
        raise refuse("dtype", dtype, dataset.dtypes[0])
    if (dataset.scales, dataset.offsets) != ((1,), (0,)):
        raise refuse("scale or offset", "1 and 0", f"{dataset.scales[0]:g} and {dataset.offsets[0]:g}")
    if lattice == LAND_COVER:
        _require_all_classes(dataset, refuse)
    window = _window(dataset, lattice)
    if window is None:
        received = f"{dataset.width} x {dataset.height} px, transform {tuple(dataset.transform)[:6]}"
        wanted = f"the grid of {lattice.name} ({lattice.columns} x {lattice.rows} px), or a window of it"
        raise refuse("grid", wanted, received)
    block_rows, block_columns = dataset.block_shapes[0]
    size = block_rows * dataset.width * np.dtype(dtype).itemsize
    if size > MAX_ROWS_BYTES:
        raise InvalidInputError(
            f"{flag}: {path} has blocks of {block_rows} rows, of which one row of blocks takes "
            f"{size >> 20} MiB. Write it anew: gdal_translate -co TILED=YES -co COMPRESS=DEFLATE IN OUT"
        )
    has_mask = MaskFlags.per_dataset in dataset.mask_flag_enums[0]
    # Where it is NaN, it needs no comparison: NaN is never lit.
    nodata = None if dataset.nodata is None or np.isnan(dataset.nodata) else dataset.nodata
    return RasterFile(path, window, block_rows, block_columns, nodata, has_mask)


def _require_all_classes(dataset: Any, refuse: Callable[[str, Any, Any], InvalidInputError]) -> None:
    """Refuses a map of which a mask or no data would hide more than class 0."""
    if dataset.nodata not in (None, 0):
        raise refuse("value of no data", "0 or none", f"{dataset.nodata:g}")
    if MaskFlags.per_dataset in dataset.mask_flag_enums[0]:
        raise refuse("mask", "none", "a mask in the file")


def _is_wgs84(crs: Any) -> bool:
    if crs is None:
        return False
    found = pyproj.CRS.from_user_input(crs.to_wkt())
    ellipsoid, meridian = found.ellipsoid, found.prime_meridian
    return (
        found.is_geographic
        and ellipsoid is not None
        and abs(ellipsoid.semi_major_metre - _WGS84_AXIS_M) < 1e-3
        and abs(ellipsoid.inverse_flattening - _WGS84_INVERSE_FLATTENING) < 1e-6
        and (meridian is None or meridian.longitude == 0)
    )


def _window(dataset: Any, lattice: Lattice) -> RasterWindow | None:
    """Returns where a raster lies on a lattice, or None where a corner of it is not a corner of a pixel."""
    transform = dataset.transform
    if transform.b or transform.d:
        return None
    scale = lattice.pixels_per_degree
    west, north = transform.c, transform.f
    east, south = west + transform.a * dataset.width, north + transform.e * dataset.height
    columns = (np.array([west, east]) + 180) * scale - lattice.left / 2
    rows = lattice.top / 2 - np.array([north, south]) * scale
    column, row = round(columns[0]), round(rows[0])
    off = max(
        *np.abs(columns - [column, column + dataset.width]), *np.abs(rows - [row, row + dataset.height])
    )
    inside = 0 <= column <= lattice.columns - dataset.width and 0 <= row <= lattice.rows - dataset.height
    if not inside or off > _TOLERANCE_PX:
        return None
    return RasterWindow(lattice, column, row, dataset.width, dataset.height)
