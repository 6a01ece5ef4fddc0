"""A block of land between roads, and the hand of the mapper who drew it."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import shapely
from shapely import affinity
from shapely.geometry import LineString
from shapely.geometry.base import BaseGeometry

from beam_pipeline.sample_world.landscape import Canvas
from beam_pipeline.sample_world.materials import VARIANTS
from beam_pipeline.sample_world.shapes import Rect, ribbon

_FORGOTTEN = 0.04
_SHIFTED = 0.15
_SHIFT_M = 9.0
"""A mapper's small mistakes, in shares and metres. Guessed: like life, but too few to spoil learning."""


@dataclasses.dataclass(frozen=True)
class Block:
    """A rectangle of the plan that a theme fills.

    Attributes:
        rect: The rectangle in metres of the plan, the roads around it left out.
        rng: Draws everything in this block.
        canvas: Takes the surfaces and features.
        water: Rivers and streams that run through the block; nothing is built there.
    """

    rect: Rect
    rng: np.random.Generator
    canvas: Canvas
    water: BaseGeometry

    def chance(self, probability: float) -> bool:
        """Draws true with a probability."""
        return bool(self.rng.uniform() < probability)

    def pick(self, *choices: str) -> str:
        """Draws one of the choices."""
        return choices[int(self.rng.integers(len(choices)))]

    def shade(self) -> int:
        """Draws a material's variant."""
        return int(self.rng.integers(VARIANTS))

    def paint(self, layer: str, geometry: BaseGeometry, material: str) -> None:
        """Covers ground with a shade of a material."""
        self.canvas.paint(layer, geometry, material, self.shade())

    def map(self, geometry: BaseGeometry, **tags: str) -> None:
        """Maps a feature as people do: a few are forgotten and some lie a few metres off."""
        forgotten, shifted = self.rng.uniform(size=2)
        dx, dy = self.rng.uniform(-_SHIFT_M, _SHIFT_M, 2)
        if forgotten < _FORGOTTEN:
            return
        self.canvas.map(affinity.translate(geometry, dx, dy) if shifted < _SHIFTED else geometry, tags)

    def map_landmark(self, geometry: BaseGeometry, **tags: str) -> None:
        """Maps a feature that everybody knows: never forgotten, never shifted."""
        self.canvas.map(geometry, tags)

    def lay(self, line: LineString, width: float, material: str, **tags: str) -> None:
        """Paints a small road and maps its centre line."""
        if line.length > 5:
            self.paint("lane", ribbon(line, width), material)
            self.map(line, **tags)

    def build(
        self,
        houses: npt.NDArray[np.object_],
        kinds: Mapping[str, float],
        roofs: tuple[str, ...],
        mapped: bool = True,
    ) -> None:
        """Builds and maps houses, none of them in water.

        Args:
            houses: (N,) polygons in metres of the plan.
            kinds: Share of each value of the tag `building`.
            roofs: Materials to draw from.
            mapped: False where no mapper has drawn buildings yet.
        """
        if not len(houses):
            return
        if not self.water.is_empty:
            houses = houses[~shapely.intersects(houses, self.water)]
        bounds = np.cumsum(list(kinds.values()))
        names = list(kinds)
        for house, draw in zip(houses, self.rng.uniform(size=len(houses)) * bounds[-1], strict=True):
            self.paint("roof", house, roofs[int(self.rng.integers(len(roofs)))])
            if mapped:
                self.map(house, building=names[int(np.searchsorted(bounds, draw, "right"))])
