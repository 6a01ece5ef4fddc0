"""Figures of where the cells lie: by split (figure 2 of the paper), and how much is labelled there (figure 5)."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure as Drawing

from beam_pipeline.cells.cell import CHIP_SIZE_M, SPLITS
from beam_pipeline.dataset.cell_content import PIXELS
from beam_pipeline.maps.continents import continent_names, continents_of
from beam_pipeline.report.figure import Entry, Figure, NotDrawn, Table, percent, ratio
from beam_pipeline.report.statistics import UNKNOWN, PlacedCells, Statistics
from beam_pipeline.report.theme import COAST, SPLIT_COLOURS, WIDTH_IN
from beam_pipeline.report.world_map import MapFrame

CELL_KM2 = (CHIP_SIZE_M / 1000) ** 2
"""Area of a chip in square kilometres."""

_DENSITY = LinearSegmentedColormap.from_list("labelled", ["#d9730d", "#9a7d6b", "#3b7a9e", "#2064b4"])
"""From nothing to all; each is seen on white and on the dark page."""

_SPLIT_PIECES, _DENSITY_PIECES = 700, 400
"""Pieces of the longer side of a map: the coarser, the better a lone cell is seen."""

_NOBODY_SAYS = "The summaries of this dataset, of a version before 1.1, do not say what each cell holds."


def cells_by_split(statistics: Statistics) -> Figure | NotDrawn:
    """The map of cells by split."""
    cells = statistics.cells()
    title = "Cells by split"
    if not len(cells):
        return NotDrawn(title, "There is no cell with an example.")
    total = len(cells)
    counts = [int((cells.split == split).sum()) for split in range(len(SPLITS))]
    said = ", ".join(f"{split} {count:,}" for split, count in zip(SPLITS, counts, strict=True))
    unknown = cells.labelled[0] == UNKNOWN and not statistics.cells_described.any()
    which = "planned cells of the units that were written" if unknown else "cells with at least one example"
    return Figure(
        name="cells_by_split",
        title=title,
        text=f"The {which}, each by the split of its Sentinel-2 tile (figure 2 of the paper). A tile is never in two "
        f"splits. Continents are those of the nearest country.",
        alt=f"Map of {total:,} cells: {said}. Most lie in {_most(cells)}.",
        draw=lambda: _draw_splits(cells, counts),
        table=_continents(cells),
        csv=_all_cells(cells),
    )


def label_density(statistics: Statistics) -> Figure | NotDrawn:
    """The map of the labelled share of the cells."""
    cells = statistics.cells()
    title = "Where much is labelled"
    known = cells.labelled != UNKNOWN
    if not known.any():
        return NotDrawn(title, _NOBODY_SAYS if len(cells) else "There is no cell with an example.")
    known_cells = PlacedCells(
        *(array[known] for array in (cells.cell_id, cells.lon, cells.lat, cells.split, cells.labelled))
    )
    share = known_cells.labelled / PIXELS
    return Figure(
        name="label_density",
        title=title,
        text="The share of a cell's pixels that hold a category in any channel (figure 5 of the paper). Cells that "
        "would be drawn over each other share a mark, of their mean.",
        alt=f"Map of the labelled share of {len(share):,} cells: on average {percent(float(share.mean()))}, the lowest "
        f"{percent(float(share.min()))}, the highest {percent(float(share.max()))}.",
        draw=lambda: _draw_density(known_cells, share),
        table=_density_table(known_cells, share),
        csv=_all_cells(known_cells),
    )


def continent_counts(cells: PlacedCells) -> list[tuple[str, list[int]]]:
    """Returns the cells of each continent that has any, by split; the continent of most cells first."""
    found = continents_of(cells.lon, cells.lat)
    names = continent_names()
    counts = [
        (name, [int(((found == number) & (cells.split == split)).sum()) for split in range(len(SPLITS))])
        for number, name in enumerate(names)
    ]
    return sorted((one for one in counts if sum(one[1])), key=lambda one: -sum(one[1]))


def _most(cells: PlacedCells) -> str:
    return continent_counts(cells)[0][0]


def _continents(cells: PlacedCells) -> Table:
    rows: list[Sequence[Entry]] = []
    for name, counts in continent_counts(cells):
        of_all = ratio(sum(counts), len(cells))
        rows.append(
            (
                name,
                *(f"{it:,}" for it in counts),
                f"{sum(counts):,}",
                percent(of_all),
                f"{sum(counts) * CELL_KM2:,.0f}",
            )
        )
    return Table(("continent", *SPLITS, "all cells", "share", "km²"), rows)


def _all_cells(cells: PlacedCells) -> Table:
    continents = np.array(continent_names())[continents_of(cells.lon, cells.lat)].tolist()
    shares = ("" if it == UNKNOWN else it / PIXELS for it in cells.labelled.tolist())
    splits = [SPLITS[it] for it in cells.split.tolist()]
    columns = (cells.cell_id.tolist(), cells.lon.tolist(), cells.lat.tolist(), splits, continents, shares)
    return Table(
        ("cell_id", "lon", "lat", "split", "continent", "labelled_share"), [*zip(*columns, strict=True)]
    )


def _density_table(cells: PlacedCells, share: npt.NDArray[np.float64]) -> Table:
    found = continents_of(cells.lon, cells.lat)
    rows: list[Sequence[Entry]] = []
    for number, name in enumerate(continent_names()):
        of_one = share[found == number]
        if len(of_one):
            quarters = np.percentile(of_one, [25, 50, 75]).tolist()
            rows.append((name, f"{len(of_one):,}", percent(float(of_one.mean())), *map(percent, quarters)))
    rows.sort(key=lambda row: -int(str(row[1]).replace(",", "")))
    return Table(("continent", "cells", "mean", "lower quartile", "median", "upper quartile"), rows)


def _frame(cells: PlacedCells, pieces: int) -> tuple[MapFrame, Drawing]:
    frame = MapFrame.of_points(np.stack([cells.lon, cells.lat], axis=1), WIDTH_IN, pieces)
    size = (WIDTH_IN, float(np.clip(WIDTH_IN * frame.shape + 0.9, 3.4, 6.4)))
    return frame, Drawing(figsize=size, layout="constrained")


def _draw_splits(cells: PlacedCells, counts: Sequence[int]) -> Drawing:
    frame, figure = _frame(cells, _SPLIT_PIECES)
    axes = figure.add_subplot()
    frame.draw_on(axes, COAST)
    for number, split in enumerate(SPLITS):
        of_split = cells.split == number
        places = np.stack([cells.lon[of_split], cells.lat[of_split]], axis=1)
        drawn = np.unique(np.floor(places / frame.step), axis=0) * frame.step + frame.step / 2
        axes.scatter(
            frame.unrolled(drawn[:, 0]),
            drawn[:, 1],
            s=frame.mark,
            marker="s",
            color=SPLIT_COLOURS[split],
            linewidths=0,
            zorder=2 + number,
            rasterized=True,
        )
        # The legend's mark is a shape of its own: the cells' are pixels, and may be too small to be seen.
        axes.scatter(
            [],
            [],
            s=40,
            marker="s",
            color=SPLIT_COLOURS[split],
            linewidths=0,
            label=f"{split}: {counts[number]:,}",
        )
    figure.legend(loc="outside lower center", ncols=len(SPLITS))
    return figure


def _draw_density(cells: PlacedCells, share: npt.NDArray[np.float64]) -> Drawing:
    frame, figure = _frame(cells, _DENSITY_PIECES)
    axes = figure.add_subplot()
    frame.draw_on(axes, COAST)
    places = np.stack([cells.lon, cells.lat], axis=1)
    marks, of_mark = np.unique(np.floor(places / frame.step), axis=0, return_inverse=True)
    of_mark = of_mark.reshape(-1)
    mean = np.bincount(of_mark, share) / np.bincount(of_mark)
    drawn = marks * frame.step + frame.step / 2
    points = axes.scatter(
        frame.unrolled(drawn[:, 0]),
        drawn[:, 1],
        c=mean,
        s=frame.mark,
        marker="s",
        cmap=_DENSITY,
        vmin=0,
        vmax=1,
        linewidths=0,
        zorder=2,
        rasterized=True,
    )
    bar = figure.colorbar(points, ax=axes, location="bottom", shrink=0.5, aspect=40, pad=0.02)
    bar.set_label("labelled share of a cell")
    bar.ax.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    return figure
