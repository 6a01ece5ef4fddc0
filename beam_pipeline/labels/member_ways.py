"""Writes the ways of relations for libosmium's assembler, which takes them from a file.

It looks at where their nodes lie and at nothing else. So they are written without tags, and all nodes have one id.

Source of the format: https://wiki.openstreetmap.org/wiki/PBF_Format, and
https://osmcode.org/osmium-concepts/#locations-on-ways for locations on ways.
"""

from collections.abc import Iterable, Iterator
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from beam_pipeline.labels.pbf_wire import encoded, zigzag

_MOST_WAYS, _MOST_NODES = 8_000, 500_000  # of a block
_FEATURES = (b"OsmSchema-V0.6", b"LocationsOnWays")  # required, and optional


def write_ways(file: BinaryIO, ways: Iterable[tuple[int, npt.NDArray[np.int32]]]) -> None:
    """Writes a file.

    Args:
        file: Open for writing, and empty.
        ways: Id, and (N, 2) longitudes and latitudes in units of 1e-7 degrees; in order of ids.

    Raises:
        OSError: It cannot be written.
    """
    required, optional = _FEATURES
    file.write(_blob(b"OSMHeader", _held(4, required) + _held(5, optional)))
    for block in _blocks(ways):
        group = b"".join(_held(3, message) for message in _messages(block))
        file.write(_blob(b"OSMData", _held(1, _held(1, b"")) + _held(2, group)))
    file.flush()


def _blocks(
    ways: Iterable[tuple[int, npt.NDArray[np.int32]]],
) -> Iterator[list[tuple[int, npt.NDArray[np.int32]]]]:
    block: list[tuple[int, npt.NDArray[np.int32]]] = []
    nodes = 0
    for way in ways:
        block.append(way)
        nodes += len(way[1])
        if len(block) >= _MOST_WAYS or nodes >= _MOST_NODES:
            yield block
            block, nodes = [], 0
    if block:
        yield block


def _messages(ways: list[tuple[int, npt.NDArray[np.int32]]]) -> Iterator[bytes]:
    """Yields the messages of ways."""
    counts = np.array([len(places) for _, places in ways])
    places = np.concatenate([places for _, places in ways]).astype(np.int64)
    steps = np.diff(places, axis=0, prepend=0)
    firsts = (np.cumsum(counts) - counts)[counts > 0]
    steps[firsts] = places[firsts]  # each way begins anew
    columns = []
    for axis in (0, 1):
        array, sizes = encoded(zigzag(np.ascontiguousarray(steps[:, axis])))
        columns.append((array, np.concatenate([[0], np.cumsum(sizes)]).tolist()))
    (lons, lon_ends), (lats, lat_ends) = columns
    ids, _ = zip(*ways, strict=True)
    numbers, sizes = encoded(np.array(ids, np.int64).view(np.uint64))
    ends = np.concatenate([[0], np.cumsum(sizes)]).tolist()
    first = 0
    for number, count in enumerate(counts.tolist()):
        last = first + count
        lat, lon = lats[lat_ends[first] : lat_ends[last]], lons[lon_ends[first] : lon_ends[last]]
        refs = b"\x02" + bytes(count - 1) if count else b""  # id 1, and differences of 0
        osm_id = numbers[ends[number] : ends[number + 1]]
        parts = (b"\x08", osm_id, b"\x42", _size(count), refs, b"\x4a", _size(len(lat)), lat)
        yield b"".join((*parts, b"\x52", _size(len(lon)), lon))
        first = last


def _held(field: int, content: bytes) -> bytes:
    return bytes([field << 3 | 2]) + _size(len(content)) + content


def _size(number: int) -> bytes:
    if number < 128:
        return bytes((number,))
    encoded_size = bytearray()
    while number > 127:
        encoded_size.append(number & 127 | 128)
        number >>= 7
    return bytes([*encoded_size, number])


def _blob(kind: bytes, content: bytes) -> bytes:
    blob = _held(1, content)
    header = _held(1, kind) + b"\x18" + _size(len(blob))
    return len(header).to_bytes(4, "big") + header + blob
