"""The contents of each cell in a summary: its labels, pixel by pixel but not where, and the dates of its images."""

import dataclasses
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, Field

from beam_pipeline.dataset.outcomes import STORED
from beam_pipeline.labels.label_image import NONE, SIZE, UNLABELED
from beam_pipeline.records.schema import SCL_PIXELS

PIXELS = SIZE * SIZE
"""Of a label image."""

_Value = Annotated[int, Field(ge=0, le=UNLABELED)]
_Month = Annotated[int, Field(ge=0, le=12)]

LabelCount = tuple[_Value, _Value, _Value, Annotated[int, Field(ge=1, le=PIXELS)]]
"""The values of a pixel in each channel, and how many pixels of the cell have just these."""

ImageRecord = tuple[int, _Month, Annotated[int, Field(ge=0, le=SCL_PIXELS)]]
"""The year of an image's example, the month of its date (0: the date says none), its bad pixels of the 9216."""


def _check_sum(labels: tuple[LabelCount, ...]) -> tuple[LabelCount, ...]:
    if sum(count for *_, count in labels) != PIXELS:
        raise ValueError(f"the pixels of a label image are {PIXELS}")
    return labels


@dataclasses.dataclass(frozen=True, slots=True)
class CellContent:
    """A cell of which at least one year is in the shard.

    What meets in a pixel, and what each channel holds, follow from `labels`: each pixel is counted once, under the
    values of all its channels.

    Attributes:
        cell_id: The cell.
        labels: (land use, water and roads, buildings, pixels), sorted; 254 and 255 are values like any other.
        images: (year, month, bad pixels) of each image, in the order of their years and slots.
    """

    __pydantic_config__ = STORED

    cell_id: int
    labels: Annotated[tuple[LabelCount, ...], AfterValidator(_check_sum)]
    images: tuple[ImageRecord, ...]

    @property
    def labelled_pixels(self) -> int:
        """Number of pixels that hold a category in any channel."""
        return sum(count for *values, count in self.labels if min(values) < NONE)

    @property
    def categories(self) -> set[tuple[int, int]]:
        """(channel, value) of the categories that the cell holds."""
        return {
            (channel, value)
            for *values, _ in self.labels
            for channel, value in enumerate(values)
            if value < NONE
        }


def count_labels(label: npt.NDArray[np.uint8]) -> tuple[LabelCount, ...]:
    """Counts the pixels of a label image by the values of all its channels.

    Args:
        label: (192, 192, 3) uint8.

    Returns:
        `CellContent.labels`.
    """
    land_use, water_and_roads, buildings = np.moveaxis(label, -1, 0).astype(np.uint32)
    packed = land_use << 16 | water_and_roads << 8 | buildings
    values, counts = np.unique(packed, return_counts=True)
    return tuple(
        (value >> 16, value >> 8 & 255, value & 255, count)
        for value, count in zip(values.tolist(), counts.tolist(), strict=True)
    )


def image_record(year: int, datetime: str, bad_pixels: int) -> ImageRecord:
    """Returns what a summary says of an image of an example; its values are those of the schema."""
    month = datetime[5:7]
    known = month.isdecimal() and int(month) <= 12
    return year, int(month) if known else 0, bad_pixels
