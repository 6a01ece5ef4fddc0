"""Messages of protobuf's wire format, of which an `.osm.pbf` file is made.

Source: https://protobuf.dev/programming-guides/encoding/
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

AGAIN = "download or make it again"
"""The advice on a file that is damaged."""

MOST_VARINT_BYTES = 10
"""Of a number of 64 bits. Source: the encoding."""

FIXED_BYTES = {1: 8, 5: 4}
"""Of a value, by its wire type, where they are fixed."""

_VARINT, _BYTES = 0, 2  # wire types
_TEXT_TAG = 10  # of a text in a string table: field 1, of bytes


def garbled() -> ValueError:
    """Returns the error of a message that is none."""
    return ValueError(f"a block is garbled; {AGAIN}")


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
            raise garbled()
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
            size = FIXED_BYTES.get(wire, -1)
        if not 0 <= size <= end - place:
            raise garbled()
        yield tag >> 3, message[place : place + size]
        place += size


def texts_of(table: bytes) -> list[bytes]:
    """Returns the strings of a string table, which are its fields 1.

    Raises:
        ValueError: It is no such message.
    """
    texts: list[bytes] = []
    place, end = 0, len(table)
    try:
        while place < end:  # there are millions of them: little is done with each
            if table[place] != _TEXT_TAG:
                return [text for field, text in fields(table) if field == 1 and isinstance(text, bytes)]
            size = table[place + 1]
            start = place + 2
            if size >= 128:
                size, start = varint(table, place + 1)
            place = start + size
            texts.append(table[start:place])
    except IndexError as error:
        raise garbled() from error
    if place > end:
        raise garbled()
    return texts


def varints(array: bytes, *, strict: bool = False) -> npt.NDArray[np.uint64]:
    """Returns the numbers of a packed field.

    Args:
        array: The field.
        strict: Whether a number that breaks off, or is too long, is refused. Else it is what its bytes say.

    Raises:
        ValueError: One is refused.
    """
    taken = np.frombuffer(array, np.uint8)
    ends = np.flatnonzero(taken < 128)
    if len(ends) == len(taken):
        return taken.astype(np.uint64)
    if taken[-1] >= 128:
        if strict:
            raise garbled()
        ends = np.append(ends, len(taken) - 1)
    starts = np.empty(len(ends), np.int64)
    starts[0], starts[1:] = 0, ends[:-1] + 1
    sizes = ends - starts + 1
    numbers: npt.NDArray[np.uint64] = (taken[starts] & 127).astype(np.uint64)
    # Most numbers are short.
    longer = np.flatnonzero(sizes > 1)
    for place in range(1, MOST_VARINT_BYTES):
        if not len(longer):
            break
        septets = (taken[starts[longer] + place] & 127).astype(np.uint64)
        numbers[longer] |= septets << np.uint64(7 * place)
        longer = longer[sizes[longer] > place + 1]
    if strict and len(longer):
        raise garbled()
    return numbers


def encoded(numbers: npt.NDArray[np.uint64]) -> tuple[bytes, npt.NDArray[np.int64]]:
    """Is the inverse of `varints`.

    Args:
        numbers: (N,) the numbers.

    Returns:
        The packed field, and (N,) how many bytes of it each number takes.
    """
    sizes = np.ones(len(numbers), np.int64)
    for place in range(1, MOST_VARINT_BYTES):
        sizes += numbers >= np.uint64(1 << 7 * place)
    ends = np.cumsum(sizes)
    starts = ends - sizes
    array = np.empty(int(ends[-1]) if len(ends) else 0, np.uint8)
    rows = np.arange(len(numbers))
    for place in range(MOST_VARINT_BYTES):
        rows = rows[sizes[rows] > place]
        septets = (numbers[rows] >> np.uint64(7 * place)).astype(np.uint8) & 127
        array[starts[rows] + place] = septets | np.where(sizes[rows] > place + 1, 128, 0).astype(np.uint8)
    return array.tobytes(), sizes


def zigzag(numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    """Is the inverse of `unzigzag`."""
    return ((numbers << 1) ^ (numbers >> 63)).view(np.uint64)


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
    raise garbled()
