"""A histogram of scores that is as fine as the scores are crowded."""

import dataclasses
from typing import Self

import numpy as np
import numpy.typing as npt

_WIDTHS = (16, 8, 4, 4)
"""Bits of a key that a level of slots tells apart: 65,536 slots, in any of them 256 more, then 16, then 16."""

_SHIFTS = (16, 8, 4, 0)
"""Bits of a key that a slot of a level leaves open; 0 = all its scores are equal."""

_LAST = len(_WIDTHS) - 1

CROWDED = 2**-13
"""A slot is split before it would hold a larger share of the scores."""

AUC_ERROR = 2 * _LAST * CROWDED
"""The most by which an AUC computed from two `ScoreBins` differs from that of the scores themselves: 7.3e-4.

A pair of a positive and a negative is in doubt where the slot of the one holds, or is, the slot of the other. At a
level a slot itself holds at most the share `CROWDED` of the positives and of the negatives, slots of a level do
not overlap, and `_LAST` levels leave bits open. So at most 2 `CROWDED` of the pairs are in doubt for each level.
"""


@dataclasses.dataclass(frozen=True)
class Slots:
    """The slots that hold something, in no order.

    Attributes:
        low: (S,) uint32, key of the lowest score that a slot can hold.
        high: (S,) uint32, key of the highest; equal to `low` where a slot is one float32 value.
        count: (S,) int64.
    """

    low: npt.NDArray[np.uint32]
    high: npt.NDArray[np.uint32]
    count: npt.NDArray[np.int64]


def to_keys(scores: npt.NDArray[np.float32]) -> npt.NDArray[np.uint32]:
    """Returns integers in the order of the scores: the bits of a float32, those of a negative one turned over.

    Args:
        scores: Any shape, float32 without NaN. -0.0 counts as 0.0, as it does in comparisons.

    Returns:
        uint32 of the same shape; `to_scores` takes them back.
    """
    bits = (scores + np.float32(0)).view(np.uint32)  # -0.0 + 0.0 = 0.0
    # An arithmetic shift spreads the sign: all bits of a negative score turn, only the sign of another.
    turned = (bits.view(np.int32) >> 31).view(np.uint32) | np.uint32(1 << 31)
    keys: npt.NDArray[np.uint32] = np.bitwise_xor(bits, turned)
    return keys


def to_scores(keys: npt.NDArray[np.uint32]) -> npt.NDArray[np.float32]:
    """Returns the float32 scores of keys."""
    turned = np.where(keys >> 31, np.uint32(1 << 31), np.uint32(0xFFFFFFFF))
    scores: npt.NDArray[np.float32] = (keys ^ turned).view(np.float32)
    return scores


class ScoreBins:
    """Counts scores in bounded memory and in one pass.

    The keys of the scores (`to_keys`) are counted by their first 16 bits: sign, exponent and 7 bits of the mantissa.
    That alone fails where scores lie close together, as those of an untrained network do. So a slot is split,
    256-fold and then 16-fold down to single float32 values, *before* it would hold more than the share `CROWDED`
    of all scores so far. What it held stays with it. As the number of scores only grows, no slot ever holds a
    larger share, in whatever order the scores come, unless they are all equal.
    """

    def __init__(self) -> None:
        self.total = 0
        self._size = 1 << _WIDTHS[0]
        self._count: npt.NDArray[np.int64] = np.zeros(self._size, np.int64)
        # The first slot of those within; 0 = not split.
        self._child: npt.NDArray[np.int32] = np.zeros(self._size, np.int32)
        self._low: npt.NDArray[np.uint32] = np.arange(self._size, dtype=np.uint32) << np.uint32(_SHIFTS[0])
        self._level: npt.NDArray[np.uint8] = np.zeros(self._size, np.uint8)

    @property
    def num_bytes(self) -> int:
        """Memory of the arrays."""
        return sum(it.nbytes for it in (self._count, self._child, self._low, self._level))

    def add(self, keys: npt.NDArray[np.uint32]) -> None:
        """Counts scores.

        Args:
            keys: (n,) uint32 keys of the scores.
        """
        self.total += len(keys)
        while True:
            touched, new = self._tally(self._find(keys))
            count = self._count[touched] + new
            # What was split before is not crowded: it was not when less had been counted.
            crowded = np.flatnonzero((count > CROWDED * self.total) & (self._level[touched] < _LAST))
            if not len(crowded):
                break
            self._split(crowded if isinstance(touched, slice) else touched[crowded])
        self._count[touched] = count

    def merge(self, other: Self) -> None:
        """Adds the counts of other bins."""
        self.total += other.total
        there = np.arange(1 << _WIDTHS[0])
        here = there
        for level in range(len(_WIDTHS)):
            self._count[here] += other._count[there]
            split = other._child[there] > 0
            there, here = there[split], here[split]
            if not len(there):
                break
            self._split(here[self._child[here] == 0])
            within = np.arange(1 << _WIDTHS[level + 1])
            there = (other._child[there][:, None] + within).reshape(-1)
            here = (self._child[here][:, None] + within).reshape(-1)

    def slots(self) -> Slots:
        """Returns the slots that hold something."""
        held = np.flatnonzero(self._count[: self._size])
        open_bits = np.array([(1 << shift) - 1 for shift in _SHIFTS], np.uint32)
        low = self._low[held]
        high = low | open_bits[self._level[held]]
        return Slots(low, high, self._count[held])

    def _find(self, keys: npt.NDArray[np.uint32]) -> npt.NDArray[np.intp]:
        """Returns the innermost slots of keys."""
        slots = (keys >> _SHIFTS[0]).astype(np.intp)
        for level in range(1, len(_WIDTHS)):
            child = self._child.take(slots)
            if not child.any():
                break
            within = (keys >> _SHIFTS[level]).view(np.int32) & ((1 << _WIDTHS[level]) - 1)
            slots = np.where(child, child + within, slots)
        return slots

    def _tally(
        self, slots: npt.NDArray[np.intp]
    ) -> tuple[npt.NDArray[np.intp] | slice, npt.NDArray[np.int64]]:
        """Returns the slots that occur and how often; all slots where so many occur that this is faster."""
        if len(slots) * 16 < self._size:
            return np.unique(slots, return_counts=True)
        return slice(self._size), np.bincount(slots, minlength=self._size)

    def _split(self, slots: npt.NDArray[np.intp]) -> None:
        for level in range(_LAST):
            of_level = slots[self._level[slots] == level]
            width = 1 << _WIDTHS[level + 1]
            size = self._size + len(of_level) * width
            self._reserve(size)
            new = np.arange(self._size, size)
            self._child[of_level] = new[::width]
            offsets = np.arange(width, dtype=np.uint32) << _SHIFTS[level + 1]
            self._low[new] = (self._low[of_level][:, None] + offsets).reshape(-1)
            self._level[new] = level + 1
            self._size = size

    def _reserve(self, size: int) -> None:
        capacity = len(self._count)
        if size > capacity:
            more = (0, max(size, capacity * 3 // 2) - capacity)
            self._count = np.pad(self._count, more)
            self._child = np.pad(self._child, more)
            self._low = np.pad(self._low, more)
            self._level = np.pad(self._level, more)
