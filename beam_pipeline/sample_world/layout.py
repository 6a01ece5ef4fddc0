"""Which theme lies where, and the whole scene."""

from collections.abc import Callable

import numpy as np
import shapely
from shapely.geometry import box

from beam_pipeline.runtime.keyed_hash import keyed_fraction, keyed_hash
from beam_pipeline.sample_world import countryside, settlements
from beam_pipeline.sample_world.block import Block
from beam_pipeline.sample_world.landscape import Bounds, Canvas, Landscape, plan_bounds
from beam_pipeline.sample_world.networks import (
    BLOCK_M,
    GROUP,
    RIVER_ROW,
    draw_roads,
    draw_waters,
    line_position,
)

_ROAD_MARGIN_M = 16.0

Theme = Callable[[Block], None]

_RARE: tuple[Theme, ...] = (
    settlements.draw_airport,
    settlements.draw_quarry,
    settlements.draw_barracks,
    settlements.draw_works,
    settlements.draw_shops,
    settlements.draw_golf_course,
    countryside.draw_sand,
    countryside.draw_lake,
    countryside.draw_wetland,
    countryside.draw_rock,
)
"""Once in the middle of every group, so that a world of one group has every category."""

_USUAL: tuple[tuple[Theme, int], ...] = (
    (countryside.draw_wetland, 1),
    (countryside.draw_lake, 1),
    (countryside.draw_meadows, 3),
    (countryside.draw_mixed_fields, 6),
    (settlements.draw_works, 1),
    (settlements.draw_town, 9),
    (countryside.draw_arable, 7),
    (countryside.draw_unmapped, 4),
    (countryside.draw_orchards, 3),
    (countryside.draw_forest, 12),
    (countryside.draw_heath, 3),
    (countryside.draw_rock, 4),
)
"""The other blocks of a group, from the low ground to the high; the counts add up to what `_RARE` leaves."""

_MIDDLE = range(2, GROUP - 1)


def themes_of_group(group_column: int, group_row: int, seed: int) -> dict[tuple[int, int], Theme]:
    """Deals the themes to the blocks of a group.

    Args:
        group_column: Number of the group from west to east; any integer.
        group_row: Number of the group from south to north.
        seed: The world's seed.

    Returns:
        The theme of each (column, row) within the group, both in [0, `GROUP`).
    """

    def draw(*whom: int | str) -> float:
        return keyed_fraction(seed, "theme", group_column, group_row, *whom)

    # What is too large or too dear to lie in a river keeps off its row and the one above.
    middle = [(i, j) for i in _MIDDLE for j in range(RIVER_ROW + 2, GROUP - 1)]
    middle.sort(key=lambda place: draw("rare", *place))
    themes: dict[tuple[int, int], Theme] = dict(zip(middle, _RARE, strict=False))
    rest = [(i, j) for i in range(GROUP) for j in range(GROUP) if (i, j) not in themes]
    # Away from the river the ground rises; a little chance keeps neighbours apart.
    rest.sort(key=lambda place: abs(place[1] - RIVER_ROW) + 0.5 * place[0] % 3 + 3.2 * draw("usual", *place))
    usual = [theme for theme, count in _USUAL for _ in range(count)]
    themes.update(zip(rest, usual, strict=True))
    return themes


def build_landscape(bounds: Bounds, seed: int) -> Landscape:
    """Makes the vector scene.

    Args:
        bounds: (left, bottom, right, top) in metres of the plane; a larger area shows
            the same ground and more.
        seed: The world's seed.

    Returns:
        All surfaces and features that meet the bounds.
    """
    canvas = Canvas()
    left, bottom, right, top = plan_bounds(bounds)
    columns = range(int(left // BLOCK_M) - 1, int(right // BLOCK_M) + 2)
    rows = range(int(bottom // BLOCK_M) - 1, int(top // BLOCK_M) + 2)
    waters = draw_waters(canvas, columns, rows, seed)
    shapely.prepare(waters)
    themes: dict[tuple[int, int], dict[tuple[int, int], Theme]] = {}
    for i in columns:
        for j in rows:
            group = i // GROUP, j // GROUP
            if group not in themes:
                themes[group] = themes_of_group(*group, seed)
            rect = (
                line_position("column", i, seed) + _ROAD_MARGIN_M,
                line_position("row", j, seed) + _ROAD_MARGIN_M,
                line_position("column", i + 1, seed) - _ROAD_MARGIN_M,
                line_position("row", j + 1, seed) - _ROAD_MARGIN_M,
            )
            rng = np.random.Generator(np.random.Philox(key=keyed_hash(seed, "block", i, j)))
            themes[group][i % GROUP, j % GROUP](Block(rect, rng, canvas, waters.intersection(box(*rect))))
    draw_roads(canvas, columns, rows, waters, seed)
    return canvas.finish(bounds)
