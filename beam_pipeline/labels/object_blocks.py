"""Decodes the blocks of an `.osm.pbf` file, many objects at once.

A step of Python for each object, or for each field of one, would take most of the time of reading: so the fields of all
objects of a block are looked at side by side (`message_columns.py`).

Source of the format: https://wiki.openstreetmap.org/wiki/PBF_Format, and
https://osmcode.org/osmium-concepts/#locations-on-ways for locations on ways.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from beam_pipeline.labels.map_object import ObjectType
from beam_pipeline.labels.message_columns import MessageColumns, Numbers, Unsigned, messages_of, sums_of
from beam_pipeline.labels.node_index import NOWHERE, Places
from beam_pipeline.labels.pbf_blocks import WRITE_ANEW
from beam_pipeline.labels.pbf_checks import Block
from beam_pipeline.labels.pbf_wire import AGAIN, fields, garbled, unzigzag, varints

MOST_TEXT_BYTES = 1024
"""Of a text. Source: libosmium's `osmium/osm/types.hpp`: 256 characters of up to 4 bytes."""

_STRINGS, _GROUP = 1, 2  # fields of a block,
_GRANULARITY, _DATE_GRANULARITY, _LAT_OFFSET, _LON_OFFSET = 17, 18, 19, 20
_NODE, _DENSE, _WAY, _RELATION = 1, 2, 3, 4  # of a group,
_ID, _KEYS, _VALUES, _INFO, _LAT, _LON = 1, 2, 3, 4, 8, 9  # of an object,
_REFS, _LATS, _LONS = 8, 9, 10  # of a way,
_DENSE_INFO, _DENSE_LATS, _DENSE_LONS, _DENSE_TAGS = 5, 8, 9, 10  # of dense nodes,
_VERSION, _TIMESTAMP, _VISIBLE = 1, 2, 6  # of an info, dense or not
_NANODEGREES, _MS = 100, 1000  # of a unit of longitude or latitude, and of a second
_BITS = {_GRANULARITY: 32, _DATE_GRANULARITY: 32, _LAT_OFFSET: 64, _LON_OFFSET: 64}
_MOST_VERSION = (1 << 31) - 1
_MOST_SECONDS = (1 << 32) - 1  # as libosmium keeps them
_MOST_LOOKS = 100_000_000
"""Texts of a block, each as often as it has runs of objects, which are all compared with all texts. It takes 5 s."""

_MOST_PLACE = (180 * 10**7, 90 * 10**7)

_NO_NUMBERS = np.empty(0, np.int64)
_NO_PLACES = np.empty((0, 2), np.int32)


@dataclasses.dataclass(frozen=True)
class ObjectBlock:
    """N objects of one type. Of relations there are the ids alone.

    Attributes:
        osm_type: Their type.
        strings: Texts of tags.
        ids: (N,).
        tag_counts: (N,) number of tags of each.
        tag_keys: (T,) indices into `strings`.
        tag_values: (T,) indices into `strings`.
        point_counts: (N,) the nodes of ways; else empty.
        refs: (P,) ids of the nodes of ways; else empty.
        places: (N, 2) of nodes, or (P, 2) of the nodes of ways where the file has them there: longitude and latitude in
            units of 1e-7 degrees, or `NOWHERE`. Else empty.
        describe: Returns versions and times, see `metadata`.
    """

    osm_type: ObjectType
    strings: list[str]
    ids: Numbers
    tag_counts: Numbers
    tag_keys: Numbers
    tag_values: Numbers
    point_counts: Numbers
    refs: Numbers
    places: Places
    describe: Callable[[], tuple[Numbers, Numbers]]

    @functools.cached_property
    def metadata(self) -> tuple[Numbers, Numbers]:
        """(N,) versions and (N,) seconds since 1970, 0 where none is said; decoded when they are asked for."""
        return self.describe()


def objects_of(block: Block) -> Iterator[ObjectBlock]:
    """Decodes a block.

    Args:
        block: The block.

    Yields:
        Its nodes, ways and relations in runs of one type, in order.

    Raises:
        UnicodeDecodeError: A text is not in UTF-8.
        ValueError: It is not what the format says, or libosmium would read it otherwise.
    """
    decoder = _Decoder(block)
    looks = 0
    for group in decoder.groups:
        if not group:
            continue
        starts, ends = messages_of(group)
        kind = group[0] >> 3
        looks += len(block.texts) * (len(starts) if kind == _DENSE else 1)
        if looks > _MOST_LOOKS:
            raise ValueError(f"a block has very many texts and groups; {WRITE_ANEW}")
        if kind == _DENSE:
            for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
                yield decoder.dense_nodes(group[start:end])
        elif kind in (_NODE, _WAY, _RELATION):
            decode = {_NODE: decoder.nodes, _WAY: decoder.ways, _RELATION: decoder.relations}[kind]
            yield decode(MessageColumns(group, starts, ends))


