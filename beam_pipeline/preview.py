"""Draws a contact sheet of a dataset: both images in true colour with their dates, and the label channels.

    python -m beam_pipeline.preview out/sample

Rows are taken from all shards in turn, so that every split is seen.
"""

import argparse
import itertools
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from beam_pipeline.faults import Fault, InvalidInputError
from beam_pipeline.foreign_text import one_line
from beam_pipeline.imagery.image import Image
from beam_pipeline.imagery.radiometry import to_reflectance
from beam_pipeline.labels.rasterize import NONE, UNLABELED
from beam_pipeline.records.colours import NONE_COLOUR, UNLABELED_COLOUR, category_colours, true_colour
from beam_pipeline.records.example import CellYear, decode
from beam_pipeline.records.shards import parse_shard_name, read_shard
from beam_pipeline.records.summary import NUM_LABEL_CHANNELS
from beam_pipeline.storage import BeamFiles, use_default_options

_DPI = 100
_SIDE = 192  # here and below in pixels, of which an image has this many on a side
_GAP = 8
_CAPTION = 30
_CAPTION_CHARS = 60
_LEGEND_COLUMNS = 6
_LEGEND_ROW = 18
_FONT = 11
_FRAME_GREY = 160
_MOST_ROWS = 200  # matplotlib draws up to 65,536 pixels


def palette(channels: Sequence[Mapping[str, Any]]) -> dict[str, tuple[int, tuple[int, int, int]]]:
    """Chooses a colour for every category.

    Args:
        channels: The channels of `dataset.json`'s ontology.

    Returns:
        Category -> (value, RGB), in order of value.
    """
    labels = [(value, name) for channel in channels for name, value in channel["labels"].items()]
    labels.sort()
    chosen = category_colours([name for _, name in labels])
    return {name: (value, colour) for (value, name), colour in zip(labels, chosen, strict=True)}


def contact_sheet(examples: Sequence[CellYear], channels: Sequence[Mapping[str, Any]]) -> Figure:
    """Draws a contact sheet.

    Args:
        examples: One a row.
        channels: The channels of `dataset.json`'s ontology.

    Returns:
        A figure, on which images are drawn pixel for pixel.
    """
    colours = palette(channels)
    table = np.zeros((256, 3), np.uint8)
    table[NONE], table[UNLABELED] = NONE_COLOUR, UNLABELED_COLOUR
    for value, colour in colours.values():
        table[value] = colour

    columns = 2 + len(channels)
    legend = [*((name, colour) for name, (_, colour) in colours.items())]
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


def _pictures(
    example: CellYear, channels: Sequence[Mapping[str, Any]], table: npt.NDArray[np.uint8]
) -> list[tuple[npt.NDArray[np.uint8], str]]:
    """Returns what is drawn of an example: RGB pixels and what is written below them."""
    cell = example.cell
    pictures = [
        (_true_colour(image), f"{_brief(image.date)}  bad {image.bad_percent:.0%}\n{_brief(image.item_id)}")
        for image in example.images
    ]
    pictures += [(np.full((_SIDE, _SIDE, 3), 200, np.uint8), "no second clear date")] * (2 - len(pictures))
    where = (f"cell {cell.cell_id}", f"{_brief(cell.tile)}  {cell.split}", "")
    pictures += [
        (table[example.label[..., index]], f"{_brief(channel['name'])}\n{where[min(index, 2)]}")
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
    return true_colour(to_reflectance(image.gsd_10[..., [2, 1, 0]], image.boa_add_offset))


def some_examples(output: str, rows: int, split: str | None = None) -> list[CellYear]:
    """Takes examples from all shards in turn.

    Args:
        output: The dataset's folder.
        rows: The most examples, 1 or more.
        split: Only of this split; None for all.

    Returns:
        Examples, one of each shard before the second of any.
    """
    files = BeamFiles()
    shards = [shard["name"] for shard in _read_dataset(files, output)["shards"] if shard["examples"]]
    if split is not None:
        shards = [name for name in shards if parse_shard_name(name)[0] == split]
    streams: list[Iterator[bytes]] = [read_shard(files, f"{output}/{name}") for name in shards]
    # Shards evenly spread over the dataset, where there are more of them than rows.
    step = max(1, len(streams) // rows)
    turns = itertools.zip_longest(*streams[::step])
    payloads = (payload for turn in turns for payload in turn if payload is not None)
    return [decode(payload) for payload in itertools.islice(payloads, rows)]


def _read_dataset(files: BeamFiles, output: str) -> dict[str, Any]:
    """Reads what is drawn of `dataset.json`, and checks all that it is used for: it may be anybody's.

    Raises:
        InvalidInputError: It does not describe shards and channels.
    """
    path = f"{output}/dataset.json"
    try:
        dataset = json.loads(files.read_text(path))
        shards = [{"name": shard["name"], "examples": int(shard["examples"])} for shard in dataset["shards"]]
        for shard in shards:
            parse_shard_name(shard["name"])  # so that it leads nowhere else
        channels: list[dict[str, Any]] = [
            {"name": str(channel["name"]), "labels": {str(k): int(v) for k, v in channel["labels"].items()}}
            for channel in dataset["ontology"]["channels"]
        ]
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError, OverflowError) as error:
        raise InvalidInputError(
            f"{path} describes no dataset of this version: {error!r}. Copy it again from where it was built."
        ) from error
    if len(channels) != NUM_LABEL_CHANNELS or not all(
        0 <= value < NONE for channel in channels for value in channel["labels"].values()
    ):
        raise InvalidInputError(f"{path}: ontology.channels are not those of a label image")
    return {"shards": shards, "channels": channels}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", help="a folder that build_dataset wrote")
    parser.add_argument("--output", type=Path, help="the PNG (DATASET/preview.png)")
    parser.add_argument("--rows", type=int, default=8, help=f"how many examples (8), up to {_MOST_ROWS}")
    parser.add_argument("--split", choices=("training", "validation", "testing"), help="only of this split")
    given = parser.parse_args(argv)
    output = given.dataset.rstrip("/")
    use_default_options()
    files = BeamFiles()
    try:
        if not 1 <= given.rows <= _MOST_ROWS:
            raise InvalidInputError(f"--rows must be 1 to {_MOST_ROWS}. Received: {given.rows}")
        if not files.exists(f"{output}/dataset.json"):
            raise InvalidInputError(f"There is no dataset.json: no build finished there. Received: {output}")
        if given.output is None and "://" in output:
            raise InvalidInputError("--output PNG is needed for a dataset that is not on this machine")
        examples = some_examples(output, given.rows, given.split)
        if not examples:
            raise InvalidInputError(f"The dataset has no example to draw. Received: {output}")
        channels = _read_dataset(files, output)["channels"]
    except (InvalidInputError, Fault) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    path = given.output or Path(output) / "preview.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet(examples, channels).savefig(path, format="png", dpi=_DPI)
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
