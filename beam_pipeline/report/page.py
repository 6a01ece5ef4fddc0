"""The page of a report: one HTML file that holds all that it shows."""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from xml.etree import ElementTree as ET

from matplotlib.figure import Figure as Drawing

from beam_pipeline.report.colours import NONE_COLOUR, UNLABELED_COLOUR
from beam_pipeline.report.figure import Figure, NotDrawn, Table
from beam_pipeline.report.gallery import Colour, Picture, Shown
from beam_pipeline.report.key_numbers import KeyNumbers
from beam_pipeline.report.markup import (
    element,
    folded_table,
    list_element,
    picture_element,
    swatch,
    table_element,
    to_html,
)
from beam_pipeline.report.source import ReportSource
from beam_pipeline.report.theme import to_svg
from beam_pipeline.runtime.foreign_text import one_line

Drawn = tuple[Figure, Drawing] | NotDrawn

_VALUE_CHARS = 300
PAPER = "Johnson, Treible, Crispell: OpenSentinelMap, CVPR EarthVision workshop 2022, section 3 and figures 2, 4 and 5"


@dataclasses.dataclass(frozen=True)
class Section:
    """A section of figures.

    Attributes:
        name: Of its place in the page.
        title: Its heading.
        figures: Its figures.
    """

    name: str
    title: str
    figures: Sequence[Drawn]


@dataclasses.dataclass(frozen=True)
class Page:
    """The content of a page.

    Attributes:
        source: The dataset.
        numbers: The key numbers.
        sections: Figures.
        gallery: Examples.
        legend: Colours of the labels' categories, by name.
        refusals: The paper's figure 3: accepted, refused by SCL and as too bright; a text where there is no picture.
        problems: (file, what is wrong) of what could not be used.
        left_out: How many units the numbers leave out, by what is wrong with them.
        figures_folder: The folder of PNG and CSV, as it is called beside the page.
    """

    source: ReportSource
    numbers: KeyNumbers
    sections: Sequence[Section]
    gallery: Sequence[Shown]
    legend: Mapping[str, Colour]
    refusals: Sequence[tuple[str, Picture | str]]
    problems: Sequence[tuple[str, str]]
    left_out: Mapping[str, int]
    figures_folder: str


def page_html(page: Page) -> bytes:
    """Writes the page."""
    name = one_line(page.source.folder.path.rstrip("/").rpartition("/")[2], 100)
    title = f"Report of {name}"
    parts = [
        ("glance", "At a glance", _glance(page)),
        *((section.name, section.title, _section(section)) for section in page.sections),
        ("gallery", "Examples", _gallery(page)),
        # No filter looked at what was imported.
        *([] if page.source.imported else [("filters", "What the filters refuse", _refusals(page))]),
        ("provenance", "Provenance and licences", _provenance(page)),
    ]
    contents = element("nav", aria_label="Contents")
    contents.append(
        element(
            "ol", *(element("li", element("a", heading, href=f"#{place}")) for place, heading, _ in parts)
        )
    )
    main = element("main", id="content")
    for place, heading, content in parts:
        main.append(element("section", element("h2", heading, id=place), *content, aria_labelledby=place))
    header = element(
        "header",
        element("h1", title),
        element("p", page.numbers.lead, class_="lead"),
        *_notices(page),
        contents,
    )
    footer = element(
        "footer",
        element(
            "p",
            f"The figures lie as PNG and CSV in {page.figures_folder}. This page loads nothing and runs no script.",
        ),
    )
    skip = element("a", "Skip to the content", href="#content", class_="skip")
    return to_html(title, [skip, header, main, footer])


def _notices(page: Page) -> Iterator[ET.Element]:
    said = [f"{count:,} {what}" for what, count in page.left_out.items() if count]
    if said:
        yield element(
            "div",
            element("p", f"The numbers leave out units of the plan: {', '.join(said)}."),
            class_="notice",
        )
    if page.problems:
        yield element(
            "div",
            element("p", f"{len(page.problems):,} things could not be used:"),
            folded_table(Table(("file", "what is wrong"), page.problems), "What could not be used"),
            class_="notice",
        )