class _Decoder:
    """Decodes the groups of one block."""

    def __init__(self, block: Block) -> None:
        self.groups: list[bytes] = []
        self._said = {_GRANULARITY: _NANODEGREES, _DATE_GRANULARITY: _MS, _LAT_OFFSET: 0, _LON_OFFSET: 0}
        tables = 0
        for field, value in fields(block.content):
            if field == _STRINGS and isinstance(value, bytes):
                tables += 1
            elif field == _GROUP and isinstance(value, bytes):
                self.groups.append(value)
            elif field in self._said and isinstance(value, int):
                self._said[field] = _cut(value, _BITS[field])
        if tables > 1:
            raise ValueError(f"a block has more than one table of texts; {AGAIN}")
        if max(map(len, block.texts), default=0) > MOST_TEXT_BYTES:
            raise ValueError(
                f"a text is overlong: a key or value has 255 characters at most in OpenStreetMap; {AGAIN}"
            )
        # Decoded at once: a NUL is in none.
        self._strings = b"\0".join(block.texts).decode().split("\0") if block.texts else []

    def dense_nodes(self, message: bytes) -> ObjectBlock:
        """Decodes nodes that lie in one message by columns."""
        dense = _arrays(message)
        info = _arrays(dense.get(_DENSE_INFO, b""))
        ids = _summed(dense.get(_ID, b""))
        count = len(ids)
        lons, lats = (_summed(dense.get(key, b""))[:count] for key in (_DENSE_LONS, _DENSE_LATS))
        if len(lons) < count or len(lats) < count:
            raise garbled()
        places = self._places(lons, lats)
        if _VISIBLE in info:
            visible = _full(varints(info[_VISIBLE], strict=True), count)
            places[visible == 0] = NOWHERE

        def metadata() -> tuple[Numbers, Numbers]:
            versions = _full(varints(info.get(_VERSION, b""), strict=True), count)
            return _versions(versions), self._seconds(_full(_summed(info.get(_TIMESTAMP, b"")), count))

        return self._block(
            "node", ids, _dense_tags(dense.get(_DENSE_TAGS, b""), count), metadata, places=places
        )

    def nodes(self, nodes: MessageColumns) -> ObjectBlock:
        """Decodes nodes that lie in messages of their own."""
        places = self._places(unzigzag(nodes.numbers(_LON)), unzigzag(nodes.numbers(_LAT)))
        infos = nodes.inner(_INFO)
        places[infos.are_there(_VISIBLE) & (infos.numbers(_VISIBLE) == 0)] = NOWHERE
        describe = functools.partial(self._metadata, infos)
        return self._block("node", unzigzag(nodes.numbers(_ID)), _tags(nodes), describe, places=places)

    def ways(self, ways: MessageColumns) -> ObjectBlock:
        """Decodes ways."""
        refs, point_counts = ways.packed(_REFS)
        places = _NO_PLACES
        lons, lon_counts = ways.packed(_LONS)
        if len(lons):
            lats, lat_counts = ways.packed(_LATS)
            if (lon_counts != lat_counts).any() or (lon_counts != point_counts)[lon_counts > 0].any():
                raise garbled()
            places = np.full((len(refs), 2), NOWHERE, np.int32)
            both = (_undelta(unzigzag(numbers), lon_counts) for numbers in (lons, lats))
            places[np.repeat(lon_counts > 0, point_counts)] = self._places(*both)
        return self._block(
            "way",
            ways.numbers(_ID).view(np.int64),
            _tags(ways),
            lambda: self._metadata(ways.inner(_INFO)),
            point_counts=point_counts,
            refs=_undelta(unzigzag(refs), point_counts),
            places=places,
        )

    def relations(self, relations: MessageColumns) -> ObjectBlock:
        """Decodes the ids of relations."""
        ids = relations.numbers(_ID).view(np.int64)
        no_texts = np.empty(0, np.uint64)
        no_tags = (np.zeros(len(ids), np.int64), no_texts, no_texts)
        return self._block("relation", ids, no_tags, lambda: self._metadata(relations.inner(_INFO)))

    def _block(
        self,
        osm_type: ObjectType,
        ids: Numbers,
        tags: tuple[Numbers, Unsigned, Unsigned],
        describe: Callable[[], tuple[Numbers, Numbers]],
        *,
        places: Places = _NO_PLACES,
        point_counts: Numbers = _NO_NUMBERS,
        refs: Numbers = _NO_NUMBERS,
    ) -> ObjectBlock:
        counts, keys, values = tags
        if len(keys) and max(keys.max(), values.max()) >= len(self._strings):
            raise ValueError(f"a tag names a text that is not there; {AGAIN}")
        of_tags = (counts, keys.astype(np.int64), values.astype(np.int64))
        return ObjectBlock(osm_type, self._strings, ids, *of_tags, point_counts, refs, places, describe)

    def _places(self, lons: Numbers, lats: Numbers) -> Places:
        places = np.empty((len(lons), 2), np.int32)
        is_whole = True
        columns = ((lons, _LON_OFFSET), (lats, _LAT_OFFSET))
        for axis, ((numbers, offset), most) in enumerate(zip(columns, _MOST_PLACE, strict=True)):
            scale, begin = self._said[_GRANULARITY], self._said[offset]
            if (scale, begin) != (_NANODEGREES, 0):
                numbers = _divided(numbers * scale + begin, _NANODEGREES)
            if len(numbers) and max(-numbers.min(), numbers.max()) > most:
                numbers = np.where((numbers >= -most) & (numbers <= most), numbers, NOWHERE)
                is_whole = False
            places[:, axis] = numbers
        if not is_whole:
            places[(places == NOWHERE).any(axis=1)] = NOWHERE
        return places

    def _seconds(self, times: Numbers) -> Numbers:
        """Returns seconds since 1970; of times that a broken program wrote 0, as they are not said."""
        scale = self._said[_DATE_GRANULARITY]
        seconds = times if scale == _MS else _divided(times * scale, _MS)
        return np.where((seconds >= 0) & (seconds <= _MOST_SECONDS), seconds, 0)

    def _metadata(self, infos: MessageColumns) -> tuple[Numbers, Numbers]:
        return _versions(infos.numbers(_VERSION)), self._seconds(infos.numbers(_TIMESTAMP).view(np.int64))


