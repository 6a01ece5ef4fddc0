"""Tells beforehand what assembling a multipolygon relation takes.

libosmium's assembler is made for what is mapped. It takes time by the square where ways run over the same ground, lie
beside each other or make many rings, and without end where many ways join the same few nodes. A relation of a hundred
bytes can hold it for hours, and nothing stops it. So its steps are counted here first, from above.

Source: libosmium's `osmium/area/detail/segment_list.hpp` and `basic_assembler.hpp`.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import shapely

Way = npt.NDArray[np.int32]
"""(N, 2) the nodes of a way in order, longitude and latitude in units of 1e-7 degrees."""

_NS_A_SEGMENT = 2_000  # sorted here and there
_NS_A_REMOVAL = 3.0  # of a pair of equal segments, for each segment behind it
_NS_A_PAIR = 3.0  # of segments that lie beside each other, looked at whether they cross
_NS_A_RING = 1.5  # for each segment that is passed in search of the ring around it
_NS_A_STEP = 1_000  # of the search for a way through ways that join the same nodes; counting it takes longest
_MOST_STEPS = 100_000
_MOST_JOINTS = 100  # with more, libosmium gives up before it searches
_MOST_DEPTH = 20  # and here it gives up in between

_Rows = npt.NDArray[np.int64]

Joints = dict[int, list[tuple[int, int]]]
"""Node at which more than two segments meet -> (number of a piece of line, the joint at its other end)."""


def assembling_ns(ways: Sequence[Way], most_ns: float) -> float:
    """Returns the nanoseconds that assembling an area of ways takes, about and from above.

    Args:
        ways: The members, each once.
        most_ns: What is bearable; counting ends where it is reached.

    Returns:
        The time; infinite where a search is needed that could go on without end.
    """
    took = float(_NS_A_SEGMENT * sum(map(len, ways)))
    if took > most_ns:
        return took
    segments = _segments(ways)
    if not len(segments):
        return took
    once, counts, _ = _unique(segments)
    took += _NS_A_REMOVAL * float((counts // 2).sum()) * len(segments)
    # Of equal segments the assembler leaves one or none.
    left = once[counts % 2 == 1]
    reach = np.searchsorted(left[:, 0], left[:, 2], side="right")
    took += _NS_A_PAIR * float((reach - np.arange(1, len(left) + 1)).sum())
    nodes, _, ends = _unique(left.reshape(-1, 2))
    rings = max(1, len(left) - len(nodes) + len(ways))
    took += _NS_A_RING * float(rings) * len(left)
    degrees = np.bincount(ends, minlength=len(nodes))
    if (degrees % 2).any() or took > most_ns:
        return took  # an open ring: it gives up here
    joints = np.flatnonzero(degrees > 2)
    if 0 < len(joints) <= _MOST_JOINTS:
        steps = _steps(_pieces(left, nodes[joints]), _MOST_STEPS)
        took += math.inf if steps >= _MOST_STEPS else _NS_A_STEP * steps
    return took


def counting_ns(ways: Sequence[Way]) -> float:
    """Returns the nanoseconds that `assembling_ns` itself takes, about and from above."""
    return float(_NS_A_SEGMENT * sum(map(len, ways)) + _NS_A_STEP * _MOST_STEPS)


def _unique(rows: _Rows) -> tuple[_Rows, _Rows, _Rows]:
    """Does what `np.unique` does with rows of locations, in a fifth of the time.

    Args:
        rows: (N, 2 K) longitudes and latitudes in units of 1e-7 degrees.

    Returns:
        (U, 2 K) the rows, each once, in order; (U,) how often each was there; (N,) where in the result each is.
    """
    # One number for two, in the same order: longitudes and latitudes fit 32 bits.
    places = (rows[:, ::2] << 32) + (rows[:, 1::2] + (1 << 31))
    order = np.lexsort(places.T[::-1])
    places = places[order]
    is_first = np.ones(len(rows), np.bool_)
    is_first[1:] = (places[1:] != places[:-1]).any(axis=1)
    numbers = np.cumsum(is_first) - 1
    inverse = np.empty_like(numbers)
    inverse[order] = numbers
    return rows[order[is_first]], np.bincount(numbers), inverse


def _segments(ways: Sequence[Way]) -> npt.NDArray[np.int64]:
    """Returns (S, 4) the segments of ways that have a length, each from its lesser end to its greater."""
    starts = np.concatenate([way[:-1] for way in ways] or [np.empty((0, 2), np.int32)])
    ends = np.concatenate([way[1:] for way in ways] or [np.empty((0, 2), np.int32)])
    swapped = (starts[:, 0] > ends[:, 0]) | ((starts[:, 0] == ends[:, 0]) & (starts[:, 1] > ends[:, 1]))
    there = np.where(swapped[:, None], ends, starts)
    back = np.where(swapped[:, None], starts, ends)
    segments: npt.NDArray[np.int64] = np.hstack([there, back]).astype(np.int64)
    kept: npt.NDArray[np.int64] = segments[(starts != ends).any(axis=1)]
    return kept


def _pieces(segments: npt.NDArray[np.int64], joints: npt.NDArray[np.int64]) -> Joints:
    """Returns what joins joints, (J, 2), without what leads from a joint back to itself."""
    number = {place: index for index, place in enumerate(map(tuple, joints.tolist()))}
    merged = shapely.line_merge(shapely.multilinestrings(segments.reshape(-1, 2, 2).astype(np.float64)))
    reached: Joints = {index: [] for index in range(len(joints))}
    for piece, line in enumerate(shapely.get_parts(merged)):
        start, end = (
            number.get(tuple(map(int, place))) for place in shapely.get_coordinates(line)[[0, -1]].tolist()
        )
        if start is not None and end is not None and start != end:
            reached[start].append((piece, end))
            reached[end].append((piece, start))
    return reached


def _steps(reached: Joints, most: int) -> int:
    """Counts the steps of a search for closed ways through joints, from all of them; it ends when `most` is reached."""
    steps = 0
    for start, pieces in reached.items():
        for first, joint in pieces:
            passed = [joint]
            ahead = [(iter(reached[joint]), first)]
            while ahead:
                pieces_on, came_by = ahead[-1]
                piece, reaches = next(pieces_on, (-1, -1))
                if piece < 0:
                    ahead.pop()
                    passed.pop()
                elif piece != came_by:
                    steps += 1
                    if steps >= most:
                        return steps
                    if reaches not in (start, *passed) and len(passed) <= _MOST_DEPTH:
                        passed.append(reaches)
                        ahead.append((iter(reached[reaches]), piece))
    return steps
