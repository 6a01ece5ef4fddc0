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
    box = b"".join(number(field, signed(value)) for field, value in enumerate((west, east, north, south), 1))
    header = held(1, box) + held(4, b"OsmSchema-V0.6")
    strings = [b"", *(text.encode() for pair in tags.items() for text in pair)]
    table = held(1, b"".join(held(1, text) for text in strings))
    nodes = b"".join(
        held(1, number(1, signed(osm_id)) + number(8, _degrees(lat)) + number(9, _degrees(lon)))
        for osm_id, (lon, lat) in enumerate(ring[:-1], 1)
    )
    # References are stored as differences: up by one, and back to the first.
    references = signed(1) * (len(ring) - 1) + signed(2 - len(ring))
    keys = b"".join(map(varint, range(1, len(strings), 2)))
    values = b"".join(map(varint, range(2, len(strings), 2)))
    way = number(1, varint(1)) + held(2, keys) + held(3, values) + held(8, references)
    data = table + held(2, nodes) + held(2, held(3, way))
    path.write_bytes(raw_blob(b"OSMHeader", header) + raw_blob(b"OSMData", data))


def varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    return bytes([*encoded, number])


def signed(number: int) -> bytes:
    return varint(2 * number if number >= 0 else -2 * number - 1)


def _degrees(degrees: float) -> bytes:
    return signed(round(degrees * 1e7))


def number(field: int, encoded: bytes) -> bytes:
    return varint(field << 3) + encoded


def held(field: int, content: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(content)) + content


def raw_blob(kind: bytes, content: bytes) -> bytes:
    return framed(kind, held(1, content) + number(2, varint(len(content))))


def framed(kind: bytes, blob: bytes) -> bytes:
    head = held(1, kind) + number(3, varint(len(blob)))
    return len(head).to_bytes(4, "big") + head + blob
