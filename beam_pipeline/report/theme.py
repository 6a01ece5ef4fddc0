"""The look of a report's figures: one drawing, as a PNG on white and as SVG whose colours follow the page's scheme."""

import contextlib
import io
import re
import warnings
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree as ET

import matplotlib
from matplotlib import style
from matplotlib.figure import Figure as Drawing

INK, MUTED, GRID, COAST = "#1b1f24", "#57606b", "#dfe3e8", "#9aa3ad"
ACCENT, SECOND, THIRD = "#2f6fb6", "#b8690a", "#a03c8c"
FAINT = "#c3cad2"
SPLIT_COLOURS = {"training": "#3d7cc8", "validation": "#c47a10", "testing": "#b5449a"}
"""Seen on white and on the dark page alike, and by the colour-blind: they are drawn on maps, which are pixels."""

SCHEMES = {
    INK: ("ink", "#e7eaee"),
    MUTED: ("muted", "#a7b0ba"),
    GRID: ("grid", "#30363d"),
    COAST: ("coast", "#66707b"),
    ACCENT: ("accent", "#6ba6e8"),
    SECOND: ("second", "#e59a3c"),
    THIRD: ("third", "#d98bc8"),
    FAINT: ("faint", "#454d56"),
}
"""By the colour in which a figure is drawn and which the light page shows: its CSS variable, and the dark page's."""

WIDTH_IN = 9.0
_DPI = 144
_SVG = "{http://www.w3.org/2000/svg}"
_XLINK = "{http://www.w3.org/1999/xlink}"
_REFERENCE = re.compile(r"url\(#([^)]*)\)")
_FAMILY = re.compile(r"(font: [^;']*?\d(?:\.\d+)?px) [^;]*")

_SETTINGS: Any = {
    "text.parse_math": False,  # a name may hold dollars
    "svg.fonttype": "none",
    "font.size": 10.0,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
}


@contextlib.contextmanager
def drawing() -> Iterator[None]:
    """Has matplotlib draw in the look of reports, whatever a matplotlibrc says."""
    with style.context("default"), matplotlib.rc_context(_SETTINGS), warnings.catch_warnings():
        # Of writing systems that the font lacks: the SVG has letters, which the reader's own fonts draw.
        warnings.filterwarnings("ignore", message="(?s).*[Gg]lyph")
        warnings.filterwarnings("ignore", message=".*does not support.*natively")
        yield


def to_png(drawn: Drawing) -> bytes:
    """Returns a drawing as a PNG, on white."""
    buffer = io.BytesIO()
    with drawing():
        drawn.savefig(buffer, format="png", dpi=_DPI, facecolor="white")
    return buffer.getvalue()


def to_svg(drawn: Drawing, name: str) -> ET.Element:
    """Returns a drawing as SVG for a page: no ground of its own, colours and fonts of the page.

    Args:
        drawn: The drawing.
        name: Begins all ids, so that those of several drawings on a page differ.

    Returns:
        The element `svg`, in no namespace, as HTML has it.
    """
    buffer = io.BytesIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with drawing(), matplotlib.rc_context({"svg.hashsalt": name}):
        drawn.savefig(buffer, format="svg", transparent=True, metadata=nothing, dpi=_DPI)
    root = ET.fromstring(buffer.getvalue())  # noqa: S314 - matplotlib has just written it
    for parent in root.iter():
        # Its style is of all elements, of which a page has others.
        for child in [it for it in parent if it.tag.endswith(("}metadata", "}title", "}style"))]:
            parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)
        given, element.attrib = dict(element.attrib), {}
        for key, value in given.items():
            key = key.removeprefix(_XLINK)
            element.set(key, _of_page(key, value, name))
    for size in ("width", "height"):
        del root.attrib[size]
    return root


def _of_page(key: str, value: str, name: str) -> str:
    if key == "id":
        return f"{name}-{value}"
    if key == "href" and value.startswith("#"):
        return f"#{name}-{value[1:]}"
    value = _REFERENCE.sub(rf"url(#{name}-\1)", value)
    if key == "style":
        value = _FAMILY.sub(r"\1 var(--sans)", value)
        for colour, (variable, _) in SCHEMES.items():
            value = value.replace(colour, f"var(--{variable})")
    return value
