"""Features as they travel between workers: packed, because runners hold what is grouped in memory."""

import json
import struct
import zlib
from collections.abc import Iterable, Iterator

from beam_pipeline.labels.feature import Feature

_HEAD_LENGTH = struct.Struct("<I")


def pack_features(features: Iterable[Feature]) -> bytes:
    """Compresses features.

    Args:
        features: Any number of features.

    Returns:
        zlib of a JSON head and all geometries in turn: about a tenth of what the objects take.
    """
    features = list(features)
    head = json.dumps([[it.osm_type, it.osm_id, it.tags, len(it.geometry)] for it in features]).encode()
    return zlib.compress(b"".join([_HEAD_LENGTH.pack(len(head)), head, *(it.geometry for it in features)]), 1)


def unpack_features(packed: bytes) -> Iterator[Feature]:
    """Is the inverse of `pack_features`."""
    content = zlib.decompress(packed)
    (length,) = _HEAD_LENGTH.unpack_from(content)
    position = _HEAD_LENGTH.size + length
    for osm_type, osm_id, tags, size in json.loads(content[_HEAD_LENGTH.size : position]):
        geometry = content[position : position + size]
        yield Feature(osm_type, osm_id, tuple((key, value) for key, value in tags), geometry)
        position += size
