"""Figures of what the labels hold: how much, which categories (figure 4 of the paper), and which meet."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure as Drawing

from beam_pipeline.cells.cell import SPLITS
from beam_pipeline.dataset.cell_content import PIXELS
from beam_pipeline.dataset.totals import EDGES_PERCENT
from beam_pipeline.records.categories import CategoryTable
from beam_pipeline.records.schema import NONE, UNLABELED
from beam_pipeline.report import paper
from beam_pipeline.report.figure import Entry, Figure, NotDrawn, Table, brief, percent, ratio
from beam_pipeline.report.statistics import UNKNOWN, Statistics
from beam_pipeline.report.theme import ACCENT, FAINT, INK, MUTED, SECOND, WIDTH_IN

_MOST_BARS = 40
_MOST_MEETING = 20
"""Categories that are drawn, those of most pixels; the tables hold all."""

_DEEPEST = 0.55
"""Opacity of the deepest square: what is written on it can be read, on white and on the dark page."""

_BEFORE_CONTENTS = "The summaries of this dataset, of a version before 1.1, do not say what each cell holds."
_NO_CELLS = "There is no cell with an example."


def labelled_fraction(statistics: Statistics) -> Figure | NotDrawn:
    """The histogram of the labelled share of a cell."""
    title = "Labelled share of a cell"
    cells = statistics.cells()
    known = cells.labelled != UNKNOWN
    if not known.any():
        return NotDrawn(title, _BEFORE_CONTENTS if len(cells) else _NO_CELLS)
    labelled, split = cells.labelled[known].astype(np.int64), cells.split[known]
    # In whole numbers, so that a share on an edge is on its right side; the last bin holds both its edges.
    edges = np.array(EDGES_PERCENT) * PIXELS
    place = np.minimum(np.searchsorted(edges, 100 * labelled, side="right") - 1, len(edges) - 2)
    counts = np.stack(
        [np.bincount(place[split == it], minlength=len(edges) - 1) for it in range(len(SPLITS))]
    )
    below, above = share_below_1(labelled), share_above_90(labelled)
    rows = [
        (
            f"{low} to {high} %",
            *(f"{it:,}" for it in column),
            f"{sum(column):,}",
            percent(sum(column) / len(labelled)),
        )
        for low, high, column in zip(EDGES_PERCENT[:-1], EDGES_PERCENT[1:], counts.T.tolist(), strict=True)
    ]
    return Figure(
        name="labelled_fraction",
        title=title,
        text="Cells by the share of their pixels that hold a category in any channel (figure 4 of the paper, left); "
        f"“none” does not count. {percent(below)} of the cells have less than 1 % labelled (paper: "
        f"{percent(paper.LABELLED_BELOW_1, 0)}), {percent(above)} more than 90 % (paper: "
        f"{percent(paper.LABELLED_ABOVE_90, 0)}). "
        "A bar is as wide as its bin; the first holds what is below 1 %.",
        alt=f"Histogram of the labelled share of {len(labelled):,} cells: {percent(below)} lie below 1 %, "
        f"{percent(above)} above 90 %.",
        draw=lambda: _draw_labelled(counts.sum(axis=0) / len(labelled)),
        table=Table(("labelled share", *SPLITS, "all cells", "share of cells"), rows),
    )


def share_below_1(labelled: npt.NDArray[np.int64]) -> float:
    """Returns the share of cells of which less than 1 % of the pixels are labelled."""
    return float((100 * labelled < PIXELS).mean())


def share_above_90(labelled: npt.NDArray[np.int64]) -> float:
    """Returns the share of cells of which more than 90 % of the pixels are labelled."""
    return float((100 * labelled > 90 * PIXELS).mean())


def known_shares(statistics: Statistics, table: CategoryTable) -> Figure | NotDrawn:
    """The known, none and unlabelled share of each channel."""
    title = "Known, none and unlabelled"
    pixels = statistics.channel_pixels.sum(axis=0)  # (channels, 256)
    total = pixels.sum(axis=1)
    if not total.any():
        return NotDrawn(title, _NO_CELLS)
    kinds = np.stack([pixels[:, :NONE].sum(axis=1), pixels[:, NONE], pixels[:, UNLABELED]])  # (3, channels)
    shares = kinds / np.maximum(total, 1)
    names = list(table.channel_names)
    rows = [
        (name, *(f"{it:,}" for it in kinds[:, place].tolist()), *map(percent, shares[:, place].tolist()))
        for place, name in enumerate(names)
    ]
    said = "; ".join(f"{brief(row[0])} {row[4]}, {row[5]} and {row[6]}" for row in rows)
    return Figure(
        name="known_shares",
        title=title,
        text="Per channel, the share of pixels that hold a category, that are known to hold none of the channel's "
        "(254), and of which nothing is known (255). The loss leaves out the last. A cell counts once, whatever the "
        "number of its years.",
        alt=f"Stacked bars of category, none and unlabelled by channel: {said}.",
        draw=lambda: _draw_known([brief(name) for name in names], shares),
        table=Table(
            ("channel", "pixels: category", "none", "unlabelled", "share: category", "none", "unlabelled"),
            rows,
        ),
    )


def category_shares(statistics: Statistics, table: CategoryTable) -> Figure | NotDrawn:
    """The share of the cells and of the pixels that hold each category."""
    title = "Categories"
    pixels = _pixels_holding(statistics, table)
    all_pixels = int(statistics.channel_pixels[:, 0].sum())
    if not all_pixels:
        return NotDrawn(title, _NO_CELLS)
    cells, described = statistics.cells_holding.sum(axis=0), int(statistics.cells_described.sum())
    of_pixels = [count / all_pixels for count in pixels.tolist()]
    of_cells = [ratio(count, described) for count in cells.tolist()]
    by_split = statistics.cells_holding.T.tolist()
    rows: list[Sequence[Entry]] = [
        (
            name,
            table.channel_names[table.channels[place]],
            f"{int(cells[place]):,}" if described else "–",
            percent(of_cells[place]),
            paper.CELLS_HOLDING.get(name, ""),
            f"{int(pixels[place]):,}",
            percent(of_pixels[place], 2),
            paper.PIXELS_HOLDING.get(name, ""),
            *(f"{it:,}" if described else "–" for it in by_split[place]),
        )
        for place, name in enumerate(table.names)
    ]
    order = _order(np.array([it or 0.0 for it in of_cells]) if described else pixels)[:_MOST_BARS]
    top = [
        f"{brief(table.names[it])} {percent(of_cells[it] if described else of_pixels[it])}"
        for it in order[:3]
    ]
    return Figure(
        name="category_shares",
        title=title,
        text="The share of cells that hold a category anywhere, and of all pixels that hold it (figure 4 of the "
        "paper). A pixel may hold one category in each channel, so that these shares may add up to more than 100 %. "
        + ("" if described else "Which cells hold a category is not known here: " + _BEFORE_CONTENTS)
        + _left_out(len(table), len(order)),
        alt=f"Bars of the share of {'cells' if described else 'pixels'} by category; the largest: {', '.join(top)}.",
        draw=lambda: _draw_categories(
            [brief(table.names[it]) for it in order],
            [of_cells[it] for it in order] if described else None,
            [of_pixels[it] for it in order],
        ),
        table=Table(
            (
                *("category", "channel", "cells", "share of cells", "paper"),
                *("pixels", "share of pixels", "paper", *(f"cells, {split}" for split in SPLITS)),
            ),
            rows,
        ),
    )


def categories_in_cells(statistics: Statistics, table: CategoryTable) -> Figure | NotDrawn:
    """The share of the cells of one category that also hold another."""
    return _meeting(
        "categories_in_cells",
        "Categories that meet in a cell",
        "cells",
        statistics.joint_cells,
        statistics,
        table,
    )


def categories_in_pixels(statistics: Statistics, table: CategoryTable) -> Figure | NotDrawn:
    """The share of the pixels of one category that also hold another."""
    return _meeting(
        "categories_in_pixels",
        "Categories that meet in a pixel",
        "pixels",
        statistics.joint_pixels,
        statistics,
        table,
    )


def _meeting(
    name: str,
    title: str,
    unit: str,
    joint: npt.NDArray[np.int64],
    statistics: Statistics,
    table: CategoryTable,
) -> Figure | NotDrawn:
    if not statistics.cells_described.any():
        return NotDrawn(title, _BEFORE_CONTENTS if len(statistics.cells()) else _NO_CELLS)
    held = joint.diagonal()
    shares = joint / np.maximum(held, 1)[:, None]
    order = _order(held)[:_MOST_MEETING]
    order = sorted(it for it in order if held[it])
    pairs = [
        (int(joint[one, other]), one, other)
        for one in range(len(table))
        for other in range(len(table))
        if one < other and joint[one, other]
    ]
    pairs.sort(reverse=True)
    rows = [
        (
            table.names[one],
            table.names[other],
            f"{count:,}",
            percent(count / int(held[one])),
            percent(count / int(held[other])),
        )
        for count, one, other in pairs
    ]
    most = f"most often {brief(rows[0][0])} and {brief(rows[0][1])}, in {rows[0][2]}" if rows else "none meet"
    within = " Categories of one channel never meet in a pixel." if unit == "pixels" else ""
    return Figure(
        name=name,
        title=title,
        text=f"Of the {unit} that hold the category of the row, the share that also hold that of the column, in "
        f"percent.{within}{_left_out(int((held > 0).sum()), len(order))}",
        alt=f"Matrix of the {unit} in which two categories meet: {most} {unit if rows else ''}.",
        draw=lambda: _draw_meeting([brief(table.names[it]) for it in order], shares[np.ix_(order, order)]),
        table=Table(
            ("one", "other", f"{unit} with both", "share of the one's", "share of the other's"), rows
        ),
    )


def _pixels_holding(statistics: Statistics, table: CategoryTable) -> npt.NDArray[np.int64]:
    pixels = statistics.channel_pixels.sum(axis=0)
    held: npt.NDArray[np.int64] = pixels[list(table.channels), list(table.values)]
    return held


def _order(counts: npt.NDArray[np.int64] | npt.NDArray[np.float64]) -> list[int]:
    order: list[int] = np.argsort(-counts, kind="stable").tolist()
    return order


def _left_out(there: int, drawn: int) -> str:
    return (
        f" The {drawn} largest of {there} categories are drawn; the table holds all." if drawn < there else ""
    )


def _draw_labelled(shares: npt.NDArray[np.float64]) -> Drawing:
    figure = Drawing(figsize=(WIDTH_IN, 3.6), layout="constrained")
    axes = figure.add_subplot()
    low, high = np.array(EDGES_PERCENT[:-1]), np.array(EDGES_PERCENT[1:])
    axes.bar(low, 100 * shares, width=(high - low) * 0.94, align="edge", color=ACCENT)
    axes.set(xlim=(-0.5, 100), xlabel="labelled share of a cell, %", ylabel="share of the cells, %")
    axes.set_xticks(range(0, 101, 10))
    axes.grid(axis="y")
    return figure


def _draw_known(names: Sequence[str], shares: npt.NDArray[np.float64]) -> Drawing:
    figure = Drawing(figsize=(WIDTH_IN, 0.55 * len(names) + 1.2), layout="constrained")
    axes = figure.add_subplot()
    left = np.zeros(len(names))
    for kind, colour, of_kind in zip(
        ("category", "none", "unlabelled"), (ACCENT, SECOND, FAINT), 100 * shares, strict=True
    ):
        axes.barh(names, of_kind, left=left, color=colour, height=0.62, label=kind)
        left += of_kind
    axes.invert_yaxis()
    axes.set(xlim=(0, 100), xlabel="share of the pixels, %")
    figure.legend(loc="outside upper right", ncols=3)
    return figure


def _draw_categories(
    names: Sequence[str], of_cells: Sequence[float | None] | None, of_pixels: Sequence[float]
) -> Drawing:
    sides: list[tuple[str, Sequence[float], str, Callable[[float], str]]] = []
    if of_cells is not None:
        sides.append(("share of the cells, %", [it or 0.0 for it in of_cells], ACCENT, percent))
    sides.append(("share of the pixels, %", of_pixels, SECOND, lambda share: percent(share, 2)))
    figure = Drawing(figsize=(WIDTH_IN, 0.27 * len(names) + 0.9), layout="constrained")
    for place, (said, shares, colour, written) in enumerate(sides):
        axes = figure.add_subplot(1, len(sides), place + 1)
        rows = np.arange(len(names))
        axes.barh(rows, [100 * it for it in shares], color=colour, height=0.68)
        for row, share in enumerate(shares):
            axes.annotate(
                written(share),
                (100 * share, row),
                (4, 0),
                textcoords="offset points",
                va="center",
                fontsize=8.5,
                color=MUTED,
            )
        axes.set_yticks(rows, names if not place else [""] * len(names))
        axes.tick_params(axis="y", length=0)
        axes.invert_yaxis()
        axes.set(xlabel=said, xlim=(0, max(100 * max(shares) * 1.22, 0.01)))
        axes.set_xticks([tick for tick in axes.get_xticks() if tick <= 100])
        axes.grid(axis="x")
    return figure


def _draw_meeting(names: Sequence[str], shares: npt.NDArray[np.float64]) -> Drawing:
    side = 0.42 * len(names) + 1.8
    figure = Drawing(figsize=(WIDTH_IN, max(2.4, min(side, 9.5))), layout="constrained")
    axes = figure.add_subplot()
    draw_squares(axes, shares / max(1.0, float(shares.max(initial=0))))
    for row, column in np.ndindex(*shares.shape):
        if row != column and shares[row, column] > 0:
            axes.text(
                column + 0.5,
                row + 0.5,
                f"{100 * shares[row, column]:.0f}",
                ha="center",
                va="center",
                fontsize=7.5,
                color=INK,
            )
    middles = np.arange(len(names)) + 0.5
    axes.set_xticks(middles, names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(middles, names)
    axes.invert_yaxis()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def draw_squares(axes: Axes, depth: npt.NDArray[np.float64]) -> None:
    """Draws a matrix of squares, the deeper the greater; each lets the page's ground through.

    Args:
        axes: Where.
        depth: (rows, columns), 0 to 1.
    """
    colours = np.tile(to_rgba(ACCENT), (*depth.shape, 1))
    colours[..., 3] = _DEEPEST * np.clip(depth, 0, 1)
    axes.pcolormesh(colours, edgecolors="none")
