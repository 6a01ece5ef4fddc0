"""Which tiles an extract may hold something of, by the bounds that its header states."""

from collections.abc import Sequence

import numpy as np

from beam_pipeline.features.plan import TileCells
from beam_pipeline.labels.chip_boxes import Bounds, boxes_meeting, lonlat_boxes

NEAR_DEGREES = 1.0
"""Degrees beyond its stated bounds within which an extract is read: what lies at its edge is whole, and may be long."""


class TileIndex:
    """Finds the tiles of which an extract may hold something.

    Args:
        tiles: The tiles; their cells are projected once.
    """

    def __init__(self, tiles: Sequence[TileCells]) -> None:
        self._tiles = [tile.tile for tile in tiles]
        self._boxes = lonlat_boxes([chip for tile in tiles for _, chip in tile.cells], 0.0)  # (C, 4)
        counts = [len(tile.cells) for tile in tiles]
        self._starts = np.cumsum([0, *counts[:-1]])

    def near(self, bounds: Bounds | None) -> list[str]:
        """Returns the tiles with a cell within `NEAR_DEGREES` of bounds; all of them where the bounds are unknown."""
        if bounds is None or not self._tiles:
            return self._tiles
        west, south, east, north = bounds
        grown = (west - NEAR_DEGREES, south - NEAR_DEGREES, east + NEAR_DEGREES, north + NEAR_DEGREES)
        met = np.logical_or.reduceat(boxes_meeting(self._boxes, grown), self._starts)
        return [tile for tile, near in zip(self._tiles, met.tolist(), strict=True) if near]
