"""Figures: ROC curves, and panels of an image, its labels and the probabilities that a net gives it."""

import dataclasses
import io
import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Patch

from beam_pipeline.records.categories import CategoryTable
from beam_pipeline.records.schema import NONE
from beam_pipeline.records.statistics import INPUT_BANDS, BandStatistics
from beam_pipeline.report.colours import NONE_COLOUR, UNLABELED_COLOUR, category_colours, true_colour
from model_tf.scores.histogram import ClassScore

_LINE_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Told apart by people with any kind of colour blindness. Source: Okabe and Ito 2008, without the pale yellow."""

_LINE_STYLES = ("-", "--", ":", "-.")

_LOOKS = [(colour, style) for style in _LINE_STYLES for colour in _LINE_COLOURS]
"""Of the categories in their order; from the 29th on they are met again."""

_ROWS = 4
"""Rows of a panel: the image and its three label channels stand above each other."""

_SIDE = 1.75  # inches of an image

_PROBABILITY_COLOURS = "viridis"


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The content of a panel, of one image.

    Attributes:
        title: E.g. "cell 82543044, 2021".
        image: (H, W, 3) uint8 true colour, see `image_of`.
        label: (H, W, channels) uint8.
        probabilities: (H, W, C) of each category, 0 to 1.
    """

    title: str
    image: npt.NDArray[np.uint8]
    label: npt.NDArray[np.uint8]
    probabilities: npt.NDArray[np.floating]


def image_of(gsd_10: npt.NDArray[np.float32], statistics: BandStatistics) -> npt.NDArray[np.uint8]:
    """Returns what the network sees in true colour.

    Args:
        gsd_10: (H, W, 4) standardised B02, B03, B04 and B08.
        statistics: By which it was standardised.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    bands = [INPUT_BANDS["gsd_10"].index(band) for band in ("B04", "B03", "B02")]
    names = [INPUT_BANDS["gsd_10"][band] for band in bands]
    deviation = np.sqrt([statistics.variance[name] for name in names])
    return true_colour(gsd_10[..., bands] * deviation + np.array([statistics.mean[name] for name in names]))


def probabilities_of(logits: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Returns the probabilities that logits stand for, each on its own."""
    half = np.float32(0.5)
    probabilities: npt.NDArray[np.float32] = half + half * np.tanh(half * logits.astype(np.float32))
    return probabilities  # a sigmoid, but this one cannot overflow


def readable(name: str) -> str:
    """Returns a category's or channel's name for people: "OSM_land_use" -> "land use"."""
    return name.removeprefix("OSM_").replace("_", " ")


def _drawn(name: str) -> str:
    """Returns a readable name for matplotlib, which would take what is between two $ for mathematics."""
    return readable(name).replace("$", r"\$")


@style.context("default")  # whatever a matplotlibrc says
def roc_figure(scores: Sequence[ClassScore], title: str) -> Figure:
    """Draws ROC curves as in the paper's figures 7 and 8.

    Args:
        scores: Of the categories; those that are not scored are named in the legend, with the reason.
        title: Of the figure.

    Returns:
        A figure.
    """
    figure = Figure(figsize=(6.8, 6.8), dpi=130, layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle=(0, (1, 2)), zorder=1)
    # The look of a line goes by the order of the categories, so that a run's figure can be laid beside another's.
    looks = dict(zip((score.name for score in scores), itertools.cycle(_LOOKS), strict=False))
    for score in sorted(scores, key=lambda score: -(score.auc or 0.0)):
        if score.roc is None:
            axes.plot([], [], " ", label=f"{_drawn(score.name)} (not scored: {_briefly(score)})")
        else:
            colour, style = looks[score.name]
            label = f"{_drawn(score.name)} (AUC = {score.auc:.3f})"
            axes.plot(*score.roc, color=colour, linestyle=style, linewidth=1.8, label=label, zorder=2)
    axes.set(
        xlim=(-0.005, 1),
        ylim=(0, 1.005),
        aspect="equal",
        title=title.replace("$", r"\$"),
        xlabel="False positive rate",
        ylabel="True positive rate",
    )
    axes.grid(color="0.9", linewidth=0.6)
    axes.legend(loc="lower right", fontsize=9, handlelength=2.8, framealpha=0.92)
    return figure


