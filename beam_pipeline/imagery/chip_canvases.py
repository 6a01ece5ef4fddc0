"""Where the pixels of many chips lie in an asset's blocks: what must be read, and which chips it is for."""

from collections.abc import Iterable, Sequence

import numpy as np
from rasterio.windows import Window

from beam_pipeline.cells.cell import CHIP_SIZE_M, ChipWindow
from beam_pipeline.imagery.asset_grid import Block, Grid
from beam_pipeline.imagery.asset_values import Pixels
from beam_pipeline.imagery.image import SCL
from beam_pipeline.runtime.faults import Fault, PermanentFault

_Box = tuple[int, int, int, int]
"""(top, bottom, left, right) in pixels of the asset; bottom and right are one past the last."""


class ChipCanvases:
    """The chips of one asset, while blocks are painted on them.

    Args:
        grid: The asset's.
        band: Key of `PIXEL_SIZE_M`.
        chips: They may overlap and repeat.
        name: Of the asset, for messages.

    Attributes:
        answers: For each chip its pixels, (192, 192), (96, 96) or (32, 32) by pixel size, uint16 or for SCL uint8; or
            the fault that it gets instead.
    """

    def __init__(self, grid: Grid, band: str, chips: Sequence[ChipWindow], name: str) -> None:
        self._grid = grid
        self._side = CHIP_SIZE_M // grid.pixel_m
        dtype: type[np.uint8 | np.uint16] = np.uint8 if band == SCL else np.uint16
        self.answers: list[Pixels | Fault] = []
        self._boxes: dict[int, _Box] = {}
        self._users: dict[tuple[int, int], list[int]] = {}
        for index, chip in enumerate(chips):
            try:
                row, column = grid.window(chip, name)
            except PermanentFault as fault:
                self.answers.append(fault)
                continue
            self.answers.append(np.empty((self._side, self._side), dtype))  # type: ignore[arg-type]
            self._boxes[index] = row, row + self._side, column, column + self._side
            for place in self._places(self._boxes[index]):
                self._users.setdefault(place, []).append(index)

    @property
    def blocks(self) -> Iterable[tuple[int, int]]:
        """(row, column) of each block that a chip touches."""
        return self._users.keys()

    def window(self, run: Sequence[Block]) -> Window | None:
        """Returns what chips need of blocks that are neighbours in a row; None where no chip needs any of it."""
        parts = [_common(self._box(run), self._boxes[index]) for index in self._needing(run)]
        if not parts:
            return None
        top, left = min(part[0] for part in parts), min(part[2] for part in parts)
        bottom, right = max(part[1] for part in parts), max(part[3] for part in parts)
        return Window(left, top, right - left, bottom - top)

    def paint(self, run: Sequence[Block], window: Window, pixels: Pixels) -> None:
        """Copies what was read to the chips that need it.

        Args:
            run: The blocks.
            window: As `window` gave it for them.
            pixels: (height, width) of the window, masked where pixels are marked as no data.
        """
        for index in self._needing(run):
            box = self._boxes[index]
            common = _common(self._box(run), box)
            part = pixels[_within(common, window.row_off, window.col_off)]
            if np.ma.is_masked(part) and not np.ma.isMaskedArray(self.answers[index]):
                self.answers[index] = np.ma.MaskedArray(
                    self.answers[index], np.zeros((self._side,) * 2, np.bool_)
                )
            self.answers[index][_within(common, box[0], box[2])] = part  # type: ignore[index]

    def refuse(self, block: Block, fault: PermanentFault) -> None:
        """Gives a fault to the chips that need the very block: what a chip gets must not depend on its neighbours."""
        for index in self._needing((block,)):
            self.answers[index] = fault

    def _needing(self, run: Sequence[Block]) -> list[int]:
        users = sorted({index for block in run for index in self._users[block.row, block.column]})
        return [index for index in users if not isinstance(self.answers[index], Fault)]

    def _places(self, box: _Box) -> Iterable[tuple[int, int]]:
        top, bottom, left, right = box
        for row in range(top // self._grid.block_height, (bottom - 1) // self._grid.block_height + 1):
            for column in range(left // self._grid.block_width, (right - 1) // self._grid.block_width + 1):
                yield row, column

    def _box(self, run: Sequence[Block]) -> _Box:
        height, width = self._grid.block_height, self._grid.block_width
        top, left = run[0].row * height, run[0].column * width
        return top, top + height, left, left + len(run) * width


def _common(one: _Box, other: _Box) -> _Box:
    return max(one[0], other[0]), min(one[1], other[1]), max(one[2], other[2]), min(one[3], other[3])


def _within(box: _Box, top: int, left: int) -> tuple[slice, slice]:
    return slice(box[0] - top, box[1] - top), slice(box[2] - left, box[3] - left)
