"""Writes an extract of one closed way byte by byte, with what libosmium refuses to write: tags without limit.

Source of the format: https://wiki.openstreetmap.org/wiki/PBF_Format
"""

from collections.abc import Sequence
from pathlib import Path

LonLat = tuple[float, float]


def write_raw_pbf(
    path: Path, ring: Sequence[LonLat], tags: dict[str, str], bounds: tuple[float, float, float, float]
) -> None:
    """Writes the way; `bounds` (west, south, east, north) in degrees go into the header."""
    west, south, east, north = (round(degrees * 1e9) for degrees in bounds)
    box = b"".join(
        _number(field, _signed(value)) for field, value in enumerate((west, east, north, south), 1)
    )
    header = _held(1, box) + _held(4, b"OsmSchema-V0.6")
    strings = [b"", *(text.encode() for pair in tags.items() for text in pair)]
    table = _held(1, b"".join(_held(1, text) for text in strings))
    nodes = b"".join(
        _held(1, _number(1, _signed(osm_id)) + _number(8, _degrees(lat)) + _number(9, _degrees(lon)))
        for osm_id, (lon, lat) in enumerate(ring[:-1], 1)
    )
    # References are stored as differences: up by one, and back to the first.
    references = _signed(1) * (len(ring) - 1) + _signed(2 - len(ring))
    keys = b"".join(map(_varint, range(1, len(strings), 2)))
    values = b"".join(map(_varint, range(2, len(strings), 2)))
    way = _number(1, _varint(1)) + _held(2, keys) + _held(3, values) + _held(8, references)
    data = table + _held(2, nodes) + _held(2, _held(3, way))
    path.write_bytes(_blob(b"OSMHeader", header) + _blob(b"OSMData", data))


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    return bytes([*encoded, number])


def _signed(number: int) -> bytes:
    return _varint(2 * number if number >= 0 else -2 * number - 1)


def _degrees(degrees: float) -> bytes:
    return _signed(round(degrees * 1e7))


def _number(field: int, encoded: bytes) -> bytes:
    return _varint(field << 3) + encoded


def _held(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _blob(kind: bytes, content: bytes) -> bytes:
    blob = _held(1, content) + _number(2, _varint(len(content)))
    head = _held(1, kind) + _number(3, _varint(len(blob)))
    return len(head).to_bytes(4, "big") + head + blob
