"""Which examples an epoch shows: every cell once, its year drawn by a keyed hash of (seed, epoch, cell).

`model_tf/data/epoch.py` draws the same years inside a graph of TensorFlow.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from beam_pipeline.readers.shard_index import ShardIndex
from beam_pipeline.readers.turns import UNTURNED, draw_symmetries
from beam_pipeline.runtime.keyed_draw import MOST_VALUES, keyed_draws
from beam_pipeline.runtime.keyed_hash import keyed_hash, keyed_hashes

PADDING = -1
"""Index of the pair that fills up what must be equally long."""


class Shown(NamedTuple):
    """An example as it is shown; what `ImagePairs` takes as an index.

    Attributes:
        example: Its index, or `PADDING`.
        symmetry: How it is turned.
    """

    example: int
    symmetry: int = UNTURNED


def one_year_a_cell(index: ShardIndex, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """Draws a year for each cell.

    Args:
        index: N examples.
        seed: The run's seed.
        epoch: The epoch.

    Returns:
        (cells,) the example of each cell, ascending.
    """
    if not len(index):
        return np.zeros(0, np.int64)
    whom = [
        f"{cell}/{year}" for cell, year in zip(index.cell_ids.tolist(), index.years.tolist(), strict=True)
    ]
    draws = keyed_draws(whom, MOST_VALUES, seed, "year", epoch)
    # By cell, then by draw, the largest last; of equal ones the first example counts.
    order = np.lexsort((-np.arange(len(index)), draws, index.cell_ids))
    is_last = np.append(np.diff(index.cell_ids[order]) != 0, True)
    return np.sort(order[is_last])


def shown(
    index: ShardIndex, examples: npt.NDArray[np.int64], seed: int, epoch: int, augment: bool
) -> list[Shown]:
    """Draws how examples are turned.

    Args:
        index: Where they are.
        examples: (N,) the examples.
        seed: The run's seed.
        epoch: The epoch.
        augment: Whether they are turned at all.

    Returns:
        N of them.
    """
    if not augment:
        return [Shown(example) for example in examples.tolist()]
    symmetries = draw_symmetries(index.cell_ids[examples].tolist(), seed, epoch)
    return [Shown(*one) for one in zip(examples.tolist(), symmetries.tolist(), strict=True)]


def shuffled(
    index: ShardIndex, examples: npt.NDArray[np.int64], seed: int, epoch: int
) -> npt.NDArray[np.int64]:
    """Puts examples of different cells into the order of a keyed hash of (seed, epoch, cell)."""
    keys = keyed_hashes(
        keyed_hash(seed, "cell order", epoch), "cell order", index.cell_ids[examples].tolist()
    )
    return examples[np.argsort(keys, kind="stable")]


def shards_in_order(paths: Sequence[str], seed: int, epoch: int) -> list[int]:
    """Returns the indices of shards in the order of a keyed hash of (seed, epoch, shard), as `model_tf` reads them."""
    keys = [keyed_hash(seed, "shard order", epoch, path.rpartition("/")[2]) for path in paths]
    return sorted(range(len(paths)), key=lambda index: keys[index])
