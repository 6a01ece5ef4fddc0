"""The figures of a dataset, added up from the summaries of its units: what is kept of a cell is its place and a count.

Units are added in any order and parts are merged in any order; the result is the same.
"""

import collections
import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from beam_pipeline.cells.cell import SPLITS, Cell
from beam_pipeline.dataset.cell_content import CellContent
from beam_pipeline.dataset.summary import UnitSummary
from beam_pipeline.dataset.units import Unit
from beam_pipeline.labels.label_image import CHANNELS
from beam_pipeline.records.categories import CategoryTable
from beam_pipeline.records.schema import SCL_PIXELS
from beam_pipeline.report.picks import Pick, best_picks, picks_of, unit_rank

UNKNOWN = -1
"""The labelled pixels of a cell of which the summaries do not say what it holds, as before version 1.1."""

BAD_BINS = 100
"""Bins of the share of bad pixels, of one percent each."""

MOST_PROBLEMS = 100
"""Summaries whose problem is kept whole; the others are only counted."""

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class PlacedCells:
    """Cells with examples, one value of each array a cell.

    Attributes:
        cell_id: (N,) int64.
        lon: (N,) float64, degrees, -180 to 180; of the cell's middle.
        lat: (N,) float64, degrees.
        split: (N,) uint8, the place of its split in `SPLITS`.
        labelled: (N,) int32, pixels that hold a category, `UNKNOWN` where nobody says.
    """

    cell_id: Ints
    lon: Floats
    lat: Floats
    split: npt.NDArray[np.uint8]
    labelled: npt.NDArray[np.int32]

    def __len__(self) -> int:
        """Returns the number of cells."""
        return len(self.cell_id)

    def sorted(self) -> "PlacedCells":
        """Returns the same cells in the order of their ids."""
        order = np.argsort(self.cell_id, kind="stable")
        return PlacedCells(*(getattr(self, field.name)[order] for field in dataclasses.fields(self)))

    @classmethod
    def joined(cls, parts: Sequence["PlacedCells"]) -> "PlacedCells":
        """Returns the cells of all parts, in turn."""
        return cls(
            *(
                np.concatenate([getattr(part, field.name) for part in (NO_CELLS, *parts)])
                for field in dataclasses.fields(cls)
            )
        )


NO_CELLS = PlacedCells(
    np.zeros(0, np.int64), np.zeros(0), np.zeros(0), np.zeros(0, np.uint8), np.zeros(0, np.int32)
)


