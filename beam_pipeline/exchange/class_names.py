"""The names of classes beside a GeoTIFF, as GDAL and QGIS read them: GeoTIFF has a place for colours only.

Source: https://gdal.org/en/stable/development/rfc/rfc_pam.html (not of GeoTIFF alone); the elements are those of a VRT.
"""

import functools
import xml.etree.ElementTree as ET
from collections.abc import Sequence

from beam_pipeline.exchange.label_classes import LabelClass

SUFFIX = ".aux.xml"
"""Behind the whole name of the GeoTIFF."""

_INTEGER, _STRING = "0", "2"
_NAME, _VALUE, _RED, _GREEN, _BLUE = "2", "5", "6", "7", "8"
_COLUMNS = (
    ("Value", _INTEGER, _VALUE),
    ("Class", _STRING, _NAME),
    ("Red", _INTEGER, _RED),
    ("Green", _INTEGER, _GREEN),
    ("Blue", _INTEGER, _BLUE),
)
"""(name, type, usage) of the attribute table's columns, as GDAL numbers types and usages."""


@functools.lru_cache(maxsize=16)
def names_xml(classes: tuple[LabelClass, ...]) -> bytes:
    """Returns the file that gives names to the values of a GeoTIFF's only band.

    Args:
        classes: Its values.
    """
    root = ET.Element("PAMDataset")
    band = ET.SubElement(root, "PAMRasterBand", band="1")
    add_names(band, classes)
    band.append(_attribute_table(classes))
    return ET.tostring(root)


def add_names(band: ET.Element, classes: Sequence[LabelClass]) -> None:
    """Adds the names of values to a band, as both this file and a VRT hold them.

    Args:
        band: The band's element.
        classes: Its values; those between have empty names.
    """
    of_value = {it.value: it.name for it in classes}
    names = ET.SubElement(band, "CategoryNames")
    for value in range(max(of_value) + 1):
        ET.SubElement(names, "Category").text = of_value.get(value)


def _attribute_table(classes: Sequence[LabelClass]) -> ET.Element:
    table = ET.Element("GDALRasterAttributeTable", tableType="thematic")
    for index, (name, kind, usage) in enumerate(_COLUMNS):
        column = ET.SubElement(table, "FieldDefn", index=str(index))
        for tag, text in (("Name", name), ("Type", kind), ("Usage", usage)):
            ET.SubElement(column, tag).text = text
    for index, it in enumerate(classes):
        row = ET.SubElement(table, "Row", index=str(index))
        for value in (it.value, it.name, *it.colour):
            ET.SubElement(row, "F").text = str(value)
    return table
