"""The outcome of a unit: what is to be written, what was rejected and what failed."""

import dataclasses
import json
from collections.abc import Iterable, Mapping

import pydantic

from beam_pipeline.dataset.units import Unit
from beam_pipeline.imagery.scenes import SceneNote
from beam_pipeline.records.example import CellYear

STORED = pydantic.ConfigDict(strict=True)
"""Of the dataclasses that are read back from JSON; fields that a later 1.x adds are passed over."""

CellYearId = tuple[int, int]
"""(cell id, year)."""


@dataclasses.dataclass(frozen=True)
class DeadLetter:
    """An unexpected failure that cost a cell-year, a cell or a unit.

    Attributes:
        unit: The unit's shard name.
        cell_id: The cell, None where the whole unit failed.
        year: The year, None where all years failed.
        stage: What was being done, e.g. "read".
        reason: A short stable word for counting, e.g. "throttled".
        detail: What happened, for people.
    """

    __pydantic_config__ = STORED

    unit: str
    cell_id: int | None
    year: int | None
    stage: str
    reason: str
    detail: str

    def to_json(self) -> str:
        """Returns one line of JSON."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)


@dataclasses.dataclass(frozen=True)
class AssembledUnit:
    """A unit whose pixels are read.

    Attributes:
        unit: The unit.
        years: How many years were asked for.
        cell_years: What is to be written, sorted by cell and year.
        rejections: Cell-years that the data refused, (cell_id, year), by reason.
        scene_rejections: Looks at a scene of a chip that the filters refused, by reason.
        dropped_geometries: OSM geometries that could not be drawn, by reason.
        years_without_items: Years in which the catalogue has no item of the tile.
        notes: Scenes that are unusable for good, each once.
        dead_letters: Cell-years that failed.
        scenes_by_year: Number of usable scenes of the tile in each year for which there is a list.
        coastal: Ids of the cells through whose chip a coastline passes.
    """

    unit: Unit
    years: int
    cell_years: tuple[CellYear, ...]
    rejections: dict[str, list[CellYearId]]
    scene_rejections: dict[str, int]
    dropped_geometries: dict[str, int]
    years_without_items: tuple[int, ...]
    notes: tuple[SceneNote, ...]
    dead_letters: tuple[DeadLetter, ...]
    scenes_by_year: Mapping[int, int] = dataclasses.field(default_factory=dict)
    coastal: frozenset[int] = frozenset()


def sorted_letters(letters: Iterable[DeadLetter]) -> tuple[DeadLetter, ...]:
    """Returns dead letters in an order that does not depend on how they came."""
    return tuple(
        sorted(
            letters,
            key=lambda it: (it.unit, it.cell_id or 0, it.year or 0, it.stage, it.reason, it.detail),
        )
    )
