"""Mosaics for viewers: GDAL's virtual rasters of the chips of a tile, and of the tiles of a UTM zone.

A mosaic opens the files below it only where it is drawn. A zone's mosaic names tiles and not chips, so it stays small.
Source: https://gdal.org/en/stable/drivers/raster/vrt.html
"""

import dataclasses
import xml.etree.ElementTree as ET
from collections.abc import Sequence

import pyproj

from beam_pipeline.exchange.class_names import add_names
from beam_pipeline.exchange.label_classes import LabelChannel, LabelClass
from beam_pipeline.exchange.sentinel2 import BANDS
from beam_pipeline.imagery.image import BANDS_10
from beam_pipeline.labels.label_image import PIXEL_M
from beam_pipeline.records.schema import REFLECTANCE_SCALE, UNLABELED

NO_REFLECTANCE = -9999.0
"""No data of a mosaic of reflectance."""

Bounds = tuple[int, int, int, int]
"""(left, bottom, right, top) in metres of a UTM zone; multiples of 10."""


@dataclasses.dataclass(frozen=True)
class MosaicKind:
    """A kind of mosaic: the bands of a file that every chip has.

    Attributes:
        bands: Names of the bands.
        dtype: As VRT names it.
        nodata: Of all bands.
        chip_nodata: Of the bands of chips.
        chip_dtype: Of the chips.
        classes: Names and colours of the values; none of reflectance.
    """

    bands: tuple[str, ...]
    dtype: str
    nodata: float
    chip_nodata: float
    chip_dtype: str
    classes: tuple[LabelClass, ...] = ()


REFLECTANCE = MosaicKind(BANDS_10, "Float32", NO_REFLECTANCE, 0, "UInt16")
"""Reflectance of the bands at 10 m: images of different offsets look alike."""


def label_kind(channel: LabelChannel) -> MosaicKind:
    """Returns the kind of the mosaics of a label channel."""
    return MosaicKind((channel.name,), "Byte", UNLABELED, UNLABELED, "Byte", channel.classes)


@dataclasses.dataclass(frozen=True)
class Source:
    """A file of a mosaic.

    Attributes:
        path: Relative to the mosaic.
        bounds: What it covers.
        offset: What is added to its reflectance; None where its values are taken as they are.
    """

    path: str
    bounds: Bounds
    offset: float | None = None


def union(bounds: Sequence[Bounds]) -> Bounds:
    """Returns the bounds of all."""
    lefts, bottoms, rights, tops = zip(*bounds, strict=True)
    return min(lefts), min(bottoms), max(rights), max(tops)


def mosaic_vrt(kind: MosaicKind, epsg: int, sources: Sequence[Source], *, of_chips: bool) -> bytes:
    """Returns a mosaic at 10 m; where files overlap, the later one lies above.

    Args:
        kind: What it shows.
        epsg: Of the UTM zone.
        sources: Its files; at least one.
        of_chips: Whether they are chips; else they are mosaics of the same kind.
    """
    whole = union([source.bounds for source in sources])
    left, _, _, top = whole
    width, height = _size(whole)
    root = ET.Element("VRTDataset", rasterXSize=str(width), rasterYSize=str(height))
    ET.SubElement(root, "SRS").text = pyproj.CRS(epsg).to_wkt("WKT1_GDAL")
    ET.SubElement(root, "GeoTransform").text = f"{left}, {PIXEL_M}, 0, {top}, 0, -{PIXEL_M}"
    for number, name in enumerate(kind.bands, 1):
        band = ET.SubElement(root, "VRTRasterBand", dataType=kind.dtype, band=str(number))
        ET.SubElement(band, "Description").text = name
        ET.SubElement(band, "NoDataValue").text = f"{kind.nodata:g}"
        ET.SubElement(band, "ColorInterp").text = "Palette" if kind.classes else _interpretation(name)
        if kind.classes:
            _add_colours(band, kind.classes)
            add_names(band, kind.classes)
        for source in sources:
            _add_source(band, kind, number, source, whole, of_chips)
    return ET.tostring(root)


def _size(bounds: Bounds) -> tuple[int, int]:
    left, bottom, right, top = bounds
    return (right - left) // PIXEL_M, (top - bottom) // PIXEL_M


def _interpretation(band: str) -> str:
    name = BANDS[band].common_name
    return name.capitalize() if name in ("red", "green", "blue") else "Undefined"


def _add_colours(band: ET.Element, classes: Sequence[LabelClass]) -> None:
    of_value = {it.value: it.colour for it in classes}
    table = ET.SubElement(band, "ColorTable")
    for value in range(max(of_value) + 1):
        red, green, blue = of_value.get(value, (0, 0, 0))
        ET.SubElement(table, "Entry", c1=str(red), c2=str(green), c3=str(blue), c4="255")


def _add_source(
    band: ET.Element, kind: MosaicKind, number: int, source: Source, whole: Bounds, of_chip: bool
) -> None:
    width, height = (str(side) for side in _size(source.bounds))
    there = ET.SubElement(band, "ComplexSource")
    ET.SubElement(there, "SourceFilename", relativeToVRT="1").text = source.path
    ET.SubElement(there, "SourceBand").text = str(number)
    # With its properties a file is not opened before it is drawn.
    block = (width, height) if of_chip else ("128", "128")
    ET.SubElement(
        there,
        "SourceProperties",
        RasterXSize=width,
        RasterYSize=height,
        DataType=kind.chip_dtype if of_chip else kind.dtype,
        BlockXSize=block[0],
        BlockYSize=block[1],
    )
    ET.SubElement(there, "SrcRect", xOff="0", yOff="0", xSize=width, ySize=height)
    x, y = ((source.bounds[0] - whole[0]) // PIXEL_M, (whole[3] - source.bounds[3]) // PIXEL_M)
    ET.SubElement(there, "DstRect", xOff=str(x), yOff=str(y), xSize=width, ySize=height)
    if source.offset is not None:
        ET.SubElement(there, "ScaleOffset").text = repr(source.offset)
        ET.SubElement(there, "ScaleRatio").text = repr(1 / REFLECTANCE_SCALE)
    ET.SubElement(there, "NODATA").text = f"{kind.chip_nodata if of_chip else kind.nodata:g}"
