"""The label image of a cell: its channels, its values, and its packed form."""

import dataclasses
import zlib
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from beam_pipeline.cells.cell import CHIP_SIZE_M
from beam_pipeline.runtime.faults import Failure

CHANNELS = 3
"""Channels of a label image. Source: the published dataset's label images."""

NONE = 254
"""Pixel value: known, and none of this channel's categories. Source: the published dataset's README."""

UNLABELED = 255
"""Pixel value: unknown. Source: the published dataset's README."""

PIXEL_M = 10
"""Ground sample distance of label images in metres: that of Sentinel-2's finest bands."""

SIZE = CHIP_SIZE_M // PIXEL_M
"""Side of a label image in pixels."""


@dataclasses.dataclass(frozen=True)
class LabelImage:
    """A cell's labels.

    Attributes:
        pixels: (192, 192, 3) uint8, 10 m, row 0 in the north; the channels and values of the ontology,
            `NONE` where it is known that none of a channel's categories is there, `UNLABELED` where nothing
            is known.
        dropped: Reason -> number of features that could not be drawn: "unreadable" (no well-known binary),
            "empty", "not_finite" (a coordinate is infinite or no number), "degenerate" (an area or a line
            of no extent), "tangled" (an area that crosses itself so often that its repair could take minutes).
        coastal: Whether a coastline passes through the chip itself.
    """

    pixels: npt.NDArray[np.uint8]
    dropped: dict[str, int]
    coastal: bool


@dataclasses.dataclass(frozen=True)
class CellLabel:
    """The label image of a cell as it travels to its unit: compressed, because it is grouped.

    Attributes:
        cell_id: The cell.
        pixels: zlib of the (192, 192, 3) uint8 image; empty after a failure.
        dropped: Geometries that could not be used, by reason.
        failure: Why there is no label, or None.
        coastal: Whether a coastline passes through the chip itself.
    """

    cell_id: int
    pixels: bytes
    dropped: dict[str, int]
    failure: Failure | None = None
    coastal: bool = False

    @classmethod
    def pack(
        cls,
        cell_id: int,
        pixels: npt.NDArray[np.uint8],
        dropped: Mapping[str, int],
        *,
        coastal: bool = False,
    ) -> "CellLabel":
        """Compresses a label image."""
        return cls(cell_id, zlib.compress(pixels.tobytes(), 1), dict(dropped), coastal=coastal)

    def unpack(self) -> npt.NDArray[np.uint8]:
        """Returns the (192, 192, 3) uint8 label image."""
        return np.frombuffer(zlib.decompress(self.pixels), np.uint8).reshape(SIZE, SIZE, CHANNELS)