@style.context("default")
def panel_figure(predictions: Sequence[Prediction], categories: CategoryTable) -> Figure:
    """Draws images, their labels and the probability of every category, as in the paper's figure 10.

    Args:
        predictions: One below the other.
        categories: Of the labels and probabilities. Those that an image holds have bold titles.

    Returns:
        A figure.
    """
    columns = 1 + -(-(len(categories) + 1) // _ROWS)  # one place more, for the colour bar
    legend_height = 1.1
    heights = [*[_ROWS * (_SIDE + 0.2) + 0.3] * len(predictions), legend_height]
    figure = Figure(figsize=(columns * _SIDE + 0.4, sum(heights)), dpi=110, layout="constrained")
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    for part, prediction in zip(parts, predictions, strict=False):
        _draw_prediction(part, prediction, categories, columns)
    _draw_legend(parts[-1], categories)
    return figure


@style.context("default")
def to_png(figure: Figure) -> bytes:
    """Returns a figure as a PNG file."""
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


@style.context("default")
def to_pixels(figure: Figure) -> npt.NDArray[np.uint8]:
    """Returns a figure as (H, W, 3) uint8, e.g. for TensorBoard."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]


def _briefly(score: ClassScore) -> str:
    return (score.reason or "").removesuffix(" among the known pixels")


def _draw_prediction(
    part: SubFigure, prediction: Prediction, categories: CategoryTable, columns: int
) -> None:
    part.suptitle(prediction.title, fontsize=10, x=0.01, ha="left")
    axes = part.subplots(_ROWS, columns)
    for each in axes.flat:
        each.set(xticks=[], yticks=[])
    shown = [(prediction.image, "true colour")]
    for channel, name in enumerate(categories.channel_names):
        shown.append((_label_colours(categories, channel)[prediction.label[..., channel]], _drawn(name)))
    for each, (pixels, name) in zip(axes[:, 0], shown, strict=False):
        each.imshow(pixels, interpolation="nearest")
        each.set_title(name, fontsize=8, pad=2)
    places = axes[:, 1:].reshape(-1)
    for index, name in enumerate(categories.names):
        held = (prediction.label[..., categories.channels[index]] == categories.values[index]).any()
        places[index].imshow(prediction.probabilities[..., index], cmap=_PROBABILITY_COLOURS, vmin=0, vmax=1)
        places[index].set_title(_drawn(name), fontsize=8, pad=2, fontweight="bold" if held else "normal")
    for spare in places[len(categories) :]:
        spare.axis("off")
    bar = places[-1].inset_axes((0.12, 0.1, 0.12, 0.8))
    part.colorbar(ScalarMappable(Normalize(0, 1), _PROBABILITY_COLOURS), cax=bar)
    bar.tick_params(labelsize=7)
    bar.set_ylabel("probability", fontsize=8)


def _draw_legend(part: SubFigure, categories: CategoryTable) -> None:
    entries = [*zip(categories.names, category_colours(categories.names), strict=True)]
    entries += [("none of the channel's", NONE_COLOUR), ("unlabeled", UNLABELED_COLOUR)]
    patches = [
        Patch(
            facecolor="#{:02x}{:02x}{:02x}".format(*colour),
            edgecolor="0.5",
            linewidth=0.5,
            label=_drawn(name),
        )
        for name, colour in entries
    ]
    part.legend(handles=patches, loc="center", ncols=6, fontsize=8, frameon=False, handlelength=1.2)
    note = "Bold: the labels hold the category. Probabilities are of the image shown."
    part.text(0.5, 0.02, note, fontsize=8, ha="center", va="bottom")


def _label_colours(categories: CategoryTable, channel: int) -> npt.NDArray[np.uint8]:
    """Returns (256, 3) RGB of a channel's values."""
    table = np.full((256, 3), UNLABELED_COLOUR, np.uint8)
    table[NONE] = NONE_COLOUR
    colours = category_colours(categories.names)
    for index in categories.of_channel(channel):
        table[categories.values[index]] = colours[index]
    return table
