"""The cell and the year of a stored example, found without reading its pixels.

The features of an example lie one after the other, each with its key and its length in front. So all but those that
are wanted are passed over: of 0.55 MB a few kB are read.

Source of the layout: tensorflow/core/example/example.proto and https://protobuf.dev/programming-guides/encoding/.
"""

from typing import BinaryIO

from google.protobuf.message import DecodeError

from beam_pipeline.records.example_proto import Example
from beam_pipeline.records.shards import Place
from beam_pipeline.runtime.faults import PermanentFault

_FIRST = b"\x0a"  # tag of the first field of a message, where that is of bytes
_IDS = ("cell_id", "year")
_VARINT_BYTES = 10
_PEEK_BYTES = 64  # more than the tags, the lengths and the key of any feature of ours take
_MOST_ID_BYTES = 64  # of the feature of an id, with its key


def read_ids(file: BinaryIO, place: Place, name: str) -> tuple[int, int]:
    """Finds the ids of an example. Its CRC is not looked at: only reading all of it would show that.

    Args:
        file: The shard, in which ranges can be read.
        place: Where the example lies.
        name: The shard's name, for messages.

    Returns:
        (cell_id, year).

    Raises:
        PermanentFault: "corrupt_example": it is damaged, or has no such features.
    """
    try:
        features = _features_of(file, place, set(_IDS))
    except (ValueError, DecodeError) as error:
        raise PermanentFault(
            "corrupt_example", f"{name}: record {place.record} is no example: {error}"
        ) from error
    return features["cell_id"], features["year"]


def _features_of(file: BinaryIO, place: Place, wanted: set[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    end = place.payload + place.length
    at, length = _field(file, place.payload, _FIRST, end)
    if at + length != end:
        raise ValueError(f"its features have {length} bytes")
    while at < end and wanted - set(found):
        start = at
        at, length = _field(file, at, _FIRST, end)
        key_at, key_length = _field(file, at, _FIRST, at + length)
        if key_length <= _PEEK_BYTES:
            key = _read(file, key_at, key_length).decode(errors="replace")
            if key in wanted:
                found[key] = _int64(_read(file, start, at + length - start), key)
        at += length
    if missing := wanted - set(found):
        raise ValueError(f"features missing: {sorted(missing)}")
    return found


def _int64(entry: bytes, key: str) -> int:
    """Returns the one number of a feature, of its bytes with tag and length."""
    if len(entry) > _MOST_ID_BYTES:
        raise ValueError(f"{key} has {len(entry)} bytes")
    features = Example.FromString(_FIRST + bytes([len(entry)]) + entry).features.feature
    values = features[key].int64_list.value
    if len(values) != 1:
        raise ValueError(f"{key} holds {len(values)} numbers")
    return int(values[0])


def _field(file: BinaryIO, at: int, tag: bytes, end: int) -> tuple[int, int]:
    """Returns where the content of a field of bytes begins, and its length."""
    head = _read(file, at, min(1 + _VARINT_BYTES, end - at))
    length = shift = 0
    for index, byte in enumerate(head[1:]):
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            content = at + index + 2
            if not head.startswith(tag) or content + length > end:
                break
            return content, length
    raise ValueError(f"its byte {at} is garbled")


def _read(file: BinaryIO, at: int, length: int) -> bytes:
    file.seek(at)
    return file.read(length)
