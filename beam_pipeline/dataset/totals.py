"""The summaries of a dataset's units, and what their cells add up to.

What a summary says of each cell is added up as it comes and not kept: a dataset has 137,045 cells.
"""

import bisect
import collections
import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from beam_pipeline.cells.cell import SPLITS, Split
from beam_pipeline.dataset.cell_content import PIXELS, CellContent
from beam_pipeline.dataset.summary import UnitSummary

EDGES_PERCENT = (0, 1, *range(5, 101, 5))
"""Edges of the histogram of the labelled share of a cell; a bin holds its lower edge, the last one both."""

_EDGES = tuple(percent * PIXELS for percent in EDGES_PERCENT)


class Totals:
    """Adds up summaries.

    Attributes:
        summaries: Those that were added, in that order, without their contents.
    """

    def __init__(self) -> None:
        self.summaries: list[UnitSummary] = []
        self._cells_holding: dict[Split, collections.Counter[tuple[int, int]]] = {
            split: collections.Counter() for split in SPLITS
        }
        self._labelled: dict[Split, list[int]] = {split: [0] * (len(_EDGES) - 1) for split in SPLITS}
        self._images_by_month: dict[Split, collections.Counter[int]] = {
            split: collections.Counter() for split in SPLITS
        }

    @classmethod
    def of(cls, summaries: Iterable[UnitSummary]) -> "Totals":
        """Adds up summaries."""
        totals = cls()
        for summary in summaries:
            totals.add(summary)
        return totals

    def add(self, summary: UnitSummary) -> None:
        """Adds a unit's summary; what a unit that failed says of cells does not count."""
        for cell in (summary.contents or ()) if summary.status == "written" else ():
            self._add_cell(summary.split, cell)
        self.summaries.append(dataclasses.replace(summary, contents=None))

    def merge(self, other: "Totals") -> None:
        """Adds what others gave, whose summaries come behind ours."""
        self.summaries += other.summaries
        for split in SPLITS:
            self._cells_holding[split].update(other._cells_holding[split])
            self._images_by_month[split].update(other._images_by_month[split])
            both = zip(self._labelled[split], other._labelled[split], strict=True)
            self._labelled[split] = [ours + theirs for ours, theirs in both]

    def cells_holding(self, channel: int, labels: Mapping[str, int]) -> dict[Split, dict[str, int]]:
        """Returns the number of cells that hold each category of a channel, by split.

        Args:
            channel: Its number.
            labels: The values of its categories, by name.
        """
        return {
            split: {name: cells[channel, value] for name, value in labels.items()}
            for split, cells in self._cells_holding.items()
        }

    def labelled_cells(self) -> dict[str, Any]:
        """Returns the histogram of the share of a cell's pixels that hold a category, by split."""
        return {"edges_percent": list(EDGES_PERCENT), "cells_by_split": self._labelled}

    def images_by_month(self) -> dict[Split, dict[str, int]]:
        """Returns the number of images by split and month, "01" to "12"."""
        return {
            split: {f"{month:02d}": months[month] for month in range(1, 13)}
            for split, months in self._images_by_month.items()
        }

    def _add_cell(self, split: Split, cell: CellContent) -> None:
        self._cells_holding[split].update(cell.categories)
        place = bisect.bisect_right(_EDGES, 100 * cell.labelled_pixels) - 1
        self._labelled[split][min(place, len(_EDGES) - 2)] += 1
        self._images_by_month[split].update(month for _, month, _ in cell.images)
