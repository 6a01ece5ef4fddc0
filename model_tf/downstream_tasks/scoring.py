"""Fits and tests every classifier on every split of every column."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.foreign_text import one_line
from beam_pipeline.runtime.progress import Progress
from model_tf.downstream_tasks.cache import EmbeddingCache
from model_tf.downstream_tasks.classifiers import NEIGHBOURS, linear_probe, nearest_neighbours
from model_tf.downstream_tasks.fits import Fit, Fits, key_of
from model_tf.downstream_tasks.head import Head
from model_tf.downstream_tasks.patch_set import PatchSet
from model_tf.downstream_tasks.splits import (
    BLOCK_DEGREES,
    MOST_TESTED,
    Column,
    EmptyColumn,
    Kind,
    Split,
    split,
)

Method = Literal["cnn", "knn", "linear"]
METHODS: tuple[Method, ...] = get_args(Method)

METHOD_NAMES: Mapping[Method, str] = {"cnn": "CNN head", "knn": "kNN, k = 5", "linear": "linear probe"}
"""For people."""


@dataclasses.dataclass(frozen=True)
class Features:
    """Features that patches are classified by.

    Attributes:
        name: E.g. "trained encoder".
        vectors: (N, E) float32, one a patch, for kNN and the linear probe.
        cache: Of what the head reads; None where it has nothing to read.
        key: Says all that decides the vectors.
    """

    name: str
    vectors: npt.NDArray[np.float32]
    cache: EmbeddingCache | None
    key: str


@dataclasses.dataclass(frozen=True)
class Cell:
    """A place in a table.

    Attributes:
        features: Name of the features.
        method: The classifier.
        kind: Of the splits.
        column: Name of the column.
    """

    features: str
    method: Method
    kind: Kind
    column: str


@dataclasses.dataclass
class Score:
    """The scores of one place of the table, over all seeds.

    Attributes:
        top: (seeds, C) share of the test patches whose class is among the first 1, 2, ... C.
        confusion: (C, C) test patches of all seeds by true class and by the class they were given.
        training: Training patches of each seed.
        testing: Test patches of each seed.
    """

    top: list[npt.NDArray[np.float64]]
    confusion: npt.NDArray[np.int64]
    training: list[int]
    testing: list[int]

    @property
    def mean(self) -> float:
        """Mean top-1 in percent."""
        return float(100 * np.mean([top[0] for top in self.top]))

    @property
    def top_k(self) -> npt.NDArray[np.float64]:
        """(C,) mean top-1, top-2, ... top-C in percent."""
        mean: npt.NDArray[np.float64] = 100 * np.mean(self.top, axis=0)
        return mean

    @property
    def deviation(self) -> float | None:
        """Deviation of top-1 over the seeds in percent (n - 1 in the divisor); None of a single seed."""
        return float(100 * np.std([top[0] for top in self.top], ddof=1)) if len(self.top) > 1 else None


@dataclasses.dataclass(frozen=True)
class Protocol:
    """Columns, splits and classifiers of a table, and how often each is repeated.

    Attributes:
        columns: Of the table.
        kinds: Of splits.
        methods: The classifiers.
        seeds: Repetitions.
        head_seeds: Repetitions of the head, which takes longest.
        seed: Of the draws; repetition r draws with seed + r.
    """

    columns: tuple[Column, ...]
    kinds: tuple[Kind, ...]
    methods: tuple[Method, ...]
    seeds: int
    head_seeds: int
    seed: int


@dataclasses.dataclass(frozen=True)
class DrawnSplits:
    """The splits of a table.

    Attributes:
        splits: By kind and column, one for each seed.
        empty: By kind and column, which class has too few patches with any of the seeds, so that it stays empty.
    """

    splits: Mapping[tuple[Kind, str], Sequence[Split]]
    empty: Mapping[tuple[Kind, str], str]


@dataclasses.dataclass(frozen=True)
class Scores:
    """All scores.

    Attributes:
        cells: By place in the table.
        empty: By kind and column, why nothing stands there.
        head_weights: Weights of the head, by features.
    """

    cells: Mapping[Cell, Score]
    empty: Mapping[tuple[Kind, str], str]
    head_weights: Mapping[str, int]


def score(
    patches: PatchSet,
    features: Sequence[Features],
    protocol: Protocol,
    drawn: DrawnSplits,
    fits: Fits | None = None,
) -> Scores:
    """Scores all features.

    Args:
        patches: The patches.
        features: Each of all patches.
        protocol: What is scored.
        drawn: By `draw_splits`, of the same patches and protocol.
        fits: Those that were made before; gets the others as they are made. They end with this call by default.

    Raises:
        InvalidInputError: A vector, or what a classifier answers, is NaN or infinite.
    """
    fits = fits or Fits(None, len(patches.classes))
    for one in features:
        for index in np.flatnonzero(~np.isfinite(one.vectors).all(axis=1))[:1]:
            raise _not_finite(one, f"those of {one_line(patches.patches[index].name)}")
    heads = {
        one.name: Head(one.cache.width, one.cache.grid, len(patches.classes))
        for one in features
        if one.cache is not None and "cnn" in protocol.methods
    }
    cells: dict[Cell, Score] = {}
    units = [
        (one, Cell(one.name, method, kind, column), part, protocol.seed + repetition)
        for one in features
        for method in protocol.methods
        if method != "cnn" or one.name in heads
        for (kind, column), parts in drawn.splits.items()
        for repetition, part in enumerate(parts[: protocol.head_seeds] if method == "cnn" else parts)
    ]
    with Progress(len(units), "classifying", "fits", leave=True) as progress:
        try:
            for one, cell, part, seed in units:
                progress.note(of=f"{one.name}, {METHOD_NAMES[cell.method]}, {cell.column}")
                head = heads.get(one.name)
                key = _key(patches, one, cell, seed, head)
                fit = fits.get(key)
                if fit is None:
                    fit = _fit(patches, one, cell.method, part, seed, head)
                    fits.add(
                        key, fit, (one.name, METHOD_NAMES[cell.method], cell.kind, cell.column, str(seed))
                    )
                _add(cells, cell, fit)
                progress.update()
        finally:  # Ctrl-C too
            fits.keep()
    return Scores(cells, drawn.empty, {name: head.num_weights for name, head in heads.items()})


def _key(patches: PatchSet, one: Features, cell: Cell, seed: int, head: Head | None) -> str:
    """Says all that decides a fit."""
    of_method = {
        "cnn": head.key if head is not None else "",
        "knn": f"{NEIGHBOURS} neighbours",
        "linear": "C = 1",
    }
    return key_of(
        {
            "form": 1,
            "patches": patches.fingerprint,
            "features": one.key,
            "method": of_method[cell.method],
            "split": [cell.kind, cell.column, MOST_TESTED, BLOCK_DEGREES],
            "seed": seed,
        }
    )


def _fit(patches: PatchSet, one: Features, method: Method, part: Split, seed: int, head: Head | None) -> Fit:
    """Fits and tests a classifier on a split."""
    labels = patches.labels
    if method == "cnn" and head is not None and one.cache is not None:
        head.fit(one.cache.grids(part.training), labels[part.training], seed)
        shares = head.probabilities(one.cache.grids(part.testing))
    else:
        shares = _VECTORS[method](
            one.vectors[part.training], labels[part.training], one.vectors[part.testing]
        )
    if not np.isfinite(shares).all():
        raise _not_finite(one, f"what {METHOD_NAMES[method]} makes of them")
    return outcome(shares, labels[part.testing], len(part.training))


def _not_finite(one: Features, what: str) -> InvalidInputError:
    where = f" Their cache is {one.cache.path}" if one.cache is not None else ""
    return InvalidInputError(
        f"{one.name}: features must be finite. Received: NaN or infinity among {what}.{where}"
    )


_VECTORS: Mapping[str, Callable[..., npt.NDArray[np.float64]]] = {
    "knn": nearest_neighbours,
    "linear": linear_probe,
}


def top_shares(shares: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Returns (C,) the share of patches whose class is among the first 1, 2, ... C; of equal classes the lower first.

    Args:
        shares: (M, C) of each class.
        labels: (M,) the true classes.
    """
    ranked = np.argsort(-shares, axis=1, kind="stable")
    ranks = (ranked == labels[:, None]).argmax(axis=1)
    return np.cumsum(np.bincount(ranks, minlength=shares.shape[1])) / len(labels)


