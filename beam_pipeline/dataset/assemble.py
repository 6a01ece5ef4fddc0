"""Puts a unit together: its cells' labels, the images chosen for each year, and what became of the rest."""

import collections
import dataclasses
from collections.abc import Sequence

from beam_pipeline.cells.cell import Cell
from beam_pipeline.dataset.outcomes import AssembledUnit, CellYearId, DeadLetter
from beam_pipeline.dataset.units import Unit
from beam_pipeline.imagery.chips import FilterSettings, select_images
from beam_pipeline.imagery.cog import SceneReader
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
) -> AssembledUnit:
    """Reads a unit's images and joins them to its labels, year by year.

    Args:
        unit: The unit.
        years: The scenes of each year.
        labels: The label of each of the unit's cells.
        reader: Reads chips from scenes.
        filters: What makes a chip unusable.
        allow_single: Whether a cell-year with one clear date is kept.

    Returns:
        Every cell-year of the unit exactly once: written, rejected or a dead letter.

    Raises:
        ValueError: A cell has no label, or more than one: the runner lost or doubled records.
    """
    by_cell = {label.cell_id: label for label in labels}
    if len(labels) != len(unit.cells) or by_cell.keys() != {cell.cell_id for cell in unit.cells}:
        raise ValueError(f"{len(labels)} labels arrived for the {len(unit.cells)} cells of {unit.name}")

    cell_years: list[CellYear] = []
    rejections: dict[str, list[CellYearId]] = {}
    scene_rejections: collections.Counter[str] = collections.Counter()
    dropped: collections.Counter[str] = collections.Counter()
    years_without_items: list[int] = []
    notes: set[SceneNote] = set()
    dead_letters: list[DeadLetter] = []

    def bury(cell: Cell, year: int, stage: str, failure: Failure) -> None:
        dead_letters.append(DeadLetter(unit.name, cell.cell_id, year, stage, *failure))

    for label in labels:
        dropped.update(label.dropped)
    for of_year in sorted(years, key=lambda of_year: of_year.year):
        year, scene_list = of_year.year, of_year.scenes
        labelled = []
        for cell in unit.cells:
            failure = by_cell[cell.cell_id].failure
            if failure is not None:
                bury(cell, year, "labels", failure)
            elif scene_list is None:
                bury(cell, year, "find_scenes", of_year.failure or ("unexpected", "no scene list"))
            else:
                labelled.append(cell)
        if scene_list is None:
            continue
        if not scene_list.found:
            years_without_items.append(year)
        notes.update(scene_list.refused)
        chosen = select_images(reader, scene_list.scenes, [cell.chip for cell in labelled], filters)
        for cell, chip in zip(labelled, chosen, strict=True):
            scene_rejections.update(chip.rejections)
            notes.update(chip.notes)
            if chip.failure is not None:
                bury(cell, year, "read_chips", chip.failure)
                continue
            reason = _rejection(len(chip.images), scene_list, allow_single)
            if reason is not None:
                rejections.setdefault(reason, []).append((cell.cell_id, year))
                continue
            cell_years.append(CellYear(cell, year, chip.images, by_cell[cell.cell_id].unpack()))
    return AssembledUnit(
        unit=unit,
        years=len(years),
        cell_years=tuple(sorted(cell_years, key=lambda example: (example.cell.cell_id, example.year))),
        rejections=rejections,
        scene_rejections=dict(scene_rejections),
        dropped_geometries=dict(dropped),
        years_without_items=tuple(years_without_items),
        notes=tuple(sorted(notes)),
        dead_letters=tuple(dead_letters),
    )


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
