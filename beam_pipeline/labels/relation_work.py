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

_NODE_BITS = 23
_NODE = (1 << _NODE_BITS) - 1

MOST_NODES = 1 << _NODE_BITS
"""Of the ways of relations that are looked at together: a segment is one number, of its relation and its ends."""

MOST_RELATIONS = 1 << 16

_Rows = npt.NDArray[np.int64]

Joints = dict[int, list[tuple[int, int]]]
"""Node at which more than two segments meet -> (number of a piece of line, the joint at its other end)."""


class AssemblingWork:
    """The work of assembling the areas of N relations.

    Args:
        relations: At most `MOST_RELATIONS`, with at most `MOST_NODES` in all their ways: of each the ways that are its
            members, each once.
    """

    def __init__(self, relations: Sequence[Sequence[Way]]) -> None:
        count = len(relations)
        ways = np.array([len(of_one) for of_one in relations], np.int64)
        sizes = np.array([sum(map(len, of_one)) for of_one in relations], np.float64)
        self._places, segments = _segments([way for of_one in relations for way in of_one], ways)
        segments, counts = _runs(segments)
        owners = segments >> 2 * _NODE_BITS
        removals = np.bincount(owners, counts // 2, count) * np.bincount(owners, counts, count)
        # Of equal segments the assembler leaves one or none.
        is_left = counts % 2 == 1
        owners, segments = owners[is_left], segments[is_left]
        self._left = np.stack([segments >> _NODE_BITS & _NODE, segments & _NODE], axis=1)
        lefts = np.bincount(owners, minlength=count)
        # Segments lie by relation, and in each by where they begin.
        begins, ends = ((owners << 33) + self._places[self._left[:, axis], 0] for axis in (0, 1))
        reach = np.searchsorted(begins, ends, side="right") - np.arange(1, len(owners) + 1)
        nodes, degrees = _runs((np.repeat(owners, 2) << _NODE_BITS) + self._left.ravel())
        owners_of_nodes = nodes >> _NODE_BITS
        rings = np.maximum(1, lefts - np.bincount(owners_of_nodes, minlength=count) + ways)
        self._ns = (
            _NS_A_SEGMENT * sizes
            + _NS_A_REMOVAL * removals
            + _NS_A_PAIR * np.bincount(owners, reach, count)
            + _NS_A_RING * rings * lefts
        )
        # With an open ring it gives up before it searches.
        self._are_open = np.bincount(owners_of_nodes, degrees % 2, count) > 0
        self._left_ends = np.cumsum(lefts)
        self._joints = nodes[degrees > 2] & _NODE
        self._joint_ends = np.cumsum(np.bincount(owners_of_nodes[degrees > 2], minlength=count))

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
            left = self._places[_part(self._left, self._left_ends, relation)]
            steps = _steps(_pieces(left, self._places[joints]), _MOST_STEPS)
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


def _segments(ways: Sequence[Way], counts: _Rows) -> tuple[_Rows, _Rows]:
    """Returns the segments of ways that have a length.

    Args:
        ways: Those of N relations, one relation behind another.
        counts: (N,) how many each relation has.

    Returns:
        (U, 2) the longitude and latitude of each place, in order; (S,) segments, each as the number of its relation,
        that of its lesser place and that of its greater one.
    """
    nodes = np.concatenate([np.empty((0, 2), np.int32), *ways]).astype(np.int64)
    # One number for two, in the same order: longitudes and latitudes fit 32 bits.
    packed = (nodes[:, 0] << 32) + (nodes[:, 1] + (1 << 31))
    order = np.argsort(packed)
    packed = packed[order]
    is_first = np.append(True, packed[1:] != packed[:-1])[: len(packed)]
    numbers = np.empty(len(packed), np.int64)
    numbers[order] = np.cumsum(is_first) - 1
    once = packed[is_first]
    places = np.stack([once >> 32, (once & 0xFFFFFFFF) - (1 << 31)], axis=1)
    way_of = np.repeat(np.arange(len(ways)), [len(way) for way in ways])
    starts, ends = numbers[:-1], numbers[1:]
    kept = np.flatnonzero((way_of[:-1] == way_of[1:]) & (starts != ends))
    starts, ends = starts[kept], ends[kept]
    owners = np.repeat(np.arange(len(counts)), counts)[way_of[kept]]
    lesser, greater = np.minimum(starts, ends), np.maximum(starts, ends)
    return places, (owners << 2 * _NODE_BITS) + (lesser << _NODE_BITS) + greater


def _runs(numbers: _Rows) -> tuple[_Rows, _Rows]:
    """Returns numbers in order, each once, and how often each was there."""
    ordered = np.sort(numbers)
    firsts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)])
    return ordered[firsts], np.diff(firsts, append=len(ordered))


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
