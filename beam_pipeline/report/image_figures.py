"""Figures of the images: when they were taken, how much of them is bad, and what was left out and why."""

import collections
import datetime
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure as Drawing

from beam_pipeline.report.figure import Figure, NotDrawn, Table, brief, percent
from beam_pipeline.report.label_figures import draw_squares
from beam_pipeline.report.statistics import BAD_BINS, Statistics
from beam_pipeline.report.theme import ACCENT, INK, SECOND, THIRD, WIDTH_IN

MONTHS = tuple(datetime.date(2000, month, 1).strftime("%b") for month in range(1, 13))
_BEFORE_CONTENTS = (
    "The summaries of this dataset, of a version before 1.1, do not say when images were taken."
)
_MOST_REASONS = 24

_DRAWN = (
    ": scenes are drawn month by month, so that clear-sky seasons are not favoured, but clouds still decide"
)


def months_of_images(statistics: Statistics, *, imported: bool = False) -> Figure | NotDrawn:
    """The images by month and hemisphere.

    Args:
        statistics: Of the dataset.
        imported: Whether the images are those of published files.
    """
    title = "Months of the images"
    if not statistics.images:
        return NotDrawn(title, _BEFORE_CONTENTS if statistics.total["images"] else "There is no image.")
    counts = np.zeros((2, 13), np.int64)
    for (_, month, north), count in statistics.images.items():
        counts[int(north), month] += count
    total = int(counts.sum())
    rows = [
        (name, f"{north:,}", f"{south:,}", f"{north + south:,}", percent((north + south) / total))
        for name, south, north in zip(("no date", *MONTHS), *counts.tolist(), strict=True)
        if name != "no date" or south + north
    ]
    of_month = counts.sum(axis=0)[1:]
    least, most = int(of_month.argmin()), int(of_month.argmax())
    return Figure(
        name="months",
        title=title,
        text="Images by the month in which they were taken, north and south of the equator"
        f"{'' if imported else _DRAWN}. Equal bars would be {percent(1 / 12)} each.",
        alt=f"Bars of {total:,} images by month: fewest in {MONTHS[least]} ({percent(int(of_month[least]) / total)}), "
        f"most in {MONTHS[most]} ({percent(int(of_month[most]) / total)}).",
        draw=lambda: _draw_months(100 * counts[:, 1:] / total),
        table=Table(("month", "north", "south", "images", "share"), rows),
    )


def years_and_months(statistics: Statistics) -> Figure | NotDrawn:
    """The images by year and month."""
    title = "Years and months"
    if not statistics.images:
        return NotDrawn(title, _BEFORE_CONTENTS if statistics.total["images"] else "There is no image.")
    years = sorted({year for year, _, _ in statistics.images})
    counts = np.zeros((len(years), 13), np.int64)
    for (year, month, _), count in statistics.images.items():
        counts[years.index(year), month] += count
    of_year = ", ".join(f"{year} {int(row.sum()):,}" for year, row in zip(years, counts, strict=True))
    return Figure(
        name="years_and_months",
        title=title,
        text="Images by year and month. The deeper a square, the more images.",
        alt=f"Matrix of images by year and month; by year: {of_year}.",
        draw=lambda: _draw_years(years, counts[:, 1:]),
        table=Table(
            ("year", *MONTHS, "no date", "images"),
            [
                (year, *(f"{it:,}" for it in (*row[1:], row[0], sum(row))))
                for year, row in zip(years, counts.tolist(), strict=True)
            ],
        ),
    )


def bad_shares(statistics: Statistics, *, imported: bool = False) -> Figure | NotDrawn:
    """The histogram of the bad pixels of an image.

    Args:
        statistics: Of the dataset.
        imported: Whether the images are those of published files, and no filter looked at them.
    """
    title = "Bad pixels of an image"
    counts = statistics.bad_shares
    total = int(counts.sum())
    if not total:
        return NotDrawn(title, _BEFORE_CONTENTS if statistics.total["images"] else "There is no image.")
    last = int(np.flatnonzero(counts).max()) + 1
    rows = [
        (f"{low} to {low + 1} %", f"{count:,}", percent(count / total))
        for low, count in enumerate(counts[:last].tolist())
    ]
    return Figure(
        name="bad_pixels",
        title=title,
        text="Images by the share of their pixels that the scene classification calls unusable (bad_percent)"
        + ("." if imported else "; what is above the filter's bound was never stored."),
        alt=f"Histogram of the bad share of {total:,} images: {percent(int(counts[0]) / total)} have less than 1 %, "
        f"none has more than {last} %.",
        draw=lambda: _draw_bad(100 * counts[: max(last, 5)] / total),
        table=Table(("bad pixels", "images", "share"), rows),
    )