def _glance(page: Page) -> Iterator[ET.Element]:
    yield element(
        "dl",
        *(element("div", element("dt", name), element("dd", value)) for name, value in page.numbers.tiles),
        class_="tiles",
    )
    yield element("h3", "Beside the paper")
    table = table_element(page.numbers.beside_paper, f"The paper's numbers: {PAPER}")
    yield element(
        "div", table, class_="scroll plain", tabindex="0", role="region", aria_label="Beside the paper"
    )
    yield element("h3", "Splits")
    yield element(
        "div",
        table_element(page.numbers.splits, "Counts by split"),
        class_="scroll plain",
        tabindex="0",
        role="region",
        aria_label="Splits",
    )


def _section(section: Section) -> Iterator[ET.Element]:
    for drawn in section.figures:
        if isinstance(drawn, NotDrawn):
            yield element("h3", drawn.title)
            yield element("p", f"Not drawn. {drawn.why}", class_="muted")
            continue
        figure, drawing = drawn
        yield element("h3", figure.title, id=figure.name)
        svg = to_svg(drawing, figure.name)
        svg.set("role", "img")
        svg.set("aria-labelledby", f"{figure.name}-alt")
        svg.insert(0, element("title", figure.alt, id=f"{figure.name}-alt"))
        box = element("div", svg, class_="drawing", tabindex="0", role="group", aria_label=figure.title)
        yield element("figure", box, element("figcaption", figure.text))
        yield folded_table(figure.table, figure.title)


def _gallery(page: Page) -> Iterator[ET.Element]:
    if not page.gallery:
        yield element("p", "There is no example to show.", class_="muted")
        return
    yield element(
        "p",
        "Examples drawn by a keyed hash of their cells, so not chosen for their looks: the images in true colour, and "
        "the three channels of the label. North is up, and a picture is 1,920 m wide.",
    )
    known = {**page.legend, "none of the channel's categories": NONE_COLOUR, "unlabelled": UNLABELED_COLOUR}
    yield list_element([swatch(colour, name) for name, colour in known.items()], class_="legend")
    for example in page.gallery:
        yield element(
            "div",
            element("h3", example.title),
            element("div", *map(picture_element, example.pictures), class_="strip"),
            class_="example",
        )


def _refusals(page: Page) -> Iterator[ET.Element]:
    yield element(
        "p",
        "Figure 3 of the paper: an image that is accepted, one that is refused by its scene classification, and one "
        "that is refused as too bright. A dataset stores no pixel of refused images.",
    )
    strip = element("div", class_="strip")
    for title, found in page.refusals:
        if isinstance(found, Picture):
            strip.append(picture_element(dataclasses.replace(found, caption=f"{title}: {found.caption}")))
        else:
            strip.append(
                element("div", element("p", element("strong", title)), element("p", found, class_="muted"))
            )
    yield strip


def _provenance(page: Page) -> Iterator[ET.Element]:
    source = page.source
    yield element("h3", "Licences and credits")
    licences = [f"{what}: {text}" for what, text in source.provenance.licences.items()]
    yield (
        list_element([*licences, *source.credits])
        if licences
        else element("p", "The dataset's description names no licence.", class_="muted")
    )
    yield element("p", f"The paper: {PAPER}.", class_="muted")
    yield element("h3", "What the dataset is made from")
    given: list[tuple[str, str]] = [("version of the data format", source.description.schema_version)]
    if source.relabelled_from:
        given.append(("relabelled from the dataset of fingerprint", source.relabelled_from))
    given += [(key, _written(value)) for key, value in _flat(source.provenance.fingerprint)]
    yield folded_table(Table(("setting", "value"), given), "Settings that decide the content")
    yield folded_table(
        Table(("package", "version"), sorted(source.provenance.software.items())), "Software that made it"
    )


def _flat(content: Mapping[str, object], before: str = "") -> Iterator[tuple[str, object]]:
    for key, value in content.items():
        if isinstance(value, Mapping) and not before:
            yield from _flat(value, f"{key}.")
        else:
            yield before + key, value


def _written(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return one_line(text, _VALUE_CHARS)
