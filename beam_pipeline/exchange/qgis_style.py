"""Styles of an export's layers in QGIS: the same elements stand in a project and in `.qml` files.

Source: what QGIS 3.22 writes itself; later ones read it.
"""

import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence, Set

from beam_pipeline.exchange.label_classes import LabelClass
from beam_pipeline.imagery.image import BANDS_10
from beam_pipeline.report.colours import BRIGHTEST, SPLIT_COLOURS

QGIS_VERSION = "3.22.0"


_GAMMA = "1.6"


def style_file(elements: Sequence[ET.Element]) -> bytes:
    """Returns a `.qml` file of what a layer's element holds of style."""
    root = ET.Element("qgis", version=QGIS_VERSION, styleCategories="Symbology")
    root.extend(elements)
    return b"<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n" + ET.tostring(root)


def class_style(classes: Sequence[LabelClass], transparent: Set[int]) -> list[ET.Element]:
    """Returns the style of a raster of classes.

    Args:
        classes: Its values.
        transparent: The values through which one sees what lies below.
    """
    renderer = ET.Element("rasterrenderer", type="paletted", band="1", opacity="1", alphaBand="-1")
    palette = ET.SubElement(renderer, "colorPalette")
    for it in classes:
        ET.SubElement(
            palette,
            "paletteEntry",
            value=str(it.value),
            color="#{:02x}{:02x}{:02x}".format(*it.colour),
            label=it.name,
            alpha="0" if it.value in transparent else "255",
        )
    return [_pipe(renderer)]


def true_colour_style() -> list[ET.Element]:
    """Returns the style of reflectance at 10 m: true colour, as previews have it."""
    places = {
        f"{colour}Band": str(BANDS_10.index(band) + 1)
        for colour, band in (("red", "B04"), ("green", "B03"), ("blue", "B02"))
    }
    renderer = ET.Element("rasterrenderer", type="multibandcolor", opacity="1", alphaBand="-1")
    renderer.attrib.update(places)
    for colour in ("red", "green", "blue"):
        stretch = ET.SubElement(renderer, f"{colour}ContrastEnhancement")
        for tag, text in (
            ("minValue", "0"),
            ("maxValue", str(BRIGHTEST)),
            ("algorithm", "StretchToMinimumMaximum"),
        ):
            ET.SubElement(stretch, tag).text = text
    return [_pipe(renderer, gamma=_GAMMA)]


def cells_style() -> list[ET.Element]:
    """Returns the style of the table of cells: squares in the colour of their split."""
    renderer = ET.Element(
        "renderer-v2", type="categorizedSymbol", attr="split", symbollevels="0", enableorderby="0"
    )
    categories = ET.SubElement(renderer, "categories")
    symbols = ET.SubElement(renderer, "symbols")
    for number, (split, colour) in enumerate(SPLIT_COLOURS.items()):
        rgba = ",".join(map(str, [*bytes.fromhex(colour[1:]), 255]))
        ET.SubElement(
            categories, "category", value=split, label=split, symbol=str(number), render="true", type="string"
        )
        symbol = ET.SubElement(symbols, "symbol", type="fill", name=str(number), alpha="1")
        layer = ET.SubElement(symbol, "layer", {"class": "SimpleFill"}, enabled="1", locked="0")
        _add_options(
            layer,
            {
                "color": rgba,
                "style": "no",  # outlines alone leave the colours below as they are
                "outline_color": rgba,
                "outline_style": "solid",
                "outline_width": "0.4",
                "outline_width_unit": "MM",
            },
        )
    return [renderer]


def _add_options(layer: ET.Element, options: Mapping[str, str]) -> None:
    held = ET.SubElement(layer, "Option", type="Map")
    for name, value in options.items():
        ET.SubElement(held, "Option", name=name, value=value, type="QString")


def _pipe(renderer: ET.Element, gamma: str = "1") -> ET.Element:
    pipe = ET.Element("pipe")
    pipe.append(renderer)
    ET.SubElement(pipe, "brightnesscontrast", brightness="0", contrast="0", gamma=gamma)
    return pipe
