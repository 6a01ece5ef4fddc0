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


class AssemblingWork:
    """The work of assembling the areas of N relations.

    Args:
        relations: Of each the ways that are its members, each once.
    """

    def __init__(self, relations: Sequence[Sequence[Way]]) -> None:
        count = len(relations)
        ways = np.array([len(of_one) for of_one in relations], np.int64)
        nodes = np.array([sum(map(len, of_one)) for of_one in relations], np.int64)
        segments, owners = _segments([way for of_one in relations for way in of_one], ways)
        once, owners, counts, _ = _unique(segments, owners)
        removals = np.bincount(owners, counts // 2, count) * np.bincount(owners, counts, count)
        # Of equal segments the assembler leaves one or none.
        is_left = counts % 2 == 1
        left, owners = once[is_left], owners[is_left]
        lefts = np.bincount(owners, minlength=count)
        # Segments lie by relation, and in each by where they begin.
        begins, ends = ((owners << 33) + left[:, axis] for axis in (0, 2))
        reach = np.searchsorted(begins, ends, side="right")
        beside = np.bincount(owners, reach - np.arange(1, len(left) + 1), count)
        nodes_once, node_owners, _, inverse = _unique(left.reshape(-1, 2), np.repeat(owners, 2))
        rings = np.maximum(1, lefts - np.bincount(node_owners, minlength=count) + ways)
        degrees = np.bincount(inverse, minlength=len(nodes_once))
        self._ns = (
            _NS_A_SEGMENT * nodes.astype(np.float64)
            + _NS_A_REMOVAL * removals
            + _NS_A_PAIR * beside
            + _NS_A_RING * rings * lefts
        )
        # With an open ring it gives up before it searches.
        self._are_open = np.bincount(node_owners, degrees % 2, count) > 0
        self._left, self._left_ends = left, np.cumsum(lefts)
        is_joint = degrees > 2
        self._joints = nodes_once[is_joint]
        self._joint_ends = np.cumsum(np.bincount(node_owners[is_joint], minlength=count))

    def ns(self, relation: int, most_ns: float) -> float:
        """Returns the nanoseconds that assembling an area takes, about and from above.

        Args:
            relation: The number of the relation.
            most_ns: What is bearable; counting ends where it is reached.

        Returns:
            The time; infinite where a search is needed that could go on without end.
        """
        took = float(self._ns[relation])
        if took > most_ns or self._are_open[relation]:
            return took
        joints = _part(self._joints, self._joint_ends, relation)
        if 0 < len(joints) <= _MOST_JOINTS:
            steps = _steps(_pieces(_part(self._left, self._left_ends, relation), joints), _MOST_STEPS)
            took += math.inf if steps >= _MOST_STEPS else _NS_A_STEP * steps
        return took


def least_ns(ways: Sequence[Way]) -> float:
    """Returns nanoseconds that assembling an area of ways takes at least, without a look at how they lie."""
    return float(_NS_A_SEGMENT * sum(map(len, ways)))


def counting_ns(ways: Sequence[Way]) -> float:
    """Returns the nanoseconds that the counting of steps itself takes, about and from above."""
    return least_ns(ways) + _NS_A_STEP * _MOST_STEPS


def _part(rows: _Rows, ends: _Rows, number: int) -> _Rows:
    """Returns one of the parts of rows that end at some places."""
    return rows[ends[number - 1] if number else 0 : ends[number]]


def _unique(rows: _Rows, owners: _Rows) -> tuple[_Rows, _Rows, _Rows, _Rows]:
    """Does what `np.unique` does with rows of locations, for each owner by itself and in a fifth of the time.

    Args:
        rows: (N, 2 K) longitudes and latitudes in units of 1e-7 degrees.
        owners: (N,) numbers of their owners, ascending.

    Returns:
        (U, 2 K) the rows of each owner, each once, in order; (U,) their owners; (U,) how often each was there; (N,)
        where in the result each is.
    """
    # One number for two, in the same order: longitudes and latitudes fit 32 bits.
    places = np.column_stack([owners, (rows[:, ::2] << 32) + (rows[:, 1::2] + (1 << 31))])
    order = np.lexsort(places.T[::-1])
    places = places[order]
    is_first = np.ones(len(rows), np.bool_)
    is_first[1:] = (places[1:] != places[:-1]).any(axis=1)
    numbers = np.cumsum(is_first) - 1
    inverse = np.empty_like(numbers)
    inverse[order] = numbers
    firsts = order[is_first]
    return rows[firsts], owners[firsts], np.bincount(numbers), inverse


def _segments(ways: Sequence[Way], counts: _Rows) -> tuple[_Rows, _Rows]:
    """Returns the segments of ways that have a length.

    Args:
        ways: Those of N relations, one relation behind another.
        counts: (N,) how many each relation has.

    Returns:
        (S, 4) the segments, each from its lesser end to its greater; (S,) numbers of their relations.
    """
    nodes = np.concatenate([np.empty((0, 2), np.int32), *ways]).astype(np.int64)
    sizes = np.array([len(way) for way in ways], np.int64)
    number = np.repeat(np.arange(len(ways)), sizes)
    starts, ends = nodes[:-1], nodes[1:]
    kept = (number[:-1] == number[1:]) & (starts != ends).any(axis=1)
    starts, ends = starts[kept], ends[kept]
    owners = np.repeat(np.arange(len(counts)), counts)[number[:-1][kept]]
    swapped = (starts[:, 0] > ends[:, 0]) | ((starts[:, 0] == ends[:, 0]) & (starts[:, 1] > ends[:, 1]))
    there = np.where(swapped[:, None], ends, starts)
    back = np.where(swapped[:, None], starts, ends)
    return np.hstack([there, back]), owners


def _pieces(segments: _Rows, joints: _Rows) -> Joints:
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
