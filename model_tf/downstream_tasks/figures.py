"""Figures: top-k curves as in the paper's figure 9, the confusion matrix, and the embeddings in two dimensions."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps, style
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from model_tf.downstream_tasks.patch_set import PatchSet
from model_tf.downstream_tasks.scoring import METHOD_NAMES, Cell, Features, Scores

_MOST_CLASSES_WRITTEN = 20
"""In a matrix with its numbers written in, and in a legend."""

_PANELS_A_ROW = 3

_MARKERS = "osD^vP*X<>"


@style.context("default")  # whatever a matplotlibrc says
def cmc_figure(patches: PatchSet, scores: Scores, columns: Sequence[str]) -> Figure:
    """Draws the share of test patches whose class is among the first k, a panel for each kind of split and features.

    Args:
        patches: The patches.
        scores: Of them; kNN is left out.
        columns: Names of the columns with counts of training patches, one curve each.
    """
    panels = list(
        dict.fromkeys(
            (cell.kind, cell.features)
            for cell in scores.cells
            if cell.method != "knn" and cell.column in columns
        )
    )
    kinds = list(dict.fromkeys(kind for kind, _ in panels))
    names = list(dict.fromkeys(name for _, name in panels))
    figure = Figure(
        figsize=(3.6 * max(1, len(names)), 3.6 * max(1, len(kinds)) + 0.8), dpi=130, layout="constrained"
    )
    axes = figure.subplots(max(1, len(kinds)), max(1, len(names)), squeeze=False, sharex=True, sharey=True)
    ks = np.arange(1, len(patches.classes) + 1)
    colours = colormaps["viridis"](np.linspace(0, 0.85, max(1, len(columns))))
    for kind, name in panels:
        place = axes[kinds.index(kind), names.index(name)]
        place.set_title(f"{_drawn(name)}, {kind} splits", fontsize=9)
        for column, colour in zip(columns, colours, strict=True):
            for method, line in (("cnn", "-"), ("linear", "--")):
                score = scores.cells.get(Cell(name, method, kind, column))  # type: ignore[arg-type]
                if score is not None:
                    label = f"N = {column}, {METHOD_NAMES[method]}"  # type: ignore[index]
                    place.plot(ks, score.top_k, line, color=colour, linewidth=1.6, label=label)
        place.grid(color="0.9", linewidth=0.6)
        place.legend(loc="lower right", fontsize=7)
    for place in axes[-1]:
        place.set(xlabel="k", xlim=(1, max(2, min(len(ks), 20))))
    for place in axes[:, 0]:
        place.set(ylabel="top-k accuracy, %", ylim=(0, 101))
    figure.suptitle(f"{patches.title} ({patches.level}), N training patches a class", fontsize=10)
    return figure


@style.context("default")
def confusion_figure(patches: PatchSet, scores: Scores, cell: Cell) -> Figure:
    """Draws the confusion matrix of one place of the table; a row adds up to 100 percent."""
    confusion = scores.cells[cell].confusion
    share = 100 * confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    count = len(patches.classes)
    side = min(16.0, 3.2 + 0.5 * count)
    figure = Figure(figsize=(side + 0.6, side), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=100)
    names = [_drawn(name) for name in patches.classes]
    axes.set_xticks(range(count), names, rotation=90, fontsize=8)
    axes.set_yticks(range(count), names, fontsize=8)
    axes.set(xlabel="given class", ylabel="true class")
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
    axes.set_title(
        f"{patches.title} ({patches.level}), {_drawn(cell.features)}, {METHOD_NAMES[cell.method]},\n{cell.column}, "
        f"{cell.kind} splits, top-1 {scores.cells[cell].mean:.1f} %",
        fontsize=9,
    )
    return figure


@style.context("default")
def embeddings_figure(patches: PatchSet, features: Sequence[Features]) -> Figure:
    """Draws the two principal components of standardised vectors, a panel for each kind of features."""
    columns = min(_PANELS_A_ROW, len(features))
    rows = -(-len(features) // columns)
    figure = Figure(figsize=(4.4 * columns, 4.4 * rows + 0.8), dpi=120, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for spare in axes[len(features) :]:
        spare.axis("off")
    labels = patches.labels
    colours = colormaps["tab10" if len(patches.classes) <= 10 else "gist_ncar"](
        np.linspace(0, 1, len(patches.classes))
    )
    for place, one in zip(axes, features, strict=False):
        points, explained = _plane(one.vectors)
        for index, name in enumerate(patches.classes):
            here = labels == index
            marker = _MARKERS[index % len(_MARKERS)]
            place.scatter(
                *points[here].T,
                s=14,
                marker=marker,
                color=colours[index],
                alpha=0.8,
                linewidths=0,
                label=_drawn(name),
            )
        place.set_title(_drawn(one.name), fontsize=9)
        place.set(
            xlabel=f"first component ({explained[0]:.0%})", ylabel=f"second component ({explained[1]:.0%})"
        )
        place.set(xticks=[], yticks=[])
    if len(patches.classes) <= _MOST_CLASSES_WRITTEN:
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=5, fontsize=8)
    figure.suptitle(
        f"{patches.title} ({patches.level}): principal components of what patches are classified by",
        fontsize=10,
    )
    return figure


def _plane(vectors: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    standard = StandardScaler().fit_transform(vectors)
    plane = PCA(2, svd_solver="full", random_state=0).fit(standard)
    return plane.transform(standard), plane.explained_variance_ratio_


def _drawn(name: str) -> str:
    """Returns a name for matplotlib, which would take what is between two $ for mathematics."""
    return name.replace("$", r"\$")
