"""Tells whether the objects of an `.osm.pbf` file are in order and each is in it once.

libosmium passes on what it is given: of a node in two versions, the older one would be drawn. So the ids are looked at
before. Its order is nodes, ways, relations; in each, ids up to 0 downwards, then those from 1 upwards.

Source of the format: https://wiki.openstreetmap.org/wiki/PBF_Format
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from beam_pipeline.labels.map_object import ObjectType
from beam_pipeline.labels.pbf_wire import fields, signed, unzigzag, varint, varints
from beam_pipeline.runtime.faults import PermanentFault

_NODE, _DENSE, _WAY, _RELATION = 1, 2, 3, 4  # fields of a group
_TYPES: dict[int, ObjectType] = {_NODE: "node", _DENSE: "node", _WAY: "way", _RELATION: "relation"}
_RANKS: dict[ObjectType, int] = {"node": 0, "way": 1, "relation": 2}
_GROUP, _ID = 2, 1  # fields of a block, and of an object or of dense nodes
_BEFORE_ALL = -(1 << 63)  # of no id that libosmium sorts
_ID_TAG = bytes((_ID << 3,))  # begins an object as all programs write it

Ids = npt.NDArray[np.int64]


class ObjectOrder:
    """Looks at the blocks of a file in turn.

    Args:
        name: Of the file, for messages.

    Attributes:
        has_negative: Whether an id was below 0.
    """

    def __init__(self, name: str) -> None:
        self.has_negative = False
        self._name = name
        self._last: tuple[ObjectType, int] = ("node", _BEFORE_ALL)  # type and place of the object before

    def check(self, block: bytes) -> None:
        """Looks at the next block, unpacked.

        Raises:
            PermanentFault: "unsorted_extract" or "doubled_extract".
            ValueError: It is no block.
        """
        for osm_type, ids in ids_of(block):
            self.look_at(osm_type, ids)

    def look_at(self, osm_type: ObjectType, ids: Ids) -> None:
        """Looks at the next objects.

        Args:
            osm_type: Their type.
            ids: (N,) theirs.

        Raises:
            PermanentFault: "unsorted_extract" or "doubled_extract".
        """
        if not len(ids):
            return
        last_type, last_place = self._last
        if _RANKS[osm_type] < _RANKS[last_type]:
            raise self._unsorted(f"{osm_type} {ids[0]} comes after a {last_type}")
        places = _places(ids)
        before = np.empty_like(places)
        before[0] = last_place if osm_type == last_type else _BEFORE_ALL
        before[1:] = places[:-1]
        wrong = np.flatnonzero(places <= before)
        if len(wrong):
            osm_id = int(ids[wrong[0]])
            if places[wrong[0]] == before[wrong[0]]:
                raise self._doubled(f"{osm_type} {osm_id}")
            raise self._unsorted(f"{osm_type} {osm_id} comes after one of a higher id")
        self.has_negative |= bool(ids.min() < 0)
        self._last = (osm_type, int(places[-1]))

    def _unsorted(self, detail: str) -> PermanentFault:
        return PermanentFault(
            "unsorted_extract",
            f"{self._name}: {detail}; sort it: osmium sort {self._name} -o SORTED.osm.pbf",
        )

    def _doubled(self, element: str) -> PermanentFault:
        return PermanentFault(
            "doubled_extract",
            f"{self._name}: {element} is in it more than once, as after a merge of extracts of different dates: osmium "
            "merge and osmium sort keep every version. Merge extracts of one date anew (osmium merge A.osm.pbf "
            "B.osm.pbf -o AB.osm.pbf), or give each of them to --osm",
        )


def _places(ids: Ids) -> Ids:
    """Returns numbers that grow as libosmium sorts ids."""
    return np.where(ids > 0, ids, -(1 << 62) - ids)


def ids_of(block: bytes) -> Iterator[tuple[ObjectType, Ids]]:
    """Yields the ids of a block's objects in order, in runs of one type."""
    for field, group in fields(block):
        if field != _GROUP or not isinstance(group, bytes):
            continue
        run: list[int] = []
        kind = 0
        for other, message in fields(group):
            if other not in _TYPES or not isinstance(message, bytes):
                continue
            if other != kind:
                yield _TYPES.get(kind, "node"), np.array(run, dtype=np.int64)
                run, kind = [], other
            if kind == _DENSE:
                yield "node", _dense_ids(message)
            else:
                run.append(_id(message, zigzag=kind == _NODE))
        yield _TYPES.get(kind, "node"), np.array(run, dtype=np.int64)


def _dense_ids(message: bytes) -> Ids:
    """Returns the ids of dense nodes, which lie in it as differences."""
    array = next(
        (value for field, value in fields(message) if field == _ID and isinstance(value, bytes)), b""
    )
    return np.cumsum(unzigzag(varints(array)))


def _id(message: bytes, *, zigzag: bool) -> int:
    """Returns the id of an object that is none of dense nodes."""
    if message[:1] == _ID_TAG:
        number, _ = varint(message, 1)
    else:
        number = next(
            (value for field, value in fields(message) if field == _ID and isinstance(value, int)), 0
        )
    if zigzag:
        return signed(number)
    number &= (1 << 64) - 1  # as libosmium cuts it
    return number - (1 << 64) if number >> 63 else number
