"""Messages of protobuf's wire format, of which an `.osm.pbf` file is made.

Source: https://protobuf.dev/programming-guides/encoding/
"""

from collections.abc import Iterator

AGAIN = "download or make it again"
"""What to do about a file that is damaged."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yields (number, value) of the fields of a protobuf message; fixed-width values as bytes.

    Raises:
        ValueError: It is no such message, or libosmium would read it otherwise.
    """
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        # libosmium cuts tags to 32 bits, and so would take a larger one for another.
        if not 8 <= tag < 1 << 32:
            raise ValueError(f"a block is garbled; {AGAIN}")
        wire = tag & 7
        if wire == _VARINT:
            value, place = _varint(message, place)
            yield tag >> 3, value
            continue
        size = {_FIXED64: 8, _FIXED32: 4}.get(wire, -1)
        if wire == _BYTES:
            size, place = _varint(message, place)
        if not 0 <= size <= len(message) - place:
            raise ValueError(f"a block is garbled; {AGAIN}")
        yield tag >> 3, message[place : place + size]
        place += size


def _varint(message: bytes, place: int) -> tuple[int, int]:
    """Returns the number at a place, and the place behind it."""
    number = 0
    for shift, byte in zip(range(0, 70, 7), message[place : place + 10], strict=False):
        number |= (byte & 127) << shift
        place += 1
        if byte < 128:
            return number, place
    raise ValueError(f"a block is garbled; {AGAIN}")
