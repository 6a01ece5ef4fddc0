"""Tells how much memory libosmium takes for a block of an `.osm.pbf` file, before it does.

A block holds a text once and names it by a number of a byte or two wherever it is used; libosmium writes it out each
time.

Source of the format: https://wiki.openstreetmap.org/wiki/PBF_Format
"""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from beam_pipeline.labels.pbf_wire import AGAIN, fields, varints

MOST_PARTS = 1_000_000
"""Objects of a block, and texts. Source: writers put 8,000 objects into one."""

_NODE, _DENSE, _WAY, _RELATION = 1, 2, 3, 4  # fields of a group
_IDS = 1  # of dense nodes
_TEXTS = {
    (_DENSE, 10),
    (_RELATION, 8),
    *((kind, field) for kind in (_NODE, _WAY, _RELATION) for field in (2, 3)),
}
"""Fields of objects that name texts: keys and values, roles."""

_BYTES_EACH = {(_WAY, 8): 16, (_RELATION, 8): 24}
"""Of a reference to a node, and of a member without its role."""

_OBJECT_BYTES = 80
_LEAST_FACTOR = 64  # more than an object without texts can be larger than in the block
_TEXT_FACTOR = 16  # more than a text grows by
_OTHER_BYTES = bytes(range(128, 256))


def decoded_bytes(block: bytes, texts: Sequence[bytes], enough: int) -> int:
    """Returns the bytes that libosmium takes for a block, from above.

    Args:
        block: The block, unpacked.
        texts: Those of its string table.
        enough: An upper bound of no more than this is not looked at more closely, which takes longer.

    Raises:
        ValueError: It is no block, or has more than `MOST_PARTS`.
    """
    groups: list[bytes] = []
    _check_number(len(texts))
    for field, value in fields(block):
        if field == 2 and isinstance(value, bytes):
            groups.append(value)
            _check_number(len(groups))
    longest = max(map(len, texts), default=0)
    roughly = sum(map(len, groups)) * max(_LEAST_FACTOR, longest + _TEXT_FACTOR)
    if roughly <= enough:
        return roughly
    objects = others = 0
    named: list[bytes] = []
    for kind, message in itertools.chain.from_iterable(map(_arrays, groups)):
        objects += _count(dict(_arrays(message)).get(_IDS, b"")) if kind == _DENSE else 1
        for field, array in _arrays(message):
            if (kind, field) in _TEXTS:
                named.append(array)
            others += _count(array) * _BYTES_EACH.get((kind, field), 0)
        _check_number(objects)
    # Each object also bears a user's name.
    return (
        objects * (_OBJECT_BYTES + longest)
        + others
        + _text_bytes(b"".join(named), np.array(list(map(len, texts))))
    )


def _check_number(parts: int) -> None:
    if parts > MOST_PARTS:
        raise ValueError(f"a block has more than {MOST_PARTS} objects or texts; {AGAIN}")


def _arrays(message: bytes) -> Iterator[tuple[int, bytes]]:
    return ((field, value) for field, value in fields(message) if isinstance(value, bytes))


def _count(array: bytes) -> int:
    """Returns the number of varints of an array."""
    return len(array.translate(None, _OTHER_BYTES))


def _text_bytes(array: bytes, lengths: npt.NDArray[np.int64]) -> int:
    """Returns the bytes of the texts whose numbers an array of varints holds; libosmium refuses what has no text."""
    numbers = varints(array)
    if not len(numbers) or not len(lengths):
        return 0
    return int((lengths[np.minimum(numbers, np.uint64(len(lengths) - 1))] + 1).sum())
