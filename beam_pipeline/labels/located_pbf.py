"""Makes columns of an `.osm.pbf` file that libosmium wrote with locations on its ways, many objects at once.

libosmium has looked at every object before, and what it writes is known: nodes come densely, locations in units of 1e-7
degrees. So what is read here is a small part of the format.

Source of the format: https://wiki.openstreetmap.org/wiki/PBF_Format, and
https://osmcode.org/osmium-concepts/#locations-on-ways for the locations.
"""

import dataclasses
import os
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from beam_pipeline.labels.pbf_blocks import blocks
from beam_pipeline.labels.pbf_wire import MOST_VARINT_BYTES, fields, unzigzag, varint, varints

Numbers = npt.NDArray[np.int64]

_STRINGS, _GROUP = 1, 2  # fields of a block
_DENSE, _WAY = 2, 3  # of a group
_ID, _KEYS, _VALUES, _INFO, _REFS, _LATS, _LONS = 1, 2, 3, 4, 8, 9, 10  # of a way
_DENSE_INFO, _DENSE_LATS, _DENSE_LONS, _DENSE_TAGS = 5, 8, 9, 10
_VERSION, _TIMESTAMP = 1, 2  # of an info, dense or not
_VARINT = 0  # wire type
_MOST_VERSION = (1 << 31) - 1


@dataclasses.dataclass(frozen=True)
class LocatedBlock:
    """N nodes or N ways.

    Attributes:
        is_ways: Whether they are ways.
        strings: Texts of tags.
        ids: (N,).
        versions: (N,), 0 where none is said.
        timestamps: (N,) seconds since 1970, 0 where none is said.
        tag_counts: (N,) number of tags of each.
        tag_keys: (T,) indices into `strings`.
        tag_values: (T,) indices into `strings`.
        point_counts: (N,) 1 for a node, the nodes of a way.
        refs: (P,) ids of the nodes of ways; empty for nodes.
        places: (P, 2) longitude and latitude in units of 1e-7 degrees; out of range for a node that is missing.
    """

    is_ways: bool
    strings: list[str]
    ids: Numbers
    versions: Numbers
    timestamps: Numbers
    tag_counts: Numbers
    tag_keys: Numbers
    tag_values: Numbers
    point_counts: Numbers
    refs: Numbers
    places: Numbers


def located_blocks(path: str | os.PathLike[str]) -> Iterator[LocatedBlock]:
    """Reads the nodes and ways of a file.

    Args:
        path: Written by libosmium with `locations_on_ways` and not packed; without relations.

    Yields:
        Its blocks in turn.

    Raises:
        UnicodeDecodeError: A tag is not in UTF-8.
        ValueError: It is not what libosmium writes.
    """
    for block in blocks(path):
        strings: list[str] = []
        for field, value in fields(block):
            if not isinstance(value, bytes):
                continue
            if field == _STRINGS:
                starts, ends = _messages(value)
                strings = [value[i:j].decode() for i, j in zip(starts.tolist(), ends.tolist(), strict=True)]
            elif field == _GROUP:
                kind = value[0] >> 3 if value else 0
                if kind == _DENSE:
                    yield _nodes(value, strings)
                elif kind == _WAY:
                    yield _ways(value, strings)


def _nodes(group: bytes, strings: list[str]) -> LocatedBlock:
    dense = _arrays(next(value for _, value in fields(group) if isinstance(value, bytes)))
    info = _arrays(dense.get(_DENSE_INFO, b""))
    ids = np.cumsum(unzigzag(varints(dense.get(_ID, b""))))
    versions = varints(info.get(_VERSION, b""))
    timestamps = np.cumsum(unzigzag(varints(info.get(_TIMESTAMP, b""))))
    texts = varints(dense.get(_DENSE_TAGS, b"")).astype(np.int64)
    # A 0 stands behind the tags of each node.
    ends = np.flatnonzero(texts == 0)
    counts = np.diff(ends, prepend=-1) // 2 if len(ends) else np.zeros(len(ids), np.int64)
    texts = texts[texts != 0]
    places = np.stack(
        [np.cumsum(unzigzag(varints(dense[key]))) for key in (_DENSE_LONS, _DENSE_LATS)], axis=1
    )
    return LocatedBlock(
        is_ways=False,
        strings=strings,
        ids=ids,
        versions=_versions(versions, len(ids)),
        timestamps=timestamps if len(timestamps) else np.zeros(len(ids), np.int64),
        tag_counts=counts,
        tag_keys=texts[::2],
        tag_values=texts[1::2],
        point_counts=np.ones(len(ids), np.int64),
        refs=np.empty(0, np.int64),
        places=places,
    )


