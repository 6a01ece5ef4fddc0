"""Puts a unit together: its cells' labels, the images chosen for each year, and what became of the rest."""

import collections
import dataclasses
from collections.abc import Mapping, Sequence

from beam_pipeline.cells.cell import Cell
from beam_pipeline.dataset.outcomes import AssembledUnit, CellYearId, DeadLetter
from beam_pipeline.dataset.units import Unit
from beam_pipeline.imagery.chips import ChipImages, FilterSettings, select_images
from beam_pipeline.imagery.cog import SceneReader
from beam_pipeline.imagery.offset_check import OffsetCheck
from beam_pipeline.imagery.scenes import SceneList, SceneNote
from beam_pipeline.labels.label_image import CellLabel
from beam_pipeline.records.example import CellYear
from beam_pipeline.runtime.faults import Failure


@dataclasses.dataclass(frozen=True)
class YearScenes:
    """The scenes of a unit's tile in one year.

    Attributes:
        year: The year.
        scenes: The scene list, in the order in which it is walked; None after a failure.
        failure: Why there is no list, or None.
    """

    year: int
    scenes: SceneList | None
    failure: Failure | None = None


def assemble_unit(
    unit: Unit,
    years: Sequence[YearScenes],
    labels: Sequence[CellLabel],
    reader: SceneReader,
    filters: FilterSettings,
    allow_single: bool,
    offsets: OffsetCheck | None = None,
) -> AssembledUnit:
    """Reads a unit's images and joins them to its labels, year by year.

    Args:
        unit: The unit.
        years: The scenes of each year.
        labels: The label of each of the unit's cells.
        reader: Reads chips from scenes.
        filters: What makes a chip unusable.
        allow_single: Whether a cell-year with one clear date is kept.
        offsets: As `select_images`.

    Returns:
        Every cell-year of the unit exactly once: written, rejected or a dead letter.

    Raises:
        ValueError: A cell has no label, or more than one: the runner lost or doubled records.
        Fault: As `select_images`.
    """
    by_cell = {label.cell_id: label for label in labels}
    if len(labels) != len(unit.cells) or by_cell.keys() != {cell.cell_id for cell in unit.cells}:
        raise ValueError(f"{len(labels)} labels arrived for the {len(unit.cells)} cells of {unit.name}")
    assembly = Assembly(unit, by_cell, allow_single)
    for of_year in sorted(years, key=lambda of_year: of_year.year):
        labelled = assembly.bury_failures(of_year)
        if of_year.scenes is None:
            continue
        assembly.note_year(of_year.year, of_year.scenes)
        chips = [cell.chip for cell in labelled]
        chosen = select_images(reader, of_year.scenes.scenes, chips, filters, offsets)
        for cell, chip in zip(labelled, chosen, strict=True):
            assembly.add(cell, of_year.year, of_year.scenes, chip)
    return assembly.finished(len(years))


class Assembly:
    """A unit as far as it is known.

    Args:
        unit: The unit.
        labels: The label of each of its cells.
        allow_single: Whether a cell-year with one clear date is kept.
    """

    def __init__(self, unit: Unit, labels: Mapping[int, CellLabel], allow_single: bool) -> None:
        self._unit = unit
        self._labels = labels
        self._allow_single = allow_single
        self._cell_years: list[CellYear] = []
        self._rejections: dict[str, list[CellYearId]] = {}
        self._scene_rejections: collections.Counter[str] = collections.Counter()
        self._years_without_items: list[int] = []
        self._scenes_by_year: dict[int, int] = {}
        self._notes: set[SceneNote] = set()
        self._dead_letters: list[DeadLetter] = []

    def bury_failures(self, of_year: YearScenes) -> list[Cell]:
        """Makes dead letters of the cells without a label, or of all without a scene list; returns the others."""
        labelled = []
        for cell in self._unit.cells:
            failure = self._labels[cell.cell_id].failure
            if failure is not None:
                self.bury(cell, of_year.year, "labels", failure)
            elif of_year.scenes is None:
                self.bury(
                    cell, of_year.year, "find_scenes", of_year.failure or ("unexpected", "no scene list")
                )
            else:
                labelled.append(cell)
        return labelled

    def note_year(self, year: int, scenes: SceneList) -> None:
        """Notes what holds for a whole year."""
        self._scenes_by_year[year] = len(scenes.scenes)
        if not scenes.found:
            self._years_without_items.append(year)
        self._notes.update(scenes.refused)

    def add(self, cell: Cell, year: int, scenes: SceneList, chip: ChipImages) -> None:
        """Notes what was found for a cell in a year."""
        self._scene_rejections.update(chip.rejections)
        self._notes.update(chip.notes)
        if chip.failure is not None:
            self.bury(cell, year, "read_chips", chip.failure)
        elif reason := _rejection(len(chip.images), scenes, self._allow_single):
            self.reject(cell, year, reason)
        else:
            label = self._labels[cell.cell_id].unpack()
            self._cell_years.append(CellYear(cell, year, chip.images, label))

    def reject(self, cell: Cell, year: int, reason: str) -> None:
        """Notes why a cell has no example of a year."""
        self._rejections.setdefault(reason, []).append((cell.cell_id, year))

    def finished(self, years: int) -> AssembledUnit:
        """Returns all of it, in an order that depends on nothing else."""
        dropped: collections.Counter[str] = collections.Counter()
        for label in self._labels.values():
            dropped.update(label.dropped)
        return AssembledUnit(
            unit=self._unit,
            years=years,
            cell_years=tuple(
                sorted(self._cell_years, key=lambda example: (example.cell.cell_id, example.year))
            ),
            rejections=self._rejections,
            scene_rejections=dict(self._scene_rejections),
            dropped_geometries=dict(dropped),
            years_without_items=tuple(self._years_without_items),
            notes=tuple(sorted(self._notes)),
            dead_letters=tuple(self._dead_letters),
            scenes_by_year=self._scenes_by_year,
            coastal=frozenset(label.cell_id for label in self._labels.values() if label.coastal),
        )

    def bury(self, cell: Cell, year: int, stage: str, failure: Failure) -> None:
        """Makes a dead letter of a cell-year."""
        self._dead_letters.append(DeadLetter(self._unit.name, cell.cell_id, year, stage, *failure))


def _rejection(images: int, scene_list: SceneList, allow_single: bool) -> str | None:
    """Returns why a cell-year is not written, or None when it is."""
    if not scene_list.found:
        return "no_items"
    if not scene_list.scenes:
        return "no_usable_item"
    if images == 0:
        return "no_clear_date"
    if images == 1 and not allow_single:
        return "one_clear_date"
    return None
