"""The numbers at the head of a report, and beside them those of the paper."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from beam_pipeline.cells.cell import SPLITS
from beam_pipeline.records.categories import CategoryTable
from beam_pipeline.report import paper
from beam_pipeline.report.figure import Entry, Table, percent, ratio
from beam_pipeline.report.label_figures import share_above_90, share_below_1
from beam_pipeline.report.place_figures import CELL_KM2, continent_counts
from beam_pipeline.report.statistics import UNKNOWN, Statistics

_NOT_KNOWN = "not known"


@dataclasses.dataclass(frozen=True)
class KeyNumbers:
    """The numbers at the head of a report.

    Attributes:
        lead: The dataset in a sentence or two.
        tiles: (name, value) of the most important ones.
        beside_paper: Ours and the paper's.
        splits: Counts by split.
    """

    lead: str
    tiles: Sequence[tuple[str, str]]
    beside_paper: Table
    splits: Table


def key_numbers(
    statistics: Statistics, table: CategoryTable, years: Sequence[int], complete: bool | None
) -> KeyNumbers:
    """Chooses the key numbers of a dataset.

    Args:
        statistics: The dataset's.
        table: Its categories.
        years: Its years.
        complete: Whether it says that nothing is missing of it; None where it says nothing.
    """
    total = statistics.total
    continents = continent_counts(statistics.cells())
    spanned = _years(years)
    area = total["cells"] * CELL_KM2
    state = {
        True: " It is complete: every planned unit is written and nothing failed.",
        False: " It is not complete: some of the plan failed or was not reached.",
        None: "",
    }[complete]
    imported = (
        f" The bounds of {total['cells_inexact']:,} cells are not exact." if total["cells_inexact"] else ""
    )
    lead = (
        f"{total['cells']:,} cells of 1.92 km with {total['images']:,} Sentinel-2 images of {spanned} and labels of "
        f"{len(table)} categories from OpenStreetMap.{state}{imported}"
    )
    tiles = [
        ("cells", f"{total['cells']:,}"),
        ("images", f"{total['images']:,}"),
        ("pairs of two dates", f"{total['pairs']:,}"),
        ("km² of chips", f"{area:,.0f}"),
        ("continents", str(len(continents))),
        ("GB", f"{total['num_bytes'] / 1e9:,.2f}"),
    ]
    return KeyNumbers(lead, tiles, _beside_paper(statistics, table, spanned), _splits(statistics))


def _beside_paper(statistics: Statistics, table: CategoryTable, spanned: str) -> Table:
    total = statistics.total
    cells = statistics.cells()
    labelled = cells.labelled[cells.labelled != UNKNOWN].astype(np.int64)
    rows: list[Sequence[Entry]] = [
        ("cells", f"{total['cells']:,}", f"{paper.CELLS:,}"),
        ("images", f"{total['images']:,}", f"{paper.IMAGES:,}"),
        ("categories", len(table), paper.CATEGORIES),
        ("years", spanned, paper.YEARS),
        ("size, GB", f"{total['num_bytes'] / 1e9:,.2f}", paper.GIGABYTES),
        (
            "kB an image",
            f"{total['num_bytes'] / 1e3 / total['images']:,.0f}" if total["images"] else "–",
            f"{paper.GIGABYTES * 1e6 / paper.IMAGES:,.0f}",
        ),
        ("area of a cell, km²", f"{CELL_KM2:.1f}", paper.CELL_KM2),
    ]
    for split, share in paper.SPLIT_SHARES.items():
        ours = ratio(statistics.counts[split]["cells"], total["cells"])
        rows.append((f"cells in {split}", percent(ours), percent(share, 0)))
    below = percent(share_below_1(labelled)) if len(labelled) else _NOT_KNOWN
    above = percent(share_above_90(labelled)) if len(labelled) else _NOT_KNOWN
    rows += [
        ("cells with less than 1 % labelled", below, percent(paper.LABELLED_BELOW_1, 0)),
        ("cells with more than 90 % labelled", above, percent(paper.LABELLED_ABOVE_90, 0)),
    ]
    rows += [
        (f"cells that hold {name}", _cells(statistics, table, name), it)
        for name, it in paper.CELLS_HOLDING.items()
    ]
    rows += [
        (f"pixels that hold {name}", _pixels(statistics, table, name), it)
        for name, it in paper.PIXELS_HOLDING.items()
    ]
    return Table(("", "this dataset", "the paper"), rows)


def _splits(statistics: Statistics) -> Table:
    names = (
        *("cells_planned", "cells", "cells_unlabeled", "cells_coastal", "cells_inexact"),
        *("examples", "pairs", "singles", "images"),
    )
    known = statistics.cells_described.any() or not statistics.total["cells"]
    rows: list[Sequence[Entry]] = []
    for name in names:
        said = known or name not in ("cells_coastal", "cells_inexact")
        counts = [statistics.counts[split][name] for split in SPLITS]
        values = [f"{it:,}" if said else _NOT_KNOWN for it in (*counts, sum(counts))]
        rows.append((_SAID[name], *values))
    return Table(("", *SPLITS, "all"), rows)


_SAID = {
    "cells_planned": "cells planned",
    "cells": "cells with an example",
    "cells_unlabeled": "of these, nothing is mapped",
    "cells_coastal": "of these, a coastline passes through",
    "cells_inexact": "of these, bounds are not exact",
    "examples": "examples (cell-years)",
    "pairs": "pairs",
    "singles": "single images",
    "images": "images",
}


def _cells(statistics: Statistics, table: CategoryTable, name: str) -> str:
    described = int(statistics.cells_described.sum())
    if name not in table.names:
        return "no such category"
    held = int(statistics.cells_holding.sum(axis=0)[table.names.index(name)])
    return percent(held / described) if described else _NOT_KNOWN


def _pixels(statistics: Statistics, table: CategoryTable, name: str) -> str:
    if name not in table.names:
        return "no such category"
    place = table.names.index(name)
    pixels = statistics.channel_pixels.sum(axis=0)
    channel = table.channels[place]
    return percent(ratio(int(pixels[channel, table.values[place]]), int(pixels[channel].sum())))


def _years(years: Sequence[int]) -> str:
    if not years:
        return "no year"
    low, high = min(years), max(years)
    if len({*years}) == high - low + 1:
        return f"{low}" if low == high else f"{low}–{high}"
    return ", ".join(map(str, sorted({*years})))
