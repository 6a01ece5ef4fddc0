"""Elements of a page. Texts are put in as texts: what a dataset says can become no markup."""

import base64
import importlib.resources
from collections.abc import Iterable, Sequence
from xml.etree import ElementTree as ET

from beam_pipeline.report.figure import Entry, Table
from beam_pipeline.report.gallery import Picture
from beam_pipeline.report.theme import SCHEMES
from beam_pipeline.runtime.foreign_text import shown

Content = str | ET.Element

_TEXT_CHARS = 2000
_MOST_ROWS = 400
"""Of a table in the page; the CSV holds all."""

_STYLE_FILE = "page.css"


def element(tag: str, *content: Content, **attributes: str) -> ET.Element:
    """Makes an element.

    Args:
        tag: Its name.
        content: Texts and elements, in turn.
        attributes: Its attributes; `class_` is "class", and other underscores are dashes.
    """
    made = ET.Element(tag, {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()})
    for one in content:
        if isinstance(one, ET.Element):
            made.append(one)
        elif len(made):
            made[-1].tail = (made[-1].tail or "") + shown(one, _TEXT_CHARS)
        else:
            made.text = (made.text or "") + shown(one, _TEXT_CHARS)
    return made


def table_element(table: Table, caption: str) -> ET.Element:
    """Makes a table, of its first rows where it is long."""
    head = element("tr", *(element("th", str(name), scope="col") for name in table.head))
    body = element("tbody", *(_row(row) for row in table.rows[:_MOST_ROWS]))
    more = len(table.rows) - _MOST_ROWS
    said = f"{caption}; the CSV holds {more:,} more rows" if more > 0 else caption
    return element("table", element("caption", said), element("thead", head), body)


def folded_table(table: Table, caption: str) -> ET.Element:
    """Makes a table that is shown on demand, by mouse or keyboard."""
    box = element(
        "div", table_element(table, caption), class_="scroll", tabindex="0", role="region", aria_label=caption
    )
    return element("details", element("summary", f"Table: {caption}"), box)


def picture_element(picture: Picture) -> ET.Element:
    """Makes a picture with its caption."""
    data = base64.b64encode(picture.png).decode()
    image = element("img", alt=shown(picture.alt, _TEXT_CHARS), width="192", height="192")
    image.set("src", f"data:image/png;base64,{data}")
    return element("figure", image, element("figcaption", picture.caption))


def list_element(items: Iterable[Content], **attributes: str) -> ET.Element:
    """Makes a list."""
    return element("ul", *(element("li", item) for item in items), **attributes)


def swatch(colour: tuple[int, int, int], name: str) -> ET.Element:
    """Makes an entry of a legend."""
    square = element(
        "rect", width="14", height="14", rx="2", fill=f"#{bytes(colour).hex()}", stroke="#888888"
    )
    return element("span", element("svg", square, viewBox="0 0 14 14", aria_hidden="true"), name)


def to_html(title: str, body: Sequence[ET.Element]) -> bytes:
    """Writes a page that loads nothing: a browser is told to refuse whatever is not in it.

    Args:
        title: Of the page.
        body: The content of its body.
    """
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    )
    style = ET.Element("style")
    style.text = _style()
    policy_element = ET.Element("meta", {"http-equiv": "Content-Security-Policy", "content": policy})
    head = element(
        "head",
        element("meta", charset="utf-8"),
        policy_element,
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", title),
        style,
    )
    page = element("html", head, element("body", *body), lang="en")
    written: bytes = ET.tostring(page, encoding="utf-8", method="html")
    return b"<!DOCTYPE html>\n" + written + b"\n"


def _style() -> str:
    """Returns the style of the page, with the colours of the figures in both schemes."""
    light = "".join(f"--{name}:{colour};" for colour, (name, _) in SCHEMES.items())
    dark = "".join(f"--{name}:{colour};" for name, colour in SCHEMES.values())
    colours = f":root{{{light}}}\n@media (prefers-color-scheme:dark){{:root{{{dark}}}}}\n"
    return colours + importlib.resources.files(__package__).joinpath(_STYLE_FILE).read_text("utf-8")


def _row(row: Sequence[Entry]) -> ET.Element:
    """Makes a row; its first entry names it, and texts that are no numbers stand on the left."""
    first, *others = row
    cells = (element("td", str(one), **({"class_": "text"} if _is_text(one) else {})) for one in others)
    return element("tr", element("th", str(first), scope="row"), *cells)


def _is_text(entry: Entry) -> bool:
    return isinstance(entry, str) and not any(sign.isdigit() for sign in entry[:8]) and entry not in ("", "–")