def outcome(shares: npt.NDArray[np.float64], labels: npt.NDArray[np.int64], training: int) -> Fit:
    """Returns what came out of a classifier.

    Args:
        shares: (M, C) of each class.
        labels: (M,) the true classes.
        training: Patches that it was fitted to.
    """
    classes = shares.shape[1]
    top = top_shares(shares, labels)
    # Of a draw the lower class is given, as in `top_shares`.
    pairs = labels * classes + shares.argmax(axis=1)
    confusion = np.bincount(pairs, minlength=classes**2).reshape(classes, classes).astype(np.int64)
    return Fit(top, confusion, training)


def draw_splits(patches: PatchSet, protocol: Protocol) -> DrawnSplits:
    """Draws the splits of all columns.

    Raises:
        InvalidInputError: Every column stays empty.
    """
    splits, empty = {}, {}
    for kind in protocol.kinds:
        for column in protocol.columns:
            try:
                splits[kind, column.name] = [
                    split(patches, column, kind, protocol.seed + repetition)
                    for repetition in range(protocol.seeds)
                ]
            except EmptyColumn as reason:
                empty[kind, column.name] = str(reason)
    if not splits:
        names = ", ".join(dict.fromkeys(name for _, name in empty))
        raise InvalidInputError(
            f"--columns must name one for which there are patches enough. Received: {names}; "
            f"{next(iter(empty.values()))}"
        )
    return DrawnSplits(splits, empty)


def _add(cells: dict[Cell, Score], cell: Cell, fit: Fit) -> None:
    so_far = cells.setdefault(cell, Score([], np.zeros_like(fit.confusion), [], []))
    so_far.top.append(fit.top)
    so_far.confusion += fit.confusion
    so_far.training.append(fit.training)
    so_far.testing.append(fit.testing)
