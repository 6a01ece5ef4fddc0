"""A project that opens an export in QGIS: the cells, and the mosaics of each UTM zone, in groups.

Source: what QGIS 3.22 writes itself; later ones read it.
"""

import dataclasses
import functools
import io
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Iterable, Sequence

import pyproj

from beam_pipeline.exchange.qgis_style import QGIS_VERSION

PROJECT_FILE = "opensentinelmap.qgz"

MOSAIC_SCALE = 500_000
"""Mosaics are drawn from 1:500,000 on: farther off, a screen would ask for thousands of files."""

_WEB_MERCATOR, _WGS84 = "EPSG:3857", "EPSG:4326"
_IN_ARCHIVE = "opensentinelmap.qgs"
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclasses.dataclass(frozen=True)
class Layer:
    """A layer of a project.

    Attributes:
        id: No other layer has it; QGIS makes one of its own for less than 11 characters.
        name: For people.
        group: The group that it lies in; "" outside of groups.
        source: Relative to the project, as the provider takes it.
        crs: E.g. "EPSG:32605".
        style: Its elements of style.
        raster: Whether it is a raster, else polygons.
        shown: Whether it is drawn from the beginning.
    """

    id: str
    name: str
    group: str
    source: str
    crs: str
    style: Sequence[ET.Element]
    raster: bool = True
    shown: bool = True


def project_qgz(title: str, layers: Sequence[Layer], extent: tuple[float, float, float, float]) -> bytes:
    """Returns a project; equal layers give equal bytes.

    Args:
        title: Of the window.
        layers: The layers, the uppermost first.
        extent: West, south, east and north of what it shows at first, in metres of Web Mercator.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        entry = zipfile.ZipInfo(_IN_ARCHIVE, _EPOCH)
        entry.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(entry, _project(title, layers, extent))
    return buffer.getvalue()


def _project(title: str, layers: Sequence[Layer], extent: tuple[float, float, float, float]) -> bytes:
    root = ET.Element("qgis", version=QGIS_VERSION, projectname=title)
    ET.SubElement(root, "title").text = title
    root.append(_crs("projectCrs", _WEB_MERCATOR))
    root.append(_tree(layers))
    canvas = ET.SubElement(root, "mapcanvas", name="theMapCanvas", annotationsVisible="1")
    ET.SubElement(canvas, "units").text = "meters"
    _add_extent(canvas, extent)
    canvas.append(_crs("destinationsrs", _WEB_MERCATOR))
    order = ET.SubElement(root, "layerorder")
    there = ET.SubElement(root, "projectlayers")
    for layer in layers:
        ET.SubElement(order, "layer", id=layer.id)
        there.append(_layer(layer))
    properties = ET.SubElement(root, "properties")
    ET.SubElement(ET.SubElement(properties, "Paths"), "Absolute", type="bool").text = "false"
    # Without it the project's CRS is passed over.
    system = ET.SubElement(properties, "SpatialRefSys")
    ET.SubElement(system, "ProjectionsEnabled", type="int").text = "1"
    return b"<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n" + ET.tostring(root)


def _tree(layers: Iterable[Layer]) -> ET.Element:
    tree = ET.Element("layer-tree-group")
    groups: dict[str, ET.Element] = {"": tree}
    for layer in layers:
        if layer.group not in groups:
            groups[layer.group] = ET.SubElement(
                tree, "layer-tree-group", name=layer.group, checked=_box(layer.shown), expanded="0"
            )
        ET.SubElement(
            groups[layer.group],
            "layer-tree-layer",
            id=layer.id,
            name=layer.name,
            source=layer.source,
            providerKey=_provider(layer),
            checked=_box(layer.shown),
            expanded="0",
        )
    return tree


def _layer(layer: Layer) -> ET.Element:
    kind = (
        {
            "type": "raster",
            "hasScaleBasedVisibilityFlag": "1",
            "minScale": str(MOSAIC_SCALE),
            "maxScale": "0",
        }
        if layer.raster
        else {"type": "vector", "geometry": "Polygon", "wkbType": "Polygon"}
    )
    element = ET.Element("maplayer", kind)
    ET.SubElement(element, "id").text = layer.id
    ET.SubElement(element, "datasource").text = layer.source
    ET.SubElement(element, "layername").text = layer.name
    element.append(_crs("srs", layer.crs))
    ET.SubElement(element, "provider", encoding="UTF-8").text = _provider(layer)
    element.extend(layer.style)
    return element


def _crs(tag: str, code: str) -> ET.Element:
    element = ET.Element(tag)
    system = ET.SubElement(element, "spatialrefsys")
    ET.SubElement(system, "wkt").text = _wkt(code)  # without it the code is passed over
    ET.SubElement(system, "authid").text = code
    return element


@functools.lru_cache(maxsize=128)
def _wkt(code: str) -> str:
    return pyproj.CRS(code).to_wkt()


def _add_extent(canvas: ET.Element, extent: tuple[float, float, float, float]) -> None:
    there = ET.SubElement(canvas, "extent")
    for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), extent, strict=True):
        ET.SubElement(there, tag).text = repr(value)


def _provider(layer: Layer) -> str:
    return "gdal" if layer.raster else "ogr"


def _box(shown: bool) -> str:
    return "Qt::Checked" if shown else "Qt::Unchecked"
