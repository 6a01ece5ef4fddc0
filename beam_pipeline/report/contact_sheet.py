"""A contact sheet of examples: both images in true colour with their dates, and the label channels.

Of labelled places, whose label images say nothing, it shows the image with class and name.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib import style
from matplotlib.figure import Figure

from beam_pipeline.imagery.image import Image
from beam_pipeline.imagery.radiometry import to_reflectance
from beam_pipeline.records.description import LabelChannel
from beam_pipeline.records.example import CellYear
from beam_pipeline.records.schema import FEATURES, GRID_BANDS, NONE, UNLABELED
from beam_pipeline.report.colours import NONE_COLOUR, UNLABELED_COLOUR, category_colours, true_colour
from beam_pipeline.runtime.faults import PermanentFault
from beam_pipeline.runtime.foreign_text import one_line
from beam_pipeline.runtime.whole_files import writing_whole

_DPI = 100

# In pixels.
_SIDE = FEATURES["label"].shape[0]
_GAP = 8
_CAPTION = 30
_LEGEND_ROW = 18
_FONT = 11

_CAPTION_CHARS = 60
_LEGEND_COLUMNS = 6
_FRAME_GREY = 160


def palette(channels: Sequence[LabelChannel]) -> dict[str, tuple[int, tuple[int, int, int]]]:
    """Chooses a colour for every category.

    Args:
        channels: The channels of `dataset.json`'s ontology.

    Returns:
        Category -> (value, RGB), in order of value.
    """
    labels = [(value, name) for channel in channels for name, value in channel.labels.items()]
    labels.sort()
    chosen = category_colours([name for _, name in labels])
    return {name: (value, colour) for (value, name), colour in zip(labels, chosen, strict=True)}


@style.context("default")  # whatever a matplotlibrc says
def contact_sheet(examples: Sequence[CellYear], channels: Sequence[LabelChannel]) -> Figure:
    """Draws a contact sheet.

    Args:
        examples: One a row; one at least.
        channels: The channels of `dataset.json`'s ontology.

    Returns:
        A figure, on which images are drawn pixel for pixel; `save_sheet` writes it so.
    """
    colours = palette(channels)
    table = np.zeros((256, 3), np.uint8)
    table[NONE], table[UNLABELED] = NONE_COLOUR, UNLABELED_COLOUR
    for value, colour in colours.values():
        table[value] = colour

    if examples[0].cell.place is not None:
        columns, legend = 1, []
    else:
        columns = 2 + len(channels)
        legend = [(name, colour) for name, (_, colour) in colours.items()]
        legend += [("none of the channel's", NONE_COLOUR), ("unlabeled", UNLABELED_COLOUR)]
    legend_rows = -(-len(legend) // _LEGEND_COLUMNS)
    width = _GAP + columns * (_SIDE + _GAP)
    row_height = _SIDE + _CAPTION + _GAP
    sheet = _Sheet(width, _GAP + len(examples) * row_height + _GAP + legend_rows * _LEGEND_ROW)

    for row, example in enumerate(examples):
        top = _GAP + row * row_height
        for column, (pixels, caption) in enumerate(_pictures(example, channels, table)):
            left = _GAP + column * (_SIDE + _GAP)
            sheet.paste(pixels, left, top)
            sheet.write(caption, left, top + _SIDE + 3)

    top = _GAP + len(examples) * row_height
    for index, (name, colour) in enumerate(legend):
        left = _GAP + (index % _LEGEND_COLUMNS) * ((width - _GAP) // _LEGEND_COLUMNS)
        y = top + index // _LEGEND_COLUMNS * _LEGEND_ROW
        sheet.paste(np.full((12, 12, 3), colour, np.uint8), left, y)
        sheet.write(_brief(name), left + 17, y)
    return sheet.figure


@style.context("default")
def save_sheet(sheet: Figure, path: Path) -> None:
    """Writes a contact sheet as a PNG, whole or not at all, and makes the folders it needs.

    Raises:
        Fault: It cannot be written.
    """
    try:
        with writing_whole(str(path)) as file:
            sheet.savefig(file, format="png", dpi=_DPI)
    except OSError as error:
        raise PermanentFault("storage", f"cannot write {path}: {error.strerror or error}") from error


def _pictures(
    example: CellYear, channels: Sequence[LabelChannel], table: npt.NDArray[np.uint8]
) -> list[tuple[npt.NDArray[np.uint8], str]]:
    """Returns what is drawn of an example: RGB pixels and what is written below them."""
    cell = example.cell
    if cell.place is not None:
        of_class, name = _brief(cell.place.class_name), _brief(cell.place.name)
        return [
            (_true_colour(image), f"{_brief(image.date)}  {of_class}\n{name}") for image in example.images[:1]
        ]
    pictures = [
        (_true_colour(image), f"{_brief(image.date)}  bad {image.bad_percent:.0%}\n{_brief(image.item_id)}")
        for image in example.images
    ]
    pictures += [(np.full((_SIDE, _SIDE, 3), 200, np.uint8), "no second clear date")] * (2 - len(pictures))
    where = (f"cell {cell.cell_id}", f"{_brief(cell.tile)}  {cell.split}", "")
    pictures += [
        (table[example.label[..., index]], f"{_brief(channel.name)}\n{where[min(index, 2)]}")
        for index, channel in enumerate(channels)
    ]
    return pictures


class _Sheet:
    """A figure on which things have their place in pixels, from its upper left corner."""

    def __init__(self, width: int, height: int) -> None:
        self.figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="white")
        self._width, self._height = width, height

    def paste(self, pixels: npt.NDArray[np.uint8], left: int, top: int) -> None:
        """Draws (H, W, 3) pixels as they are, in a thin frame."""
        framed = np.pad(pixels, ((1, 1), (1, 1), (0, 0)), constant_values=_FRAME_GREY)
        self.figure.figimage(framed, left - 1, self._height - (top - 1) - len(framed), origin="upper")

    def write(self, text: str, left: int, top: int) -> None:
        """Writes text from its upper left corner on; nothing in it is mathematics."""
        self.figure.text(
            left / self._width,
            1 - top / self._height,
            text,
            fontsize=_FONT * 72 / _DPI,
            va="top",
            linespacing=1.1,
            parse_math=False,
        )


def _brief(text: str) -> str:
    """Returns foreign text as far as there is room for it."""
    return one_line(text, _CAPTION_CHARS)


def _true_colour(image: Image) -> npt.NDArray[np.uint8]:
    bands = [GRID_BANDS["gsd_10"].index(band) for band in ("B04", "B03", "B02")]
    return true_colour(to_reflectance(image.gsd_10[..., bands], image.boa_add_offset))
