"""Figures: top-k curves as in the paper's figure 9, the confusion matrix, and the embeddings in two dimensions."""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps, style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from beam_pipeline.runtime.foreign_text import one_line
from model_tf.downstream_tasks.patch_set import PatchSet
from model_tf.downstream_tasks.scoring import METHOD_NAMES, Cell, Features, Scores

_MOST_CLASSES_WRITTEN = 20
"""In a matrix with its numbers written in."""

_MOST_IN_LEGEND = 64
_LEGEND_LINE = 0.18  # inches
_NAME_CHARS = 32
"""Of a class: the longest of fMoW's has 29."""

_PANELS_A_ROW = 3

_MARKERS = "osD^vP*X<>"


@style.context("default")  # whatever a matplotlibrc says
def cmc_figure(patches: PatchSet, scores: Scores, columns: Sequence[str]) -> Figure:
    """Draws the share of test patches whose class is among the first k, a panel for each kind of split and column.

    Args:
        patches: The patches.
        scores: Of them; kNN is left out.
        columns: Names of the columns with counts of training patches.
    """
    drawn = {cell: it for cell, it in scores.cells.items() if cell.method != "knn" and cell.column in columns}
    kinds = list(dict.fromkeys(cell.kind for cell in drawn))
    names = list(dict.fromkeys(cell.features for cell in drawn))
    columns = [column for column in columns if any(cell.column == column for cell in drawn)]
    figure = Figure(
        figsize=(max(7.0, 1.0 + 3.2 * len(columns)), 1.6 + 3.0 * len(kinds)), dpi=130, layout="constrained"
    )
    axes = figure.subplots(len(kinds), len(columns), squeeze=False, sharex=True, sharey=True)
    count = len(patches.classes)
    ks = np.arange(1, count + 1)
    least = min(it.top_k[0] for it in drawn.values())
    for kind, column in itertools.product(kinds, columns):
        place = axes[kinds.index(kind), columns.index(column)]
        place.set_title(f"N = {column}, {kind} splits", fontsize=10)
        place.plot(ks, 100 * ks / count, ":", color="0.6", label="chance")
        for index, name in enumerate(names):
            for method, line in (("cnn", "-"), ("linear", "--")):
                score = drawn.get(Cell(name, method, kind, column))  # type: ignore[arg-type]
                if score is not None:
                    label = f"{_drawn(name)}, {METHOD_NAMES[method]}"  # type: ignore[index]
                    place.plot(ks, score.top_k, line, color=f"C{index}", linewidth=1.5, label=label)
        place.grid(color="0.92", linewidth=0.6)
        place.set(xlim=(1, max(2, min(count, 20))), ylim=(max(0, 10 * (least // 10) - 5), 101))
        place.xaxis.set_major_locator(MaxNLocator(integer=True))
    for place in axes[-1]:
        place.set_xlabel("k")
    for place in axes[:, 0]:
        place.set_ylabel("top-k accuracy, %")
    _legend_below(figure, axes.flat, 2 if len(columns) < 3 else 3)
    figure.suptitle(
        f"{patches.title} ({patches.level}): true class among the first k; N training patches a class",
        fontsize=11,
    )
    return figure


@style.context("default")
def confusion_figure(patches: PatchSet, scores: Scores, cell: Cell) -> Figure:
    """Draws the confusion matrix of one place of the table; a row adds up to 100 percent."""
    confusion = scores.cells[cell].confusion
    share = 100 * confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    count = len(patches.classes)
    names = [_drawn(name) for name in patches.classes]
    side = min(16.0, 2.0 + 0.06 * max(map(len, names)) + 0.5 * count)  # inches
    figure = Figure(figsize=(side + 0.6, side), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=100)
    axes.set_xticks(range(count), names, rotation=45, ha="right", rotation_mode="anchor", fontsize=8)
    axes.set_yticks(range(count), names, fontsize=8)
    axes.set(xlabel="predicted class", ylabel="true class")
    axes.spines[:].set_visible(False)
    axes.set_xticks(np.arange(1, count) - 0.5, minor=True)
    axes.set_yticks(np.arange(1, count) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5 if count <= _MOST_CLASSES_WRITTEN else 0.3)
    axes.tick_params(which="minor", length=0)
    if count <= _MOST_CLASSES_WRITTEN:
        for row, column in np.ndindex(count, count):
            if share[row, column] >= 0.5:
                colour = "white" if share[row, column] > 55 else "black"
                axes.text(
                    column,
                    row,
                    f"{share[row, column]:.0f}",
                    ha="center",
                    va="center",
                    fontsize=7,
                    color=colour,
                )
    figure.colorbar(image, ax=axes, shrink=0.8, label="test patches of the class, %")
    score = scores.cells[cell]
    seeds = f"{len(score.top)} seed" + ("s" if len(score.top) > 1 else "")
    training = f"{cell.column} % training and testing" if "/" in cell.column else f"N = {cell.column}"
    axes.set_title(
        f"{patches.title} ({patches.level}): {_drawn(cell.features)}, {METHOD_NAMES[cell.method]}\n{training}, "
        f"{cell.kind} splits; top-1 {score.mean:.1f} % of {sum(score.testing):,} test patches of {seeds}",
        fontsize=9,
    )
    return figure


@style.context("default")
def embeddings_figure(patches: PatchSet, features: Sequence[Features]) -> Figure:
    """Draws the two principal components of standardised vectors, a panel for each kind of features."""
    columns = min(_PANELS_A_ROW, len(features))
    rows = -(-len(features) // columns)
    in_a_line = 2 * columns
    lines = -(-len(patches.classes) // in_a_line) if len(patches.classes) <= _MOST_IN_LEGEND else 0
    figure = Figure(
        figsize=(4.4 * columns, 4.4 * rows + 0.4 + _LEGEND_LINE * lines), dpi=120, layout="constrained"
    )
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for spare in axes[len(features) :]:
        spare.axis("off")
    labels = patches.labels
    colours = colormaps["tab10" if len(patches.classes) <= 10 else "gist_ncar"](
        np.linspace(0, 1 if len(patches.classes) <= 10 else 0.92, len(patches.classes))  # its end is white
    )
    size = float(np.clip(6000 / max(1, len(labels)), 2, 28))  # of a point: fewer are larger
    for place, one in zip(axes, features, strict=False):
        points, explained = _plane(one.vectors)
        for index, name in enumerate(patches.classes):
            here = labels == index
            marker = _MARKERS[index % len(_MARKERS)]
            place.scatter(
                *points[here].T,
                s=size,
                marker=marker,
                color=colours[index],
                alpha=0.85,
                linewidths=0,
                label=_drawn(name),
            )
        place.set_title(_drawn(one.name), fontsize=10)
        place.set_xlabel(f"first component ({explained[0]:.0%} of the variance)", fontsize=8)
        place.set_ylabel(f"second component ({explained[1]:.0%})", fontsize=8)
        place.set(xticks=[], yticks=[])
        place.margins(0.06)
    if lines:
        _legend_below(figure, axes[:1], in_a_line, markerscale=1.5 * np.sqrt(28 / size) if size < 28 else 1.5)
    figure.suptitle(
        f"{patches.title} ({patches.level}): principal components of what patches are classified by",
        fontsize=11,
    )
    return figure


def _legend_below(figure: Figure, places: Iterable[Axes], columns: int, **more: Any) -> None:
    """Adds one legend of all that is drawn in some places."""
    entries = {
        name: handle
        for place in places
        for handle, name in zip(*place.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        entries.values(),
        entries.keys(),
        loc="outside lower center",
        ncols=columns,
        fontsize=8,
        frameon=False,
        **more,
    )


def _plane(vectors: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    standard = StandardScaler().fit_transform(vectors)
    plane = PCA(2, svd_solver="full", random_state=0).fit(standard)
    return plane.transform(standard), plane.explained_variance_ratio_


def _drawn(name: str) -> str:
    """Returns a name for matplotlib: to it $ begins mathematics, and _ what no legend shows."""
    shown = one_line(name)
    if len(shown) > _NAME_CHARS:
        shown = f"{shown[: _NAME_CHARS - 1]}…"
    shown = shown.replace("$", r"\$")
    return f"\u200b{shown}" if shown.startswith("_") else shown
