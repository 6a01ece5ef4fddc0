"""Elements of a page. Texts are put in as texts: what a dataset says can become no markup."""

import base64
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

_LIGHT = "".join(f"--{name}:{colour};" for colour, (name, _) in SCHEMES.items())
_DARK = "".join(f"--{name}:{colour};" for name, colour in SCHEMES.values())

STYLE = f"""
:root{{color-scheme:light dark;--paper:#ffffff;--raised:#f5f7f9;--line:#d3d9df;--link:#1f5ea8;--warn:#8a4b00;
--sans:system-ui,"Segoe UI",Roboto,"Helvetica Neue","DejaVu Sans",Arial,sans-serif;{_LIGHT}}}
@media (prefers-color-scheme:dark){{:root{{--paper:#14171b;--raised:#1c2026;--line:#353c44;--link:#8bbcf3;
--warn:#f0b36a;{_DARK}}}}}
*{{box-sizing:border-box}}
body{{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 var(--sans)}}
main,header,footer{{max-width:1040px;margin:0 auto;padding:0 24px}}
header{{padding-top:40px}}
h1{{font-size:2rem;line-height:1.2;margin:0 0 8px}}
h2{{font-size:1.45rem;line-height:1.25;margin:56px 0 12px;padding-top:16px;border-top:1px solid var(--line)}}
h3{{font-size:1.1rem;line-height:1.3;margin:32px 0 8px}}
p{{margin:0 0 12px;max-width:74ch}}
.lead{{font-size:1.1rem}}.muted{{color:var(--muted)}}
a{{color:var(--link)}}
a:focus-visible,summary:focus-visible,.scroll:focus-visible{{outline:3px solid var(--accent);outline-offset:2px}}
.skip{{position:absolute;left:-999px}}.skip:focus{{left:16px;top:8px;background:var(--paper);padding:8px;z-index:1}}
nav ol{{display:flex;flex-wrap:wrap;gap:4px 20px;padding:0;margin:20px 0 0;list-style:none}}
.tiles{{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin:24px 0;padding:0}}
.tiles div{{background:var(--raised);border:1px solid var(--line);border-radius:8px;padding:12px 14px}}
.tiles dt{{color:var(--muted);font-size:.85rem}}
.tiles dd{{margin:0;font-size:1.4rem;font-weight:600;font-variant-numeric:tabular-nums}}
.notice{{border-left:4px solid var(--warn);background:var(--raised);padding:12px 16px;margin:20px 0}}
.notice p:last-child{{margin:0}}
figure{{margin:12px 0 0}}
figure>svg{{display:block;width:100%;height:auto;stroke-linejoin:round;stroke-linecap:butt}}
figcaption{{color:var(--muted);font-size:.92rem;max-width:80ch;margin-top:8px}}
details{{margin:10px 0 0}}
summary{{cursor:pointer;color:var(--link);width:fit-content}}
.scroll{{overflow:auto;max-height:480px;margin-top:8px;border:1px solid var(--line);border-radius:6px}}
table{{border-collapse:collapse;font-size:.88rem;font-variant-numeric:tabular-nums;min-width:50%;margin:0}}
.plain{{margin:12px 0;max-height:none}}.plain table{{width:100%}}
caption{{text-align:left;color:var(--muted);padding:6px 10px}}
th,td{{padding:5px 12px;text-align:right;border-bottom:1px solid var(--line);vertical-align:top}}
th{{font-weight:600}}thead th{{background:var(--raised);position:sticky;top:0}}
th:first-child,td.text{{text-align:left}}
td.text{{overflow-wrap:anywhere}}
.example{{margin:20px 0 0}}
.strip{{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px}}
.strip figure{{margin:0}}
.strip img{{display:block;width:100%;height:auto;image-rendering:pixelated;border:1px solid var(--line)}}
.strip figcaption{{font-size:.82rem;margin-top:4px;overflow-wrap:anywhere}}
.legend{{display:flex;flex-wrap:wrap;gap:4px 18px;padding:0;list-style:none;font-size:.88rem}}
.legend svg{{width:14px;height:14px;vertical-align:-2px;margin-right:6px}}
footer{{margin-top:64px;padding-bottom:48px;color:var(--muted);font-size:.9rem}}
@media print{{details>*{{display:block}}nav{{display:none}}}}
"""


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
    style.text = STYLE
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


def _row(row: Sequence[Entry]) -> ET.Element:
    """Makes a row; its first entry names it, and texts that are no numbers stand on the left."""
    first, *others = row
    cells = (element("td", str(one), **({"class_": "text"} if _is_text(one) else {})) for one in others)
    return element("tr", element("th", str(first), scope="row"), *cells)


def _is_text(entry: Entry) -> bool:
    return isinstance(entry, str) and not any(sign.isdigit() for sign in entry[:8]) and entry not in ("", "–")