def _cut(number: int, bits: int) -> int:
    """Returns a number as libosmium cuts it to a signed one of some bits."""
    number &= (1 << bits) - 1
    return number - (1 << bits) if number >> (bits - 1) else number


def _arrays(message: bytes) -> dict[int, bytes]:
    return {field: value for field, value in fields(message) if isinstance(value, bytes)}


def _summed(array: bytes) -> Numbers:
    """Returns the numbers of a packed field of differences."""
    return np.cumsum(unzigzag(varints(array, strict=True)))


def _full(numbers: npt.NDArray[np.generic], count: int) -> Numbers:
    """Returns a column of dense nodes as (N,) int64; zeros where there is none."""
    if not len(numbers):
        return np.zeros(count, np.int64)
    if len(numbers) < count:
        raise garbled()
    return numbers[:count].astype(np.int64)


def _dense_tags(array: bytes, count: int) -> tuple[Numbers, Unsigned, Unsigned]:
    """Returns the number of tags of each dense node, and all keys and values."""
    texts = varints(array, strict=True)
    if not len(texts):
        return np.zeros(count, np.int64), texts, texts
    # A 0 stands behind the tags of each node; in a pair it would be taken for a text by some.
    ends = np.flatnonzero(texts == 0)
    sizes = np.diff(ends, prepend=-1) - 1
    if len(ends) != count or ends[-1] != len(texts) - 1 or (sizes % 2).any():
        raise garbled()
    of_tags = texts[texts != 0]
    return sizes // 2, of_tags[::2], of_tags[1::2]


def _tags(objects: MessageColumns) -> tuple[Numbers, Unsigned, Unsigned]:
    """Returns the number of tags of each object, and all keys and values."""
    keys, counts = objects.packed(_KEYS)
    values, value_counts = objects.packed(_VALUES)
    if (counts != value_counts).any():
        raise garbled()
    return counts, keys, values


def _versions(numbers: npt.NDArray[np.integer]) -> Numbers:
    """Returns versions as an int32 holds them: those that a broken program wrote are not said."""
    signed = numbers.astype(np.int64)
    return np.where((signed >= 0) & (signed <= _MOST_VERSION), signed, 0)


def _undelta(steps: Numbers, counts: Numbers) -> Numbers:
    """Returns the numbers of several arrays, one behind the other, of the differences in each."""
    sums = sums_of(steps)
    numbers: Numbers = sums[1:] - np.repeat(sums[np.cumsum(counts) - counts], counts)
    return numbers


def _divided(numbers: Numbers, by: int) -> Numbers:
    """Divides as C does: towards zero."""
    quotients: Numbers = np.sign(numbers) * (np.abs(numbers) // by)
    return quotients
