"""The examples that a report shows: read one by one from the middle of their shards, and drawn pixel for pixel."""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from beam_pipeline.dataset.folder import DatasetFolder
from beam_pipeline.imagery.image import Image
from beam_pipeline.imagery.radiometry import to_reflectance
from beam_pipeline.records.categories import CategoryTable
from beam_pipeline.records.example import CellYear, decode
from beam_pipeline.records.png import encode_png
from beam_pipeline.records.schema import GRID_BANDS, NONE, UNLABELED
from beam_pipeline.records.shards import parse_shard, record_places
from beam_pipeline.report.colours import NONE_COLOUR, UNLABELED_COLOUR, category_colours, true_colour
from beam_pipeline.report.picks import Pick
from beam_pipeline.runtime.faults import Fault, PermanentFault

_VISIBLE = [GRID_BANDS["gsd_10"].index(band) for band in ("B04", "B03", "B02")]

Colour = tuple[int, int, int]


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture of the page.

    Attributes:
        png: Its file.
        caption: What it is, in a few words.
        alt: What is to be seen.
    """

    png: bytes
    caption: str
    alt: str


@dataclasses.dataclass(frozen=True)
class Shown:
    """An example that is shown.

    Attributes:
        title: Cell, tile, split and year.
        pictures: Both images and the label's channels.
    """

    title: str
    pictures: Sequence[Picture]


def read_picks(folder: DatasetFolder, picks: Iterable[Pick]) -> tuple[list[CellYear], list[tuple[str, str]]]:
    """Reads examples.

    Args:
        folder: The dataset's folder.
        picks: Those that are wanted.

    Returns:
        The examples, and (shard, what is wrong) of those that cannot be read.
    """
    examples, problems = [], []
    for pick in picks:
        try:
            examples.append(_read(folder, pick))
        except Fault as fault:
            problems.append((pick.unit, fault.detail))
    return examples, problems


def _read(folder: DatasetFolder, pick: Pick) -> CellYear:
    with folder.files.open_ranges(folder.at(pick.unit)) as file:
        for place in record_places(file, pick.unit):
            if place.record == pick.record:
                file.seek(place.start)
                example = decode(next(parse_shard(file, pick.unit, place.record, place.start)))
                break
        else:
            raise PermanentFault("corrupt_shard", f"there is no record {pick.record}")
    if pick.cell_id is not None and (example.cell.cell_id, example.year) != (pick.cell_id, pick.year):
        raise PermanentFault(
            "corrupt_shard",
            f"record {pick.record} is of cell {example.cell.cell_id}, {example.year}, and its summary says "
            f"{pick.cell_id}, {pick.year}",
        )
    return example


def show(example: CellYear, table: CategoryTable) -> Shown:
    """Draws an example.

    Args:
        example: The example.
        table: What its labels mean.
    """
    cell = example.cell
    pictures = [image_picture(image, cell.cell_id) for image in example.images]
    palette = colour_table(table)
    for channel, name in enumerate(table.channel_names):
        values = example.label[..., channel]
        pictures.append(Picture(encode_png(palette[values]), name, _said(values, channel, table)))
    return Shown(f"Cell {cell.cell_id}, tile {cell.tile}, {cell.split}, {example.year}", pictures)


def image_picture(image: Image, cell_id: int) -> Picture:
    """Draws an image in true colour."""
    reflectance = to_reflectance(image.gsd_10[..., _VISIBLE], image.boa_add_offset)
    return Picture(
        encode_png(true_colour(reflectance)),
        f"{image.date}, bad {image.bad_percent:.0%}",
        f"Cell {cell_id} in true colour on {image.date}, {image.bad_percent:.0%} of it unusable.",
    )


def colour_table(table: CategoryTable) -> npt.NDArray[np.uint8]:
    """Returns the colour of each value of a label image, (256, 3)."""
    colours = np.full((256, 3), UNLABELED_COLOUR, np.uint8)
    colours[NONE], colours[UNLABELED] = NONE_COLOUR, UNLABELED_COLOUR
    for value, colour in zip(table.values, legend_colours(table), strict=True):
        colours[value] = colour
    return colours


def legend_colours(table: CategoryTable) -> list[Colour]:
    """Returns the colour of each category of a table, as `preview` has it."""
    by_value = sorted(range(len(table)), key=lambda place: table.values[place])
    chosen = category_colours([table.names[place] for place in by_value])
    colours = dict(zip(by_value, chosen, strict=True))
    return [colours[place] for place in range(len(table))]


def _said(values: npt.NDArray[np.uint8], channel: int, table: CategoryTable) -> str:
    """Says what a channel of a label image holds, the most first."""
    counts = np.bincount(values.reshape(-1), minlength=256)
    names = {table.values[place]: table.names[place] for place in table.of_channel(channel)}
    names |= {NONE: "none", UNLABELED: "unlabelled"}
    most = sorted(((int(counts[value]), name) for value, name in names.items()), reverse=True)
    held = ", ".join(f"{name} {count / values.size:.0%}" for count, name in most if count)
    return f"Label {table.channel_names[channel]}: {held}."