def left_out(statistics: Statistics) -> Figure | NotDrawn:
    """Draws the counts of what was left out: cell-years, scenes of chips, and failures."""
    title = "What was left out, and why"
    letters = collections.Counter[str]()
    for (stage, reason), count in statistics.dead_letters.items():
        letters[f"{stage}: {reason}"] += count
    kinds: list[tuple[str, str, Mapping[str, int], str]] = [
        ("cell-year left out", "cell-years left out", statistics.rejections, ACCENT),
        ("scene passed over", "scenes passed over, once for each chip", statistics.scene_rejections, SECOND),
        ("dead letter", "dead letters", letters, THIRD),
        ("scene of no use", "scenes of no use, once a unit", statistics.unusable_scenes, SECOND),
        ("geometry not drawn", "geometries that could not be drawn", statistics.dropped_geometries, ACCENT),
    ]
    rows = [
        (kind, reason, f"{count:,}")
        for kind, _, counts, _ in kinds
        for reason, count in sorted(counts.items(), key=lambda it: (-it[1], it[0]))
    ]
    if not rows:
        return NotDrawn(title, "Nothing was left out.")
    said = ", ".join(f"{sum(counts.values()):,} {many}" for _, many, counts, _ in kinds)
    return Figure(
        name="left_out",
        title=title,
        text="A bar is as long as its share of its kind. Refusals are counted by reason. What failed otherwise is a "
        "dead letter, which --retry_dead_letters of the build tries once more.",
        alt=f"Bars by reason: {said}.",
        draw=lambda: _draw_left_out([(many, counts, colour) for _, many, counts, colour in kinds if counts]),
        table=Table(("what", "reason", "count"), rows),
    )


def _draw_months(shares: npt.NDArray[np.float64]) -> Drawing:
    figure = Drawing(figsize=(WIDTH_IN, 3.3), layout="constrained")
    axes = figure.add_subplot()
    south, north = shares
    axes.bar(MONTHS, north, color=ACCENT, width=0.72, label="north of the equator")
    axes.bar(MONTHS, south, bottom=north, color=SECOND, width=0.72, label="south of it")
    axes.set(ylabel="share of the images, %", ylim=(0, 1.06 * float((north + south).max())))
    axes.grid(axis="y")
    figure.legend(loc="outside upper right", ncols=2)
    return figure


def _draw_years(years: Sequence[int], counts: npt.NDArray[np.int64]) -> Drawing:
    figure = Drawing(figsize=(WIDTH_IN, 0.42 * len(years) + 0.8), layout="constrained")
    axes = figure.add_subplot()
    draw_squares(axes, counts / max(1, int(counts.max())))
    for row, column in np.ndindex(*counts.shape):
        text = f"{int(counts[row, column]):,}"
        axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=8.5, color=INK)
    axes.set_xticks(np.arange(12) + 0.5, MONTHS)
    axes.set_yticks(np.arange(len(years)) + 0.5, [str(year) for year in years])
    axes.invert_yaxis()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def _draw_bad(shares: npt.NDArray[np.float64]) -> Drawing:
    figure = Drawing(figsize=(WIDTH_IN, 3.0), layout="constrained")
    axes = figure.add_subplot()
    axes.bar(np.arange(len(shares)), shares, width=0.92, align="edge", color=ACCENT)
    axes.set(xlim=(0, min(len(shares), BAD_BINS)), xlabel="bad pixels, %", ylabel="share of the images, %")
    axes.grid(axis="y")
    return figure


def _draw_left_out(kinds: Sequence[tuple[str, Mapping[str, int], str]]) -> Drawing:
    """Draws a group of bars a kind, each as long as its share of the kind."""
    labels: list[str] = []
    ticks: list[int] = []
    row = 0
    heads: list[tuple[int, str]] = []
    bars: list[tuple[int, float, str, str]] = []
    for many, counts, colour in kinds:
        heads.append((row, f"{many}: {sum(counts.values()):,}"))
        for reason, count in sorted(counts.items(), key=lambda it: (-it[1], it[0]))[:_MOST_REASONS]:
            row += 1
            ticks.append(row)
            labels.append(brief(reason))
            bars.append((row, count / max(1, sum(counts.values())), f"{count:,}", colour))
        row += 2
    figure = Drawing(figsize=(WIDTH_IN, 0.26 * row + 0.3), layout="constrained")
    axes = figure.add_subplot()
    for place, share, said, colour in bars:
        axes.barh(place, share, color=colour, height=0.68)
        axes.annotate(said, (share, place), (4, 0), textcoords="offset points", va="center", fontsize=8.5)
    for place, said in heads:
        axes.text(0, place, said, va="center", fontweight="bold")
    axes.set_yticks(ticks, labels)
    axes.tick_params(axis="y", length=0)
    axes.set(xlim=(0, 1.12), ylim=(row - 1.2, -0.7))
    axes.set_xticks([])
    axes.spines[:].set_visible(False)
    return figure
