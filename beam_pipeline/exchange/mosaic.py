"""Mosaics for viewers: GDAL's virtual rasters of the chips of a tile, and of the tiles of a UTM zone.

A mosaic opens the files below it only where it is drawn. A zone's mosaic names tiles and not chips, so it stays small.
Source: https://gdal.org/en/stable/drivers/raster/vrt.html
"""

import dataclasses
import functools
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from xml.sax.saxutils import escape

import pyproj

from beam_pipeline.exchange.class_names import add_names
from beam_pipeline.exchange.label_classes import LabelChannel, LabelClass
from beam_pipeline.exchange.sentinel2 import BANDS
from beam_pipeline.imagery.image import BANDS_10
from beam_pipeline.labels.label_image import PIXEL_M
from beam_pipeline.records.schema import REFLECTANCE_SCALE, UNLABELED

_VRT_BLOCK = 128  # of every mosaic

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
    pieces = [
        f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}"><SRS>{escape(_wkt(epsg))}</SRS>'
        f"<GeoTransform>{left}, {PIXEL_M}, 0, {top}, 0, -{PIXEL_M}</GeoTransform>"
    ]
    for number in range(1, len(kind.bands) + 1):
        pieces.append(_band_head(kind, number))
        pieces += [_source(kind, number, source, whole, of_chips) for source in sources]
        pieces.append(_BAND_END)
    return "".join([*pieces, "</VRTDataset>"]).encode()


_BAND_END = "</VRTRasterBand>"


@functools.lru_cache(maxsize=128)
def _wkt(epsg: int) -> str:
    return pyproj.CRS(epsg).to_wkt("WKT1_GDAL")


@functools.lru_cache(maxsize=128)
def _band_head(kind: MosaicKind, number: int) -> str:
    """Returns a band up to its sources; with 256 colours it is most of a small mosaic, and always the same."""
    name = kind.bands[number - 1]
    band = ET.Element("VRTRasterBand", dataType=kind.dtype, band=str(number))
    ET.SubElement(band, "Description").text = name
    ET.SubElement(band, "NoDataValue").text = f"{kind.nodata:g}"
    ET.SubElement(band, "ColorInterp").text = "Palette" if kind.classes else _interpretation(name)
    if kind.classes:
        _add_colours(band, kind.classes)
        add_names(band, kind.classes)
    return ET.tostring(band, encoding="unicode").removesuffix(_BAND_END)


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


def _source(kind: MosaicKind, number: int, source: Source, whole: Bounds, of_chip: bool) -> str:
    width, height = _size(source.bounds)
    x, y = (source.bounds[0] - whole[0]) // PIXEL_M, (whole[3] - source.bounds[3]) // PIXEL_M
    block = (width, height) if of_chip else (_VRT_BLOCK, _VRT_BLOCK)
    scaled = ""
    if source.offset is not None:
        scale = 1 / REFLECTANCE_SCALE
        scaled = f"<ScaleOffset>{source.offset!r}</ScaleOffset><ScaleRatio>{scale!r}</ScaleRatio>"
    # With its properties a file is not opened before it is drawn.
    return (
        f'<ComplexSource><SourceFilename relativeToVRT="1">{escape(source.path)}</SourceFilename>'
        f"<SourceBand>{number}</SourceBand>"
        f'<SourceProperties RasterXSize="{width}" RasterYSize="{height}" '
        f'DataType="{kind.chip_dtype if of_chip else kind.dtype}" BlockXSize="{block[0]}" BlockYSize="{block[1]}"/>'
        f'<SrcRect xOff="0" yOff="0" xSize="{width}" ySize="{height}"/>'
        f'<DstRect xOff="{x}" yOff="{y}" xSize="{width}" ySize="{height}"/>{scaled}'
        f"<NODATA>{kind.chip_nodata if of_chip else kind.nodata:g}</NODATA></ComplexSource>"
    )
