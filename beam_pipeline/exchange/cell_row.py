"""The facts of a cell that tables, catalogues and mosaics of an export are made of."""

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import pyproj
import shapely
from shapely.geometry.base import BaseGeometry

from beam_pipeline.cells.cell import Cell, ChipWindow
from beam_pipeline.exchange.label_classes import LabelChannel
from beam_pipeline.labels.antimeridian import make_continuous
from beam_pipeline.records.example import CellYear

_HALF_TURN, _TURN = 180.0, 360.0


@dataclasses.dataclass(frozen=True)
class ImageFacts:
    """Facts of an image.

    Attributes:
        year: The year of its example.
        slot: Its place there, 0 or 1.
        datetime: Sensing start, ISO 8601 in UTC.
        item_id: Id of the STAC item that it was read of.
        boa_add_offset: 0 or -1000, to be added to a DN.
    """

    year: int
    slot: int
    datetime: str
    item_id: str
    boa_add_offset: int


@dataclasses.dataclass(frozen=True)
class CellRow:
    """A cell that was exported.

    Attributes:
        cell: The cell.
        images: Its images, by year and slot.
        pixels: Number of pixels of its label image by (channel, value).
    """

    cell: Cell
    images: tuple[ImageFacts, ...]
    pixels: Mapping[tuple[int, int], int]

    @classmethod
    def of(cls, cell_years: Sequence[CellYear], channels: Iterable[LabelChannel]) -> Self:
        """Returns the facts of a cell.

        Args:
            cell_years: All years of the cell, which have one label image.
            channels: The channels of the label image.
        """
        images = tuple(
            ImageFacts(it.year, slot, image.datetime, image.item_id, image.boa_add_offset)
            for it in cell_years
            for slot, image in enumerate(it.images)
        )
        pixels: dict[tuple[int, int], int] = {}
        for channel in channels:
            counts = np.bincount(cell_years[0].label[..., channel.index].ravel(), minlength=256)
            pixels |= {(channel.index, int(value)): int(counts[value]) for value in np.flatnonzero(counts)}
        return cls(cell_years[0].cell, images, pixels)

    @property
    def years(self) -> list[int]:
        """The years of its images, ascending."""
        return sorted({image.year for image in self.images})

    def to_json(self) -> list[Any]:
        """Returns the row as JSON values, the inverse of `from_json`."""
        cell = self.cell
        bounds = [cell.min_lon, cell.max_lon, cell.min_lat, cell.max_lat]
        chip = [cell.chip.epsg, cell.chip.left, cell.chip.bottom]
        return [
            [cell.cell_id, cell.tile, cell.split, chip, bounds],
            [list(dataclasses.astuple(image)) for image in self.images],
            [[*key, number] for key, number in self.pixels.items()],
        ]

    @classmethod
    def from_json(cls, content: Any) -> Self:
        """Returns the row that `to_json` gave."""
        (cell_id, tile, split, chip, bounds), images, pixels = content
        return cls(
            Cell(cell_id, tile, split, ChipWindow(*chip), *bounds),
            tuple(ImageFacts(*image) for image in images),
            {(channel, value): number for channel, value, number in pixels},
        )


def footprint(chip: ChipWindow) -> BaseGeometry:
    """Returns the square of a chip in degrees, WGS84: a polygon, or two where it crosses the antimeridian.

    Its edges are straight in degrees; those of the chip are nowhere 0.1 m beside them.

    Args:
        chip: The chip.
    """
    left, bottom, right, top = chip.bounds
    lon, lat = _to_degrees(chip.epsg).transform(
        [left, right, right, left, left], [bottom, bottom, top, top, bottom]
    )
    polygon: BaseGeometry = make_continuous(np.array([shapely.Polygon(zip(lon, lat, strict=True))]))[0]
    if polygon.bounds[2] <= _HALF_TURN:
        return polygon
    halves = [
        shapely.transform(
            shapely.clip_by_rect(polygon, start, -90, start + _TURN, 90), _moved(-start - _HALF_TURN)
        )
        for start in (-_HALF_TURN, _HALF_TURN)
    ]
    return shapely.MultiPolygon([half for half in halves if isinstance(half, shapely.Polygon)])


def _moved(by: float) -> Any:
    return lambda points: points + np.array([by, 0.0])


@functools.lru_cache(maxsize=128)
def _to_degrees(epsg: int) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(epsg, 4326, always_xy=True)
