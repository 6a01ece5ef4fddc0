"""The uniform sample: the N cells of the smallest keyed hashes of (seed, "cell", id).

Whether a cell is taken depends on nothing but its own hash and the cut, so a sample is the same however the work is
split, and a larger one holds the smaller.
"""

import dataclasses
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from beam_pipeline.runtime.keyed_hash import keyed_hash, keyed_hashes

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

_HASHES = 2**64


@dataclasses.dataclass(frozen=True, order=True)
class Cut:
    """The last cell, in the order of (hash, id), that is taken.

    Attributes:
        drawn: Its hash.
        cell_id: Its id: of cells that share a hash the smaller ids come first.
    """

    drawn: int
    cell_id: int

    @classmethod
    def behind(cls, hashes: Hashes, ids: Ints) -> "Cut":
        """Returns the cut that takes some cells, at least one, and all that come before the last of them."""
        drawn = hashes.max()
        return cls(int(drawn), int(ids[hashes == drawn].max()))

    def takes(self, hashes: Hashes, ids: Ints) -> Bools:
        """Tells which cells are taken."""
        last = np.uint64(self.drawn)
        taken: Bools = (hashes < last) | ((hashes == last) & (ids <= self.cell_id))
        return taken


EVERY_CELL = Cut(_HASHES - 1, np.iinfo(np.int64).max)


def fraction_cut(fraction: float) -> Cut:
    """Returns the cut that takes each cell with a probability.

    Args:
        fraction: Above 0, at most 1.

    Returns:
        The cut; that of a larger fraction takes more.
    """
    return EVERY_CELL if fraction >= 1 else Cut(int(fraction * _HASHES), -1)


def cell_hashes(seed: int, ids: npt.ArrayLike) -> Hashes:
    """Returns the keyed hashes by which cells are drawn, uint64 of the ids' shape (N,)."""
    return keyed_hashes(seed, "cell", np.asarray(ids, np.int64).tolist())


def smallest(hashes: Hashes, ids: Ints, most: int) -> tuple[Hashes, Ints]:
    """Returns the cells that come first.

    Args:
        hashes: (N,) hashes.
        ids: (N,) ids, each once.
        most: How many to return.

    Returns:
        (hashes, ids) of the `most` smallest in order of (hash, id), or of all; in no order.
    """
    if len(ids) <= most:
        return hashes, ids
    # Sorting would take ten times as long.
    border = np.partition(hashes, most - 1)[most - 1]
    kept = hashes < border
    of_border = np.flatnonzero(hashes == border)
    kept[of_border[np.argsort(ids[of_border])[: most - int(kept.sum())]]] = True
    return hashes[kept], ids[kept]


def draw_tiles(seed: int, tiles: Iterable[str], most: int) -> list[str]:
    """Draws tiles.

    Args:
        seed: The run's seed.
        tiles: Names of tiles, each once.
        most: How many to draw.

    Returns:
        The `most` tiles of the smallest keyed hashes, or all; a larger number only adds tiles.
    """
    return sorted(tiles, key=lambda tile: (keyed_hash(seed, "tile", tile), tile))[:most]
