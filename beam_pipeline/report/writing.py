"""Writes a report: the page, and its figures as PNG and CSV in a folder beside it."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from beam_pipeline.records.example import CellYear
from beam_pipeline.records.schema import CHANNELS, NONE, UNLABELED
from beam_pipeline.report import image_figures, label_figures, place_figures
from beam_pipeline.report.figure import Figure, NotDrawn
from beam_pipeline.report.gallery import Picture, image_picture, legend_colours, read_picks, show
from beam_pipeline.report.key_numbers import key_numbers
from beam_pipeline.report.page import Drawn, Page, Section, page_html
from beam_pipeline.report.refused import BY_SCL, TOO_BRIGHT, find_refused
from beam_pipeline.report.settings import ReportSettings
from beam_pipeline.report.source import ReportSource
from beam_pipeline.report.statistics import Statistics
from beam_pipeline.report.theme import drawing, to_png
from beam_pipeline.runtime.files import Files, join
from beam_pipeline.runtime.storage_faults import with_retries

_NOT_ASKED = "Not read: --read_refused reads one once more, from the files that the scene lists name."


@dataclasses.dataclass(frozen=True)
class Written:
    """The outcome of a report.

    Attributes:
        page: The page.
        figures: The folder of the figures.
        drawn: Number of figures.
        cells: Cells with examples.
        problems: Number of things that could not be used.
    """

    page: str
    figures: str
    drawn: int
    cells: int
    problems: int


def write_report(
    files: Files, source: ReportSource, statistics: Statistics, settings: ReportSettings
) -> Written:
    """Draws and writes a report.

    Args:
        files: The file system of the output.
        source: The dataset.
        statistics: All of it, added up.
        settings: What the report is to hold.

    Raises:
        Fault: It cannot be written.
    """
    table = source.table
    examples, lost = read_picks(source.folder, statistics.picks)
    problems = [*statistics.problems, *lost, *contradictions(source, statistics)]
    sections = [
        Section(name, title, [_drawn(figure) for figure in figures])
        for name, title, figures in _sections(source, statistics)
    ]
    page = Page(
        source=source,
        numbers=key_numbers(statistics, table, source.description.years, source.provenance.complete),
        sections=sections,
        gallery=[show(example, table) for example in examples],
        legend=dict(zip(table.names, legend_colours(table), strict=True)),
        refusals=_refusals(source, statistics, settings, examples),
        problems=problems,
        left_out={
            "whose summary cannot be used": statistics.total["units_unreadable"],
            "that failed": statistics.total["units_failed"],
            "that were not reached": statistics.total["units_missing"],
        },
        figures_folder=settings.figures.rpartition("/")[2],
    )
    html = page_html(page)  # before the first file is written
    drawn = [one for section in sections for one in section.figures if not isinstance(one, NotDrawn)]
    for figure, picture in drawn:
        files.write_text(
            join(settings.figures, f"{figure.name}.csv"), (figure.csv or figure.table).csv_text()
        )
        _write(files, join(settings.figures, f"{figure.name}.png"), to_png(picture))
    # Last: where there is a page, its figures are there.
    _write(files, settings.output, html)
    return Written(settings.output, settings.figures, len(drawn), statistics.total["cells"], len(problems))


def _write(files: Files, path: str, content: bytes) -> None:
    with_retries(lambda: files.write_bytes(path, [content]))


def _sections(
    source: ReportSource, statistics: Statistics
) -> list[tuple[str, str, Sequence[Figure | NotDrawn]]]:
    table = source.table
    return [
        (
            "places",
            "Where the cells lie",
            [
                place_figures.cells_by_split(statistics, imported=source.imported),
                place_figures.label_density(statistics),
            ],
        ),
        (
            "labels",
            "What the labels hold",
            [
                label_figures.labelled_fraction(statistics),
                label_figures.known_shares(statistics, table),
                label_figures.category_shares(statistics, table),
                label_figures.categories_in_cells(statistics, table),
                label_figures.categories_in_pixels(statistics, table),
            ],
        ),
        (
            "images",
            "When the images were taken",
            [
                image_figures.months_of_images(statistics, imported=source.imported),
                image_figures.years_and_months(statistics),
                image_figures.bad_shares(statistics, imported=source.imported),
            ],
        ),
        ("left", "What was left out", [image_figures.left_out(statistics)]),
    ]


def _drawn(figure: Figure | NotDrawn) -> Drawn:
    if isinstance(figure, NotDrawn):
        return figure
    with drawing():
        return figure, figure.draw()


def contradictions(source: ReportSource, statistics: Statistics) -> list[tuple[str, str]]:
    """Compares the cells of the summaries with those that the description counts."""
    problems = []
    if not statistics.problems:
        for split, counts in statistics.counts.items():
            described = getattr(source.description.splits, split).cells
            if described != counts["cells"]:
                problems.append(
                    (
                        "dataset.json",
                        f"{split} has {described:,} cells there, and {counts['cells']:,} in the summaries",
                    )
                )
    named = np.zeros((CHANNELS, 256), bool)
    named[list(source.table.channels), list(source.table.values)] = True
    named[:, [NONE, UNLABELED]] = True
    if nameless := int(statistics.channel_pixels.sum(axis=0)[~named].sum()):
        problems.append(("summaries", f"{nameless:,} pixels hold values that the ontology does not name"))
    if statistics.unplaced:
        problems.append(
            ("plan", f"{statistics.unplaced:,} cells lie nowhere on the Earth, and are on no map")
        )
    return problems


def _refusals(
    source: ReportSource, statistics: Statistics, settings: ReportSettings, examples: Sequence[CellYear]
) -> list[tuple[str, Picture | str]]:
    accepted: Picture | str = "There is no example to show."
    if examples:
        accepted = image_picture(examples[0].images[0], examples[0].cell.cell_id)
    told: dict[str, Picture | str] = {}
    wanted = {
        reason: statistics.refusing[reason][1]
        for reason in (BY_SCL, TOO_BRIGHT)
        if reason in statistics.refusing
    }
    filters = source.filters
    if not settings.read_refused:
        told = dict.fromkeys(wanted, _NOT_ASKED)
    elif filters is None:
        told = dict.fromkeys(wanted, "The dataset does not say what its filters are.")
    elif wanted:
        units = {unit.name: unit for unit in source.units() if unit.name in wanted.values()}
        found, missing = find_refused(
            source.folder,
            {reason: units[name] for reason, name in wanted.items()},
            source.description.years,
            filters,
            settings.own_network,
        )
        told = {reason: f"Could not be read once more: {why}." for reason, why in missing.items()}
        told |= {reason: image_picture(it.image, it.cell_id) for reason, it in found.items()}
    nothing = "No scene was refused for this reason."
    return [
        ("Accepted", accepted),
        ("Refused by SCL", told.get(BY_SCL, nothing)),
        ("Refused as too bright", told.get(TOO_BRIGHT, nothing)),
    ]
