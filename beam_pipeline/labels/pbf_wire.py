"""Messages of protobuf's wire format, of which an `.osm.pbf` file is made.

Source: https://protobuf.dev/programming-guides/encoding/
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

AGAIN = "download or make it again"
"""What to do about a file that is damaged."""

MOST_VARINT_BYTES = 10
"""Of a number of 64 bits. Source: the encoding."""

_VARINT, _BYTES = 0, 2  # wire types,
_FIXED_BYTES = {1: 8, 5: 4}  # and those of fixed width


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yields (number, value) of the fields of a protobuf message; fixed-width values as bytes.

    Raises:
        ValueError: It is no such message, or libosmium would read it otherwise.
    """
    place, end = 0, len(message)
    while place < end:
        tag = message[place]
        place += 1
        if tag >= 128:  # most tags and sizes take a byte, and there are millions
            tag, place = varint(message, place - 1)
        # libosmium cuts tags to 32 bits, and so would take a larger one for another.
        if not 8 <= tag < 1 << 32:
            raise ValueError(f"a block is garbled; {AGAIN}")
        wire = tag & 7
        if wire == _BYTES:
            size = message[place] if place < end else 128
            place += 1
            if size >= 128:
                size, place = varint(message, place - 1)
        elif wire == _VARINT:
            value, place = varint(message, place)
            yield tag >> 3, value
            continue
        else:
            size = _FIXED_BYTES.get(wire, -1)
        if not 0 <= size <= end - place:
            raise ValueError(f"a block is garbled; {AGAIN}")
        yield tag >> 3, message[place : place + size]
        place += size


def varints(array: bytes) -> npt.NDArray[np.uint64]:
    """Returns the numbers of a packed field; of one that breaks off, the bytes that are there."""
    taken = np.frombuffer(array, np.uint8)
    ends = np.flatnonzero(taken < 128)
    if len(taken) and taken[-1] >= 128:
        ends = np.append(ends, len(taken) - 1)
    starts = np.concatenate([np.zeros(min(len(ends), 1), np.int64), ends[:-1] + 1])
    sizes = ends - starts + 1
    numbers: npt.NDArray[np.uint64] = (taken[starts] & 127).astype(np.uint64)
    # Most numbers are short. Of one that is too long, which libosmium refuses, the rest is passed over.
    for place in range(1, MOST_VARINT_BYTES):
        longer = np.flatnonzero(sizes > place)
        if not len(longer):
            break
        septets = (taken[starts[longer] + place] & 127).astype(np.uint64)
        numbers[longer] |= septets << np.uint64(7 * place)
    return numbers


def unzigzag(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """Returns the signed numbers that protobuf writes as unsigned ones: the last bit is the sign."""
    signed: npt.NDArray[np.int64] = (numbers >> np.uint64(1)).astype(np.int64)
    signed ^= -(numbers & np.uint64(1)).astype(np.int64)
    return signed


def signed(number: int) -> int:
    """Returns a number that protobuf's zigzag has packed: the last bit is the sign."""
    number &= (1 << 64) - 1  # as libosmium cuts it
    return number >> 1 ^ -(number & 1)


def varint(message: bytes, place: int) -> tuple[int, int]:
    """Returns the number at a place, and the place behind it.

    Raises:
        ValueError: There is none.
    """
    if place < len(message) and message[place] < 128:  # most are, and there are millions
        return message[place], place + 1
    number = shift = 0
    for byte in message[place : place + MOST_VARINT_BYTES]:
        number |= (byte & 127) << shift
        shift += 7
        place += 1
        if byte < 128:
            return number, place
    raise ValueError(f"a block is garbled; {AGAIN}")
