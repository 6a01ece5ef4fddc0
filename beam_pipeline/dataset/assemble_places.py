"""Puts a unit of labelled places together: one image of each, of whichever year."""

import datetime
import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from beam_pipeline.cells.cell import Cell, Place
from beam_pipeline.dataset.assemble import Assembly, YearScenes
from beam_pipeline.dataset.outcomes import AssembledUnit
from beam_pipeline.dataset.units import Unit
from beam_pipeline.imagery.chips import ChipImages, FilterSettings, select_images
from beam_pipeline.imagery.cog import SceneReader
from beam_pipeline.imagery.offset_check import OffsetCheck
from beam_pipeline.imagery.scenes import Scene, SceneList
from beam_pipeline.labels.label_image import CHANNELS, SIZE, UNLABELED, CellLabel
from beam_pipeline.runtime.faults import Failure
from beam_pipeline.runtime.keyed_hash import keyed_hash

OTHER_YEAR = "patch_of_another_year"
"""Why a place has no example of a year in which it could have had one: it has its image already."""

_NOTHING = ChipImages((), {}, (), None)
_NOON = datetime.timedelta(hours=12)


class PlaceImages:
    """Finds an image of each place.

    Args:
        reader: Reads chips from scenes.
        filters: What makes a chip unusable.
        offsets: As `select_images`.
    """

    def __init__(
        self, reader: SceneReader, filters: FilterSettings, offsets: OffsetCheck | None = None
    ) -> None:
        self._reader = reader
        self._filters = filters
        self._offsets = offsets

    def random(
        self, cells: Sequence[Cell], years: Mapping[int, SceneList], seed: int
    ) -> dict[int, list[ChipImages]]:
        """Takes the first clear date in keyed order: of years, drawn for each place; in a year, that of all cells.

        Args:
            cells: Places of one tile.
            years: The scenes of each year, in walking order.
            seed: Of the draw.

        Returns:
            By cell id what was found: of each year that was looked into, the last of which has the image or a failure.
        """
        found: dict[int, list[ChipImages]] = {cell.cell_id: [] for cell in cells}
        left = {cell.cell_id: (cell, _drawn_years(cell, years, seed)) for cell in cells}
        for turn in range(len(years)):
            by_year: dict[int, list[Cell]] = {}
            for cell, order in left.values():
                by_year.setdefault(order[turn], []).append(cell)
            for year, of_year in sorted(by_year.items()):
                for cell, chip in zip(of_year, self._select(years[year].scenes, of_year), strict=True):
                    found[cell.cell_id].append(chip)
                    if chip.images or chip.failure is not None:
                        del left[cell.cell_id]
        return found

    def nearest(self, cells: Sequence[Cell], years: Mapping[int, SceneList]) -> dict[int, list[ChipImages]]:
        """Takes the clear date nearest to the place's own.

        Args and returns: as `random`; all years are looked into at once.
        """
        scenes = [scene for of_year in years.values() for scene in of_year.scenes]
        found: dict[int, list[ChipImages]] = {}
        for date, group in itertools.groupby(sorted(cells, key=_date), key=_date):
            of_date = list(group)
            for cell, chip in zip(of_date, self._select(_by_nearness(scenes, date), of_date), strict=True):
                found[cell.cell_id] = [chip]
        return found

    def _select(self, scenes: Sequence[Scene], cells: Sequence[Cell]) -> list[ChipImages]:
        chips = [cell.chip for cell in cells]
        return select_images(self._reader, scenes, chips, self._filters, self._offsets, wanted=1)


def assemble_places(
    unit: Unit, years: Sequence[YearScenes], images: PlaceImages, seed: int, *, nearest: bool
) -> AssembledUnit:
    """Reads an image of each place of a unit.

    Args:
        unit: The unit; each cell has a place.
        years: The scenes of each year.
        images: Finds them.
        seed: Of random dates.
        nearest: Whether each place gets the clear date nearest to its own.

    Returns:
        Every place and year exactly once: written in at most one, else rejected or a dead letter.

    Raises:
        Fault: As `select_images`.
    """
    labels = {cell.cell_id: CellLabel.pack(cell.cell_id, _UNLABELLED, {}) for cell in unit.cells}
    assembly = Assembly(unit, labels, allow_single=True)
    failure = next((it.failure for it in years if it.scenes is None), None)
    if failure is not None or any(it.scenes is None for it in years):
        # Which date is drawn, or nearest, is not known then: another must not stand in.
        for of_year in years:
            for cell in unit.cells:
                assembly.bury(cell, of_year.year, "find_scenes", failure or ("unexpected", "no scene list"))
        return assembly.finished(len(years))
    lists = {it.year: it.scenes for it in sorted(years, key=lambda it: it.year) if it.scenes is not None}
    for year, scenes in lists.items():
        assembly.note_year(year, scenes)
    found = images.nearest(unit.cells, lists) if nearest else images.random(unit.cells, lists, seed)
    for cell in unit.cells:
        for year, chip in _by_year(found[cell.cell_id], lists):
            if chip is None:
                assembly.reject(cell, year, OTHER_YEAR)
            else:
                assembly.add(cell, year, lists[year], chip)
    return assembly.finished(len(years))


def _by_year(
    found: Sequence[ChipImages], years: Mapping[int, SceneList]
) -> Iterator[tuple[int, ChipImages | None]]:
    """Says what a place has in each year: what was found, nothing, or None beside the year of its image.

    What scenes were passed over on the way is told with the first of them.
    """
    last = found[-1]
    passed: dict[str, int] = {}
    for chip in found:
        for reason, count in chip.rejections.items():
            passed[reason] = passed.get(reason, 0) + count
    notes = tuple(note for chip in found for note in chip.notes)
    whole = ChipImages(last.images, passed, notes, last.failure)
    if last.images:
        year_of_image = int(last.images[0].datetime[:4])
        if year_of_image not in years:
            raise ValueError(f"{last.images[0].item_id} is of {year_of_image}, which nobody asked for")
        for year in years:
            yield year, whole if year == year_of_image else None
        return
    for index, year in enumerate(years):
        yield year, whole if index == 0 else _failed_too(last.failure)


def _failed_too(failure: Failure | None) -> ChipImages:
    return _NOTHING if failure is None else ChipImages((), {}, (), failure)


def _drawn_years(cell: Cell, years: Mapping[int, SceneList], seed: int) -> list[int]:
    """Returns the years in the order in which a place looks into them."""
    name = _place(cell).name
    return sorted(years, key=lambda year: (keyed_hash(seed, "year of a place", name, year), year))


def _by_nearness(scenes: Sequence[Scene], date: str) -> list[Scene]:
    wanted = datetime.datetime.fromisoformat(date).replace(tzinfo=datetime.UTC) + _NOON

    def distance(scene: Scene) -> tuple[datetime.timedelta, str]:
        return abs(datetime.datetime.fromisoformat(scene.datetime) - wanted), scene.item_id

    return sorted(scenes, key=distance)


def _date(cell: Cell) -> str:
    return _place(cell).date


def _place(cell: Cell) -> Place:
    if cell.place is None:
        raise ValueError(f"cell {cell.cell_id} has no place")
    return cell.place


_UNLABELLED = np.full((SIZE, SIZE, CHANNELS), UNLABELED, np.uint8)