def _ways(group: bytes, strings: list[str]) -> LocatedBlock:
    starts, ends = _messages(group)
    # What is read behind the end is not used.
    buffer = np.frombuffer(group + bytes(MOST_VARINT_BYTES), np.uint8)
    ways = _Messages(buffer, starts, ends)
    info_starts, info_sizes = ways.slices(_INFO)
    infos = _Messages(buffer, info_starts, info_starts + info_sizes)
    keys, counts = ways.packed(_KEYS)
    values, _ = ways.packed(_VALUES)
    refs, point_counts = ways.packed(_REFS)
    places = [_undelta(unzigzag(ways.packed(field)[0]), point_counts) for field in (_LONS, _LATS)]
    return LocatedBlock(
        is_ways=True,
        strings=strings,
        ids=ways.numbers(_ID).view(np.int64),
        versions=_versions(infos.numbers(_VERSION), len(starts)),
        timestamps=infos.numbers(_TIMESTAMP).astype(np.int64),
        tag_counts=counts,
        tag_keys=keys.astype(np.int64),
        tag_values=values.astype(np.int64),
        point_counts=point_counts,
        refs=_undelta(unzigzag(refs), point_counts),
        places=np.stack(places, axis=1),
    )


def _arrays(message: bytes) -> dict[int, bytes]:
    return {field: value for field, value in fields(message) if isinstance(value, bytes)}


def _versions(numbers: npt.NDArray[np.uint64], count: int) -> Numbers:
    """Returns versions as an int32 holds them: those that a broken program wrote are not said."""
    if not len(numbers):
        return np.zeros(count, np.int64)
    return np.where(numbers <= _MOST_VERSION, numbers, np.uint64(0)).astype(np.int64)


def _messages(group: bytes) -> tuple[Numbers, Numbers]:
    """Returns where the messages of a group begin and end."""
    starts, ends = [], []
    place = 0
    while place < len(group):
        size = group[place + 1]
        start = place + 2
        if size >= 128:
            size, start = varint(group, place + 1)
        place = start + size
        starts.append(start)
        ends.append(place)
    return np.array(starts, np.int64), np.array(ends, np.int64)


def _undelta(steps: Numbers, counts: Numbers) -> Numbers:
    """Returns the numbers of several arrays, one behind the other, of the differences in each."""
    sums = np.concatenate([[0], np.cumsum(steps)])
    starts = np.cumsum(counts) - counts
    numbers: Numbers = sums[1:] - np.repeat(sums[starts], counts)
    return numbers


class _Messages:
    """Fields of N messages, looked at side by side.

    Args:
        buffer: (B,) uint8 that holds them and some bytes more.
        starts: (N,) where each begins.
        ends: (N,) where each ends.
    """

    def __init__(self, buffer: npt.NDArray[np.uint8], starts: Numbers, ends: Numbers) -> None:
        self._buffer = buffer
        self._count = len(starts)
        # Field -> (N,) its number, or the size of its bytes; and where those begin.
        self._values: dict[int, npt.NDArray[np.uint64]] = {}
        self._starts: dict[int, Numbers] = {}
        rows, places = np.flatnonzero(starts < ends), starts[starts < ends]
        while len(rows):
            tags = buffer[places]
            values, places = _varints_at(buffer, places + 1)
            for tag in np.unique(tags).tolist():
                of_tag = tags == tag
                self._note(tag >> 3, rows[of_tag], values[of_tag], places[of_tag])
                if tag & 7 != _VARINT:
                    places[of_tag] += values[of_tag].astype(np.int64)
            more = places < ends[rows]
            rows, places = rows[more], places[more]

    def numbers(self, field: int) -> npt.NDArray[np.uint64]:
        """Returns (N,) the numbers of a field, 0 where it is not there."""
        return self._values.get(field, np.zeros(self._count, np.uint64))

    def slices(self, field: int) -> tuple[Numbers, Numbers]:
        """Returns (N,) where a field's bytes begin, and how many they are, 0 where it is not there."""
        starts = self._starts.get(field, np.zeros(self._count, np.int64))
        return starts, self.numbers(field).astype(np.int64)

    def packed(self, field: int) -> tuple[npt.NDArray[np.uint64], Numbers]:
        """Returns the numbers of a packed field, those of one message behind another's, and (N,) how many each has."""
        starts, sizes = self.slices(field)
        begins = np.cumsum(sizes) - sizes
        taken = self._buffer[np.repeat(starts - begins, sizes) + np.arange(sizes.sum())]
        ended = np.concatenate([[0], np.cumsum(taken < 128)])
        return varints(taken.tobytes()), ended[begins + sizes] - ended[begins]

    def _note(self, field: int, rows: Numbers, values: npt.NDArray[np.uint64], places: Numbers) -> None:
        self._values.setdefault(field, np.zeros(self._count, np.uint64))[rows] = values
        self._starts.setdefault(field, np.zeros(self._count, np.int64))[rows] = places


def _varints_at(buffer: npt.NDArray[np.uint8], places: Numbers) -> tuple[npt.NDArray[np.uint64], Numbers]:
    """Returns (N,) the numbers at N places, and the places behind them."""
    numbers = np.zeros(len(places), np.uint64)
    places = places.copy()
    rows = np.arange(len(places))
    for byte in range(MOST_VARINT_BYTES):
        taken = buffer[places[rows]]
        numbers[rows] |= (taken & 127).astype(np.uint64) << np.uint64(7 * byte)
        places[rows] += 1
        rows = rows[taken >= 128]
        if not len(rows):
            break
    return numbers, places
