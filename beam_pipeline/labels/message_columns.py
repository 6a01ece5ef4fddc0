"""Fields of many messages of protobuf's wire format, looked at side by side.

Source: https://protobuf.dev/programming-guides/encoding/
"""

import numpy as np
import numpy.typing as npt

from beam_pipeline.labels.pbf_wire import FIXED_BYTES, MOST_VARINT_BYTES, garbled, varint, varints

Numbers = npt.NDArray[np.int64]
Unsigned = npt.NDArray[np.uint64]

_VARINT, _BYTES = 0, 2  # wire types
_MOST_TAG = 127  # of fields up to 15, more than objects have


class MessageColumns:
    """N messages.

    Args:
        buffer: Holds them.
        starts: (N,) where each begins.
        ends: (N,) where each ends.

    Raises:
        ValueError: One is no message.
    """

    def __init__(self, buffer: bytes, starts: Numbers, ends: Numbers) -> None:
        self._buffer = buffer
        self._count = len(starts)
        # Tag -> (N,) its number, or the size of its bytes; where those begin; whether it is there.
        self._values: dict[int, Unsigned] = {}
        self._starts: dict[int, Numbers] = {}
        self._there: dict[int, npt.NDArray[np.bool_]] = {}
        # What is read behind the end is not used.
        self._taken = np.frombuffer(buffer + bytes(2 * MOST_VARINT_BYTES), np.uint8)
        rows, places = np.flatnonzero(starts < ends), starts[starts < ends]
        while len(rows):
            tags, places = _varints_at(self._taken, places)
            is_number = (tags & np.uint64(7)) == _VARINT
            is_sized = is_number | ((tags & np.uint64(7)) == _BYTES)
            values = np.zeros(len(rows), np.uint64)
            values[is_sized], places[is_sized] = _varints_at(self._taken, places[is_sized])
            sizes = np.where(is_number, np.uint64(0), values)
            for wire, fixed in FIXED_BYTES.items():
                sizes[(tags & np.uint64(7)) == wire] = fixed
                is_sized |= (tags & np.uint64(7)) == wire
            if not is_sized.all() or (sizes > np.uint64(len(buffer))).any():
                raise garbled()
            # Others are not asked for. Kept, thousands of them would fill memory.
            for tag in set(tags[tags <= _MOST_TAG].tolist()):
                of_tag = tags == tag
                self._note(tag, rows[of_tag], values[of_tag], places[of_tag])
            places = places + sizes.view(np.int64)
            if (places > ends[rows]).any():
                raise garbled()
            more = places < ends[rows]
            rows, places = rows[more], places[more]

    def numbers(self, field: int) -> Unsigned:
        """Returns (N,) the numbers of a field, 0 where it is not there."""
        return self._values.get(field << 3 | _VARINT, np.zeros(self._count, np.uint64))

    def are_there(self, field: int) -> npt.NDArray[np.bool_]:
        """Returns (N,) bool: which messages have a field that is a number."""
        return self._there.get(field << 3 | _VARINT, np.zeros(self._count, np.bool_))

    def inner(self, field: int) -> "MessageColumns":
        """Returns N messages that are a field of these; where it is not there, an empty one."""
        starts, sizes = self._slices(field)
        return MessageColumns(self._buffer, starts, starts + sizes)

    def packed(self, field: int) -> tuple[Unsigned, Numbers]:
        """Returns the numbers of a packed field, those of one message behind another's, and (N,) how many each has."""
        starts, sizes = self._slices(field)
        begins = np.cumsum(sizes) - sizes
        taken = self._taken[np.repeat(starts - begins, sizes) + np.arange(sizes.sum())]
        is_end = taken < 128
        if not is_end[(begins + sizes)[sizes > 0] - 1].all():
            raise garbled()
        ended = sums_of(is_end)
        return varints(taken.tobytes(), strict=True), ended[begins + sizes] - ended[begins]

    def _slices(self, field: int) -> tuple[Numbers, Numbers]:
        """Returns (N,) where a field's bytes begin, and how many they are, 0 where it is not there."""
        tag = field << 3 | _BYTES
        starts = self._starts.get(tag, np.zeros(self._count, np.int64))
        return starts, self._values.get(tag, np.zeros(self._count, np.uint64)).view(np.int64)

    def _note(self, tag: int, rows: Numbers, values: Unsigned, places: Numbers) -> None:
        if tag not in self._values:
            self._values[tag] = np.zeros(self._count, np.uint64)
            self._starts[tag] = np.zeros(self._count, np.int64)
            self._there[tag] = np.zeros(self._count, np.bool_)
        self._values[tag][rows], self._starts[tag][rows], self._there[tag][rows] = values, places, True


def messages_of(group: bytes) -> tuple[Numbers, Numbers]:
    """Returns where the messages of a group begin and end, which are all of one kind.

    Raises:
        ValueError: They are not.
    """
    heads = []
    place, whole = 0, len(group)
    try:
        while place < whole:  # there are millions of them: little is done with each
            heads.append(place)
            size = group[place + 1]
            place += 2
            if size >= 128:
                size, place = varint(group, place - 1)
            place += size
    except IndexError as error:
        raise garbled() from error
    taken = np.frombuffer(group, np.uint8)
    tags = taken[heads]
    if place > whole or (tags != tags[:1]).any() or (tags[:1] & 0x87 != _BYTES).any():
        raise garbled()
    sizes, starts = _varints_at(taken, np.array(heads, np.int64) + 1)
    return starts, starts + sizes.view(np.int64)


def sums_of(values: npt.NDArray[np.generic]) -> Numbers:
    """Returns (N + 1,) the sums of the first values: of none, of one, and so on."""
    sums = np.zeros(len(values) + 1, np.int64)
    np.cumsum(values, out=sums[1:])
    return sums


def _varints_at(buffer: npt.NDArray[np.uint8], places: Numbers) -> tuple[Unsigned, Numbers]:
    """Returns (N,) the numbers at N places, and the places behind them."""
    taken = buffer[places]
    numbers = (taken & 127).astype(np.uint64)
    places = places + 1
    rows = np.flatnonzero(taken >= 128)
    for byte in range(1, MOST_VARINT_BYTES):
        if not len(rows):
            return numbers, places
        taken = buffer[places[rows]]
        numbers[rows] |= (taken & 127).astype(np.uint64) << np.uint64(7 * byte)
        places[rows] += 1
        rows = rows[taken >= 128]
    if len(rows):
        raise garbled()
    return numbers, places
