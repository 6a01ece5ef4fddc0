"""Makes columns of map objects of nodes and ways with locations."""

import struct
from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from beam_pipeline.labels.feature import DroppedTally
from beam_pipeline.labels.located_pbf import LocatedBlock, Numbers
from beam_pipeline.labels.object_columns import ObjectColumns, offsets_of
from beam_pipeline.labels.polygon_rules import RULED_KEYS, may_make_area

MOST_WAY_NODES = 2_000
"""Of a way. Source: https://wiki.openstreetmap.org/wiki/API_v0.6 (`waynodes maximum`)."""

UNITS = 1e7
"""Of libosmium's locations, a degree."""

_MOST_LON, _MOST_LAT = 180 * 10**7, 90 * 10**7
_POINT = np.dtype([("order", "u1"), ("type", "<u4"), ("place", "<f8", 2)])  # little-endian WKB
_LINE_HEADER = struct.pack("<BI", 1, 2)
_POLYGON_HEADER = struct.pack("<BII", 1, 3, 1)
_COUNT_BYTES = 4
_RING_POINTS = 4  # of a polygon, at least

Rows = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


class Lines:
    """The lines of a block of N ways.

    Args:
        block: Ways.

    Attributes:
        missing: (N,) bool: a node is missing.
        are_long: (N,) bool: they have more than `MOST_WAY_NODES`.
        counts: (N,) points of each line, of nodes in one place one behind the other the first alone.
        starts: (N,) indices of their first points.
        places: (P, 2) the points, in units of 1e-7 degrees.
    """

    def __init__(self, block: LocatedBlock) -> None:
        ends = np.cumsum(block.point_counts)
        starts = ends - block.point_counts
        bad: Mask = np.asarray((np.abs(block.places) > (_MOST_LON, _MOST_LAT)).any(axis=1))
        self.missing: Mask = _sums(bad, starts, ends) > 0
        self.are_long: Mask = block.point_counts > MOST_WAY_NODES
        kept = np.ones(len(block.places), np.bool_)
        kept[1:] = (block.places[1:] != block.places[:-1]).any(axis=1)
        kept[starts[starts < ends]] = True
        self.counts: Numbers = _sums(kept, starts, ends)
        self.starts: Numbers = np.cumsum(self.counts) - self.counts
        self.places: Numbers = block.places[kept]

    def of(self, row: int) -> Numbers:
        """Returns (n, 2) the points of a line."""
        return self.places[self.starts[row] : self.starts[row] + self.counts[row]]


def node_columns(block: LocatedBlock, keys: Collection[str]) -> ObjectColumns:
    """Returns the nodes with one of the keys, but for those without a location."""
    there = (np.abs(block.places) <= (_MOST_LON, _MOST_LAT)).all(axis=1)
    rows = np.flatnonzero(_with_a_key(block, keys) & there)
    points = np.zeros(len(rows), _POINT)
    points["order"], points["type"], points["place"] = 1, 1, block.places[rows] / UNITS
    geometries = np.frombuffer(points.tobytes(), np.uint8)
    return _columns(block, rows, np.full(len(rows), _POINT.itemsize), geometries)


def way_columns(
    block: LocatedBlock, lines: Lines, keys: Collection[str], tally: DroppedTally
) -> ObjectColumns:
    """Returns the ways with one of the keys.

    Args:
        block: Ways.
        lines: Theirs.
        keys: The keys.
        tally: Takes what has no line: "long_way", "incomplete_way" or "degenerate_way".
    """
    wanted = _with_a_key(block, keys)
    fails = wanted & (lines.are_long | lines.missing | (lines.counts < 2))
    for row in np.flatnonzero(fails).tolist():
        missing = "incomplete_way" if lines.missing[row] else "degenerate_way"
        reason = "long_way" if lines.are_long[row] else missing
        tally.add(reason, "way", int(block.ids[row]))
    rows = np.flatnonzero(wanted & ~fails)
    rings = (_is_closed(block) & _may_be_area(block) & (lines.counts >= _RING_POINTS))[rows]
    return _columns(block, rows, *_wkb(lines, rows, rings))


def _with_a_key(block: LocatedBlock, keys: Collection[str]) -> Mask:
    """Returns (N,) bool: which objects bear one of the keys."""
    ours = np.array([text in keys for text in block.strings], np.bool_)
    return _any_tag(block, ours[block.tag_keys])


def _any_tag(block: LocatedBlock, tags: Mask) -> Mask:
    """Returns (N,) bool: which objects have one of some tags, (T,) bool."""
    ends = np.cumsum(block.tag_counts)
    return _sums(tags, ends - block.tag_counts, ends) > 0


