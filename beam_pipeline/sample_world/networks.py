"""Networks through many blocks: roads with bridges, rivers and streams."""

import numpy as np
import shapely
from shapely.geometry import LineString, Polygon
from shapely.geometry.base import BaseGeometry

from beam_pipeline.runtime.keyed_hash import keyed_fraction
from beam_pipeline.sample_world.landscape import Canvas
from beam_pipeline.sample_world.shapes import ribbon

BLOCK_M = 1500.0
"""Side of a block on average, in metres: the spacing of the roads between blocks."""

GROUP = 8
"""A group of 8 by 8 blocks, 12 km on a side, has every theme."""

RIVER_ROW = 2
"""The row of a group along which its river runs."""

_STREAM_COLUMN = 6
_CLASSES = {
    0: "motorway",
    2: "secondary",
    4: "primary",
    6: "secondary",
}  # of columns; the others are tertiary
_ROW_CLASSES = {0: "trunk", 3: "secondary", 5: "primary"}
_WIDTHS_M = {
    "motorway": 26.0,
    "trunk": 19.0,
    "primary": 12.0,
    "secondary": 9.0,
    "tertiary": 7.0,
    "unclassified": 5.5,
}
_MISSING_EDGES = 0.25
_BRIDGE_MARGIN_M = 12.0


def line_position(axis: str, index: int, seed: int) -> float:
    """Returns where the road line between blocks index-1 and index lies, in metres of the plan.

    Args:
        axis: "column" (an easting) or "row" (a northing).
        index: Number of the line; any integer.
        seed: The world's seed.
    """
    return BLOCK_M * (index + 0.3 * (keyed_fraction(seed, "road line", axis, index) - 0.5))


def river(group_row: int, first: float, last: float, seed: int) -> tuple[Polygon, LineString]:
    """Draws the river of a row of groups between two eastings.

    Args:
        group_row: Number of the row of groups.
        first: Western end in metres of the plan, a multiple of 25 so that pieces agree.
        last: Eastern end.
        seed: The world's seed.

    Returns:
        (the water, its centre line).
    """
    middle = BLOCK_M * (group_row * GROUP + RIVER_ROW + 0.55)
    p = np.arange(first, last + 1, 25.0)
    phases = [6.283 * keyed_fraction(seed, "river", group_row, wave) for wave in range(3)]
    q = middle + sum(
        a * np.sin(p / length + phase)
        for a, length, phase in zip((330, 120, 35), (900, 340, 110), phases, strict=True)
    )
    half = 36 + 10 * np.sin(p / 700 + phases[1]) + 5 * np.sin(p / 90 + phases[2])
    banks = np.concatenate((np.column_stack((p, q - half)), np.column_stack((p, q + half))[::-1]))
    return Polygon(banks).buffer(0), LineString(np.column_stack((p, q)))


def stream(group_column: int, group_row: int, seed: int) -> LineString:
    """Draws the stream of a group, from its hills in the north down to the river."""
    middle = BLOCK_M * (group_column * GROUP + _STREAM_COLUMN + 0.5)
    top = BLOCK_M * (group_row * GROUP + GROUP - 0.3)
    bottom = BLOCK_M * (group_row * GROUP + RIVER_ROW + 0.55)
    q = np.arange(top, bottom, -30.0)
    phase = 6.283 * keyed_fraction(seed, "stream", group_column, group_row)
    p = middle + 210 * np.sin(q / 640 + phase) + 45 * np.sin(q / 130 + 2 * phase)
    return LineString(np.column_stack((p, q)))


def draw_waters(canvas: Canvas, columns: range, rows: range, seed: int) -> BaseGeometry:
    """Draws all rivers and streams of a range of blocks.

    Args:
        canvas: Takes them.
        columns: Block columns.
        rows: Block rows.
        seed: The world's seed.

    Returns:
        Everything that is water, streams 8 m wide.
    """
    waters: list[BaseGeometry] = []
    groups = range(columns.start // GROUP, (columns.stop - 1) // GROUP + 1)
    for group_row in range(rows.start // GROUP, (rows.stop - 1) // GROUP + 1):
        for group_column in groups:
            # One way a group: nobody draws a river in one piece.
            first = BLOCK_M * GROUP * group_column
            water, centre = river(group_row, first, first + BLOCK_M * GROUP, seed)
            canvas.paint("water", water, "river", group_row)
            canvas.map(water, {"natural": "water", "water": "river"})
            canvas.map(centre, {"waterway": "river", "name": f"Made-up River {group_row % 100}"})
            brook = stream(group_column, group_row, seed)
            canvas.paint("water", ribbon(brook, 5), "river", group_row)
            canvas.map(brook, {"waterway": "stream"})
            waters += [water, ribbon(brook, 8)]
    return shapely.union_all(waters)


def draw_roads(canvas: Canvas, columns: range, rows: range, waters: BaseGeometry, seed: int) -> None:
    """Draws the roads between blocks, one way for each block that they pass.

    Args:
        canvas: Takes them.
        columns: Block columns.
        rows: Block rows.
        waters: Rivers and streams: where a road crosses them it is a bridge.
        seed: The world's seed.
    """
    for i in range(columns.start, columns.stop + 1):
        for j in range(rows.start, rows.stop + 1):
            corner = (line_position("column", i, seed), line_position("row", j, seed))
            north = (corner[0], line_position("row", j + 1, seed))
            east = (line_position("column", i + 1, seed), corner[1])
            for axis, end, kind in (
                ("column", north, _CLASSES.get(i % GROUP, "tertiary")),
                ("row", east, _ROW_CLASSES.get(j % GROUP, "tertiary")),
            ):
                draw = keyed_fraction(seed, "road edge", axis, i, j)
                if kind == "tertiary" and draw < _MISSING_EDGES:
                    continue
                if kind == "tertiary" and draw < 0.5:
                    kind = "unclassified"
                _draw_road(canvas, LineString([corner, end]), kind, waters)


def _draw_road(canvas: Canvas, line: LineString, kind: str, waters: BaseGeometry) -> None:
    canvas.paint("road", line.buffer(_WIDTHS_M[kind] / 2), "asphalt", len(kind))
    over = waters.buffer(_BRIDGE_MARGIN_M) if line.intersects(waters) else None
    if over is None:
        canvas.map(line, {"highway": kind})
        return
    for piece in shapely.get_parts(line.difference(over)):
        canvas.map(piece, {"highway": kind})
    for piece in shapely.get_parts(line.intersection(over)):
        canvas.map(piece, {"highway": kind, "bridge": "yes", "layer": "1"})