class Statistics:
    """Adds up a dataset.

    Args:
        table: The categories.
        picks: How many examples are picked.

    Attributes:
        counts: By split, counts by name: those of `UnitSummary`, and `units_planned`, `units_written`,
            `units_failed`, `units_missing`, `units_unreadable` and `cells_planned`.
        channel_pixels: (3 splits, 3 channels, 256) int64, pixels by value; a cell counts once.
        cells_described: (3 splits,) int64, cells of which it is known what they hold.
        cells_holding: (3 splits, K) int64, of these the cells that hold each category.
        joint_cells: (K, K) int64, cells that hold both categories.
        joint_pixels: (K, K) int64, pixels that hold both.
        images: Images by (year, month, whether north of the equator); month 0 where the date says none.
        bad_shares: (`BAD_BINS`,) int64, images by the share of their bad pixels; the last bin holds 100 % too.
        rejections: Cell-years left out, by reason.
        scene_rejections: Looks at a scene of a chip that the filters refused, by reason.
        dropped_geometries: OSM geometries that could not be drawn, by reason.
        dead_letters: Failures by (stage, reason).
        unusable_scenes: Scenes that are of no use for good, by reason; one counts once for each unit of its tile.
        problems: (unit, what is wrong) of summaries that cannot be used, the first `MOST_PROBLEMS`.
        unplaced: Cells whose bounds lie nowhere on the Earth.
        picks: The examples that are shown, by hash.
        refusing: By reason, (hash, unit) of a unit that refused scenes for it: the smallest.
    """

    def __init__(self, table: CategoryTable, picks: int) -> None:
        kinds = len(table)
        self._table = table
        self._most_picks = picks
        self._parts: list[PlacedCells] = []
        self.counts = {split: collections.Counter[str]() for split in SPLITS}
        self.channel_pixels = np.zeros((len(SPLITS), CHANNELS, 256), np.int64)
        self.cells_described = np.zeros(len(SPLITS), np.int64)
        self.cells_holding = np.zeros((len(SPLITS), kinds), np.int64)
        self.joint_cells = np.zeros((kinds, kinds), np.int64)
        self.joint_pixels = np.zeros((kinds, kinds), np.int64)
        self.images = collections.Counter[tuple[int, int, bool]]()
        self.bad_shares = np.zeros(BAD_BINS, np.int64)
        self.rejections = collections.Counter[str]()
        self.scene_rejections = collections.Counter[str]()
        self.dropped_geometries = collections.Counter[str]()
        self.dead_letters = collections.Counter[tuple[str, str]]()
        self.unusable_scenes = collections.Counter[str]()
        self.problems: list[tuple[str, str]] = []
        self.unplaced = 0
        self.picks: list[Pick] = []
        self.refusing: dict[str, tuple[int, str]] = {}

    def add(self, unit: Unit, summary: UnitSummary) -> None:
        """Adds a unit that is done or failed."""
        counts = self._plan(unit)
        self.dead_letters.update((letter.stage, letter.reason) for letter in summary.dead_letters)
        if summary.status == "failed":
            counts["units_failed"] += 1
            return
        counts["units_written"] += 1
        for name in ("cells_unlabeled", "examples", "pairs", "singles", "images", "num_bytes"):
            counts[name] += getattr(summary, name)
        counts["cells"] += summary.cells_with_examples
        counts["cells_coastal"] += len(summary.coastal_cells)
        counts["cells_inexact"] += len(summary.inexact_cells)
        self.rejections.update(summary.rejection_counts)
        self.scene_rejections.update(summary.scene_rejections)
        self.dropped_geometries.update(summary.dropped_geometries)
        self.unusable_scenes.update(note.reason for note in summary.notes)
        split = SPLITS.index(unit.split)
        for channel, pixels in enumerate(summary.label_pixels):
            for value, count in pixels.items():
                if 0 <= value < 256:
                    self.channel_pixels[split, channel, value] += count
        self._add_cells(unit, summary)
        for pick in picks_of(unit, summary, self._most_picks):
            self.picks = best_picks([*self.picks, pick], self._most_picks)
        for reason in summary.scene_rejections:
            self._refuse(reason, (unit_rank(unit, reason), unit.name))

    def miss(self, unit: Unit) -> None:
        """Adds a unit that was never tried."""
        self._plan(unit)["units_missing"] += 1

    def complain(self, unit: Unit, problem: str) -> None:
        """Adds a unit whose summary cannot be used."""
        self._plan(unit)["units_unreadable"] += 1
        self._note(unit.name, problem)

    def merge(self, other: "Statistics") -> None:
        """Adds what another part of the dataset gave."""
        for split in SPLITS:
            self.counts[split].update(other.counts[split])
        for name in _ARRAYS:
            getattr(self, name).__iadd__(getattr(other, name))
        for name in _COUNTERS:
            getattr(self, name).update(getattr(other, name))
        self._parts += other._parts
        self.unplaced += other.unplaced
        for problem in other.problems:
            self._note(*problem)
        self.picks = best_picks([*self.picks, *other.picks], self._most_picks)
        for reason, ranked in other.refusing.items():
            self._refuse(reason, ranked)

    def cells(self) -> PlacedCells:
        """Returns the cells with examples, by id; of a version before 1.1 all cells of the units with a shard."""
        return PlacedCells.joined(self._parts).sorted()

    @property
    def total(self) -> "collections.Counter[str]":
        """The counts of all splits together."""
        return sum(self.counts.values(), collections.Counter())

    def _plan(self, unit: Unit) -> "collections.Counter[str]":
        counts = self.counts[unit.split]
        counts["units_planned"] += 1
        counts["cells_planned"] += len(unit.cells)
        return counts

    def _note(self, name: str, problem: str) -> None:
        # By name, so that the same ones are kept whatever the order.
        self.problems = sorted([*self.problems, (name, problem)])[:MOST_PROBLEMS]

    def _refuse(self, reason: str, ranked: tuple[int, str]) -> None:
        self.refusing[reason] = min(ranked, self.refusing.get(reason, ranked))

    def _add_cells(self, unit: Unit, summary: UnitSummary) -> None:
        split = SPLITS.index(unit.split)
        if summary.contents is None:
            self._place(unit.cells, split, [UNKNOWN] * len(unit.cells))
            return
        of_id = {cell.cell_id: cell for cell in unit.cells}
        planned = [of_id[content.cell_id] for content in summary.contents]
        self._place(planned, split, [content.labelled_pixels for content in summary.contents])
        self.cells_described[split] += len(summary.contents)
        if summary.contents:
            self._add_contents(split, summary.contents)
        for cell, content in zip(planned, summary.contents, strict=True):
            north = cell.min_lat + cell.max_lat >= 0
            self.images.update((year, month, north) for year, month, _ in content.images)
        bad = np.array([bad for content in summary.contents for *_, bad in content.images], np.int64)
        place = np.minimum(bad * BAD_BINS // SCL_PIXELS, BAD_BINS - 1)
        self.bad_shares += np.bincount(place, minlength=BAD_BINS)

    def _place(self, cells: Sequence[Cell], split: int, labelled: Sequence[int]) -> None:
        bounds = np.array([(it.min_lon, it.max_lon, it.min_lat, it.max_lat) for it in cells], np.float64)
        west, east, south, north = bounds.reshape(-1, 4).T
        lon, lat = ((west + east) / 2 + 180) % 360 - 180, (south + north) / 2
        on_earth = (np.abs(lat) <= 90) & (np.abs(west) <= 360) & (np.abs(east) <= 540)
        self.unplaced += int((~on_earth).sum())
        placed = PlacedCells(
            np.array([cell.cell_id for cell in cells], np.int64),
            lon,
            lat,
            np.full(len(cells), split, np.uint8),
            np.array(labelled, np.int32),
        )
        self._parts.append(
            PlacedCells(*(getattr(placed, field.name)[on_earth] for field in dataclasses.fields(placed)))
        )

    def _add_contents(self, split: int, contents: Sequence[CellContent]) -> None:
        rows = np.array([row for content in contents for row in content.labels], np.int64)  # (R, 4)
        owner = np.repeat(np.arange(len(contents)), [len(content.labels) for content in contents])
        held = np.zeros(
            (len(rows), len(self._table))
        )  # (R, K): floats hold these sums exactly, and multiply fast
        for index, (channel, value) in enumerate(zip(self._table.channels, self._table.values, strict=True)):
            held[:, index] = rows[:, channel] == value
        self.joint_pixels += (held.T @ (held * rows[:, 3:])).astype(np.int64)
        of_cell = np.zeros((len(contents), len(self._table)))
        np.maximum.at(of_cell, owner, held)
        self.joint_cells += (of_cell.T @ of_cell).astype(np.int64)
        self.cells_holding[split] += of_cell.sum(axis=0).astype(np.int64)


_ARRAYS = (
    "channel_pixels",
    "cells_described",
    "cells_holding",
    "joint_cells",
    "joint_pixels",
    "bad_shares",
)
_COUNTERS = (
    "images",
    "rejections",
    "scene_rejections",
    "dropped_geometries",
    "dead_letters",
    "unusable_scenes",
)