def _sums(values: npt.NDArray[np.generic], starts: Numbers, ends: Numbers) -> Numbers:
    sums = np.concatenate([[0], np.cumsum(values)])
    of_each: Numbers = sums[ends] - sums[starts]
    return of_each


def _is_closed(block: LocatedBlock) -> Mask:
    """Returns (N,) bool: which ways end with the node that they begin with."""
    closed = np.zeros(len(block.ids), np.bool_)
    rows = np.flatnonzero(block.point_counts)
    ends = np.cumsum(block.point_counts)
    starts = ends - block.point_counts
    closed[rows] = block.refs[starts[rows]] == block.refs[ends[rows] - 1]
    return closed


def _may_be_area(block: LocatedBlock) -> Mask:
    """Returns (N,) bool: `may_be_area` of the tags of each way."""
    strings = block.strings
    ruled = np.array([text in RULED_KEYS for text in strings], np.bool_)[block.tag_keys]
    pairs = block.tag_keys * len(strings) + block.tag_values
    some, numbers = np.unique(pairs[ruled], return_inverse=True)
    makes = [
        may_make_area(strings[pair // len(strings)], strings[pair % len(strings)]) for pair in some.tolist()
    ]
    making = np.zeros(len(pairs), np.bool_)
    making[ruled] = np.array(makes, np.bool_)[numbers]
    area = np.array([text == "area" for text in strings], np.bool_)[block.tag_keys]
    no = np.array([text == "no" for text in strings], np.bool_)[block.tag_values]
    return np.where(_any_tag(block, area), _any_tag(block, area & ~no), _any_tag(block, making))


def _wkb(lines: Lines, rows: Rows, rings: Mask) -> tuple[Numbers, npt.NDArray[np.uint8]]:
    """Returns (R,) the sizes of some ways' geometries, and these one behind the other."""
    counts = lines.counts[rows]
    heads = np.where(rings, len(_POLYGON_HEADER), len(_LINE_HEADER)) + _COUNT_BYTES
    sizes = heads + counts * _POINT.fields["place"][0].itemsize  # type: ignore[index]  # it has fields
    ends = np.cumsum(sizes)
    starts = ends - sizes
    wkb = np.zeros(int(ends[-1]) if len(ends) else 0, np.uint8)
    in_head = np.zeros(len(wkb) + 1, np.int8)
    in_head[starts] = 1
    in_head[starts + heads] -= 1
    points = np.repeat(lines.starts[rows] - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
    degrees = lines.places[points] / UNITS
    wkb[np.cumsum(in_head[:-1], dtype=np.int8) == 0] = degrees.view(np.uint8).ravel()
    for head, of_kind in ((_POLYGON_HEADER, rings), (_LINE_HEADER, ~rings)):
        begins = starts[of_kind, None]
        wkb[begins + np.arange(len(head))] = np.frombuffer(head, np.uint8)
        number = counts[of_kind].astype("<u4").view(np.uint8).reshape(-1, _COUNT_BYTES)
        wkb[begins + len(head) + np.arange(_COUNT_BYTES)] = number
    return sizes, wkb


def _columns(
    block: LocatedBlock, rows: Rows, sizes: Numbers, geometries: npt.NDArray[np.uint8]
) -> ObjectColumns:
    """Returns the columns of some objects of a block."""
    ends = np.cumsum(block.tag_counts)[rows]
    counts = block.tag_counts[rows]
    tags = np.repeat(ends - np.cumsum(counts), counts) + np.arange(counts.sum())
    owners = np.repeat(np.arange(len(rows)), counts)
    keys = block.tag_keys[tags]
    ranks = np.empty(len(block.strings), np.int64)
    ranks[sorted(range(len(ranks)), key=block.strings.__getitem__)] = np.arange(len(ranks))
    order = np.lexsort((ranks[keys], owners))
    # Of a key that an object has twice, the last one counts.
    last = np.ones(len(order), np.bool_)
    last[:-1] = (keys[order][1:] != keys[order][:-1]) | (owners[order][1:] != owners[order][:-1])
    order = order[last]
    return ObjectColumns(
        "way" if block.is_ways else "node",
        block.ids[rows],
        block.versions[rows].astype(np.int32),
        block.timestamps[rows],
        block.strings,
        offsets_of(np.bincount(owners[order], minlength=len(rows))),
        keys[order].astype(np.int32),
        block.tag_values[tags][order].astype(np.int32),
        offsets_of(sizes),
        geometries,
    )
