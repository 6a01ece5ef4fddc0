"""Parts patches into those that a classifier is fitted to and those that it is tested on.

At random within each class, or *spatially*: no block of 0.5 degree has patches in both parts, so that few test patches
lie beside a training patch. Or as *published* with the patches, of whose training part some are drawn. All draws are
keyed hashes of (seed, patch or block).
"""

import dataclasses
import re
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from beam_pipeline.runtime.foreign_text import one_line
from beam_pipeline.runtime.keyed_draw import MOST_VALUES, keyed_draws
from model_tf.downstream_tasks.patch_set import PatchSet

Kind = Literal["random", "spatial", "published"]
KINDS: tuple[Kind, ...] = get_args(Kind)

DRAWN_KINDS = KINDS[:2]
"""Those that any patches can be parted by."""

BLOCK_DEGREES = 0.5

MOST_TESTED = 1000
"""Test patches a class where training patches are counted. Source: Johnson et al. 2022, section 5.2."""

_NAME = re.compile(r"([1-9][0-9]{0,8})(?:/([1-9][0-9]?))?", re.ASCII)
_MOST_CHARS = 60  # of a class's name

Indices = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of the table: how many patches are for training.

    Attributes:
        name: "5", patches a class; or "10/90", percent for training and for testing.
        count: Training patches a class; None where a share is given.
        share: Share of each class that is for training.
    """

    name: str
    count: int | None = None
    share: float = 0.0

    @classmethod
    def of(cls, name: str) -> "Column":
        """Reads a name.

        Raises:
            ValueError: It is none.
        """
        found = _NAME.fullmatch(name)  # one way of writing each: "05" would be a second column of 5
        if found is None or (found[2] and int(found[1]) + int(found[2]) != 100):
            raise ValueError(name)
        return cls(name, share=int(found[1]) / 100) if found[2] else cls(name, count=int(found[1]))

    def wanted(self, of_class: int) -> int:
        """Returns the number of training patches of a class that has so many patches."""
        return round(self.share * of_class) if self.count is None else self.count


@dataclasses.dataclass(frozen=True)
class Split:
    """Two parts of the patches.

    Attributes:
        training: Indices of patches, ascending.
        testing: Indices of others, ascending.
    """

    training: Indices
    testing: Indices


class EmptyColumn(Exception):
    """There are not patches enough for a column: says which class is short, and of what."""


def split(patches: PatchSet, column: Column, kind: Kind, seed: int) -> Split:
    """Parts the patches.

    Args:
        patches: All patches.
        column: How many are for training.
        kind: "random", "spatial" or "published".
        seed: Of the draw.

    Raises:
        EmptyColumn: A class has too few patches.
    """
    labels = patches.labels
    order = keyed_draws([patch.name for patch in patches.patches], MOST_VALUES, seed, "downstream patch")
    in_training, in_testing = _parts(patches, column, kind, order, seed)
    training, testing, short = [], [], []
    for index, name in enumerate(patches.classes):
        of_class = np.flatnonzero(labels == index)
        of_class = of_class[np.argsort(order[of_class], kind="stable")]
        for_training, for_testing = of_class[in_training[of_class]], of_class[in_testing[of_class]]
        if column.count is not None:
            for_training, for_testing = for_training[: column.count], for_testing[:MOST_TESTED]
        least = column.count or 1
        if len(for_training) < least or not len(for_testing):
            short.append(
                f"{one_line(name, _MOST_CHARS)} has {len(of_class)} patches, {len(for_training)} of {least} for "
                f"training and {len(for_testing)} for testing in a {kind} split"
            )
        training.append(for_training)
        testing.append(for_testing)
    if short:
        others = f"; {len(short)} of {len(patches.classes)} classes have too few" if len(short) > 1 else ""
        raise EmptyColumn(short[0] + others)
    return Split(np.sort(np.concatenate(training)), np.sort(np.concatenate(testing)))


def _parts(
    patches: PatchSet, column: Column, kind: Kind, order: Indices, seed: int
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Tells which patches may be trained on, and which may be tested on."""
    labels = patches.labels
    if kind == "published":
        published = np.array([patch.split for patch in patches.patches])
        pool = published == "training"
        in_pool = np.bincount(labels[pool], minlength=len(patches.classes))
        last = np.where(
            pool, order, np.iinfo(order.dtype).max
        )  # of other parts only where the pool is too small
        wanted = np.array([column.wanted(int(count)) for count in in_pool])
        return _near_the_front(labels, wanted, last) & pool, published == "testing"
    wanted = np.array([column.wanted(count) for count in patches.counts().values()])
    if kind == "random":
        in_training = _near_the_front(labels, wanted, order)
    else:
        in_training = _blocks_for(wanted, labels, blocks_of(patches), seed)
    return in_training, ~in_training


def blocks_of(patches: PatchSet) -> Indices:
    """Returns (N,) the block of 0.5 degree that holds the centre of each patch, numbered from 0."""
    corners = np.array([(patch.longitude, patch.latitude) for patch in patches.patches])
    cells = np.floor(corners / BLOCK_DEGREES).astype(np.int64)
    return np.unique(cells, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _near_the_front(labels: Indices, wanted: Indices, order: Indices) -> npt.NDArray[np.bool_]:
    """Takes the first patches of every class."""
    taken = np.zeros(len(labels), bool)
    for index, count in enumerate(wanted):
        of_class = np.flatnonzero(labels == index)
        taken[of_class[np.argsort(order[of_class], kind="stable")[:count]]] = True
    return taken


def _blocks_for(wanted: Indices, labels: Indices, blocks: Indices, seed: int) -> npt.NDArray[np.bool_]:
    """Takes whole blocks, in keyed order, until every class has what is wanted.

    First those most of whose patches are wanted; then, for classes that are still short, any that hold one. None that
    would leave a class without test patches.
    """
    num_blocks = int(blocks.max()) + 1
    held = np.zeros((num_blocks, len(wanted)), np.int64)
    np.add.at(held, (blocks, labels), 1)
    order = np.argsort(keyed_draws(range(num_blocks), MOST_VALUES, seed, "downstream block"), kind="stable")
    taken = np.zeros(num_blocks, bool)
    have, all_of_class = np.zeros(len(wanted), np.int64), held.sum(axis=0)
    for least_share in (0.5, 0.0):
        for block in order[~taken[order]]:
            useful = np.minimum(held[block], np.maximum(wanted - have, 0)).sum()
            leaves_none = (held[block] > 0) & (have + held[block] == all_of_class)
            if useful > least_share * held[block].sum() and not leaves_none.any():
                taken[block] = True
                have += held[block]
    return taken[blocks]
