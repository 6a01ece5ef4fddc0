"""Cells that are not listed yet: as many as a dataset will have, strewn over its tiles."""

import random

from beam_pipeline.cells.cell import CHIP_SIZE_M, LATTICE_M
from beam_pipeline.cells.mgrs_tiles import TILE_SIZE_M
from beam_pipeline.jobs.plan.reads import PlannedUnit
from beam_pipeline.runtime.keyed_hash import keyed_hash

PAPER_CELLS = 137_045
"""Cells of the published dataset. Source: the paper, section 3."""

PAPER_TILES = 13_170
"""Tiles over which so many cells lie where `select_cells` chooses them over the whole Earth; of a list of one's own it
tells the number."""


def draw_units(cells: int, tiles: int, cells_per_shard: int, seed: int) -> list[PlannedUnit]:
    """Strews cells evenly over tiles that differ in how many they have: a few have many, most have few.

    Their numbers follow the geometric distribution, as of cells that are lit in clusters.

    Args:
        cells: How many in all.
        tiles: At most as many as cells.
        cells_per_shard: The most cells of a unit.
        seed: Draws numbers and places.
    """
    draw = random.Random(keyed_hash(seed, "plan cells"))  # noqa: S311 - no secret
    # Bars between cells in a row, drawn without repetition, part them into so many parts of at least one.
    bars = sorted(draw.sample(range(1, cells), tiles - 1))
    sizes = [stop - start for start, stop in zip([0, *bars], [*bars, cells], strict=True)]
    steps = (TILE_SIZE_M - CHIP_SIZE_M) // LATTICE_M + 1
    units: list[PlannedUnit] = []
    for tile, size in enumerate(sizes):
        places = [(LATTICE_M * draw.randrange(steps), LATTICE_M * draw.randrange(steps)) for _ in range(size)]
        for start in range(0, size, cells_per_shard):
            number = len(units)
            units.append(
                PlannedUnit(number, str(tile), str(number), tuple(places[start : start + cells_per_shard]))
            )
    return units
