"""A cell-year's labels and images as cloud-optimised GeoTIFFs, one file a label channel and a grid of an image.

A file holds one block, and no overviews: a cloud-optimised GeoTIFF has them from 512 pixels a side on, a chip has 192.
Write many files in one context of `gdal_options`: each would else make its own.
Source: https://docs.ogc.org/is/21-026/21-026.html
"""

import datetime
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.enums import ColorInterp

from beam_pipeline.cells.cell import CHIP_SIZE_M, ChipWindow
from beam_pipeline.exchange.label_classes import LabelChannel, LabelClass
from beam_pipeline.exchange.sentinel2 import BANDS, SCENE_CLASSES
from beam_pipeline.imagery.image import Image
from beam_pipeline.labels.attribution import OSM_ATTRIBUTION
from beam_pipeline.records.example import CellYear
from beam_pipeline.records.schema import GRID_BANDS, REFLECTANCE_SCALE, UNLABELED
from beam_pipeline.runtime.gdal_drivers import rasterio

GRIDS = tuple(GRID_BANDS)
"""The grids of an image that hold reflectance: "gsd_10", "gsd_20" and "gsd_60"."""

SCL_GSD = 20
"""Ground sample distance of the scene classification in metres."""

NO_DN = 0
"""No data of an image. A pixel is so only where every band is 0, which nodata, being of one band, cannot say."""

_COLOURS = {"red": ColorInterp.red, "green": ColorInterp.green, "blue": ColorInterp.blue}
_CREDIT = "TIFFTAG_COPYRIGHT"
_WHEN = "TIFFTAG_DATETIME"

Tags = Mapping[str, str | int | float]


def label_tiff(cell_year: CellYear, channel: LabelChannel) -> bytes:
    """Returns a channel of a label image as a GeoTIFF with colours; 255, unlabelled, is its nodata.

    The names of its categories, for which GeoTIFF has no place, are in `class_names.names_xml`.

    Args:
        cell_year: The cell-year, with exact bounds.
        channel: The channel.
    """
    pixels = cell_year.label[np.newaxis, :, :, channel.index]
    tags = {**_cell_tags(cell_year), _CREDIT: OSM_ATTRIBUTION}
    return _tiff(pixels, cell_year.cell.chip, UNLABELED, (channel.name,), tags=tags, classes=channel.classes)


def image_tiff(cell_year: CellYear, slot: int, grid: str) -> bytes:
    """Returns the bands of one grid of an image as a GeoTIFF: DN, with the scale and offset of reflectance.

    Args:
        cell_year: The cell-year, with exact bounds.
        slot: The image's place.
        grid: One of `GRIDS`.
    """
    image = cell_year.images[slot]
    pixels = np.moveaxis(getattr(image, grid), -1, 0)
    return _tiff(
        pixels,
        cell_year.cell.chip,
        NO_DN,
        GRID_BANDS[grid],
        tags={**_cell_tags(cell_year), **_image_tags(image)},
        offset=image.boa_add_offset / REFLECTANCE_SCALE,
    )


def scl_tiff(cell_year: CellYear, slot: int) -> bytes:
    """Returns the scene classification of an image as a GeoTIFF with colours.

    Args:
        cell_year: The cell-year, with exact bounds.
        slot: The image's place.
    """
    image = cell_year.images[slot]
    tags = {**_cell_tags(cell_year), **_image_tags(image)}
    chip = cell_year.cell.chip
    return _tiff(image.scl[np.newaxis], chip, NO_DN, ("SCL",), tags=tags, classes=SCENE_CLASSES)


def sensing_time(image: Image) -> datetime.datetime | None:
    """Returns when an image was taken, in UTC; None where it does not say."""
    try:
        when = datetime.datetime.fromisoformat(image.datetime)
        return when.replace(tzinfo=when.tzinfo or datetime.UTC).astimezone(datetime.UTC)
    except (ValueError, OverflowError):  # the latter where a zone leads out of the years 1 to 9999
        return None


def _tiff(
    pixels: npt.NDArray[Any],
    chip: ChipWindow,
    nodata: int,
    bands: Sequence[str],
    *,
    tags: Tags,
    offset: float | None = None,
    classes: Sequence[LabelClass] = (),
) -> bytes:
    """Writes (bands, side, side) pixels; DN have an offset, classes have colours."""
    side = pixels.shape[-1]
    profile = {
        "driver": "GTiff",  # with one block it lays out what the driver "COG" does, in half the time
        "width": side,
        "height": side,
        "count": len(pixels),
        "dtype": pixels.dtype,
        "nodata": nodata,
        "crs": _crs(chip.epsg),
        "transform": rasterio.transform.from_origin(
            chip.left, chip.top, CHIP_SIZE_M / side, CHIP_SIZE_M / side
        ),
        "tiled": True,
        "blockxsize": side,
        "blockysize": side,
        "interleave": "pixel",
        "compress": "deflate",
        **({} if classes else {"predictor": 2, "zlevel": 1}),  # level 6 makes noise larger, and takes longer
    }
    with rasterio.MemoryFile() as memory:
        with memory.open(**profile) as file:
            file.descriptions = tuple(bands)
            if offset is not None:
                file.scales = (1 / REFLECTANCE_SCALE,) * len(pixels)
                file.offsets = (offset,) * len(pixels)
                file.colorinterp = [_COLOURS.get(BANDS[band].common_name, ColorInterp.gray) for band in bands]
                for number, band in enumerate(bands, 1):
                    file.update_tags(number, **_band_tags(band))
            if classes:
                file.write_colormap(1, {each.value: each.colour for each in classes})
            file.update_tags(**tags)
            file.write(np.ascontiguousarray(pixels))  # last, so that all else lies before it in the file
        return bytes(memory.getbuffer())


@functools.lru_cache(maxsize=128)
def _crs(epsg: int) -> Any:
    return rasterio.crs.CRS.from_epsg(epsg)


def _band_tags(band: str) -> Tags:
    known = BANDS[band]
    return {"common_name": known.common_name, "center_wavelength_um": known.center_um}


def _cell_tags(cell_year: CellYear) -> Tags:
    cell = cell_year.cell
    return {"cell_id": cell.cell_id, "year": cell_year.year, "tile": cell.tile, "split": cell.split}


def _image_tags(image: Image) -> Tags:
    when = sensing_time(image)
    tags: dict[str, str | int | float] = {
        "item_id": image.item_id,
        "datetime": image.datetime,
        "platform": image.platform,
        "baseline": image.baseline,
        "boa_add_offset": image.boa_add_offset,
        "boa_decision": image.boa_decision,
        "bad_fraction": image.bad_percent,
        _CREDIT: f"Contains modified Copernicus Sentinel data {image.datetime[:4]}".strip(),
    }
    if when is not None:
        tags[_WHEN] = f"{when:%Y:%m:%d %H:%M:%S}"
    return tags


def sides() -> Iterator[tuple[str, int]]:
    """Yields each grid of an image with the ground sample distance of its pixels in metres."""
    yield from ((grid, int(grid.removeprefix("gsd_"))) for grid in GRIDS)
