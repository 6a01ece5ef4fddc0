"""The summary that a unit leaves beside its shard: exact counts, from which `dataset.json` is added up."""

import collections
import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pydantic

from beam_pipeline.cells.cell import Split
from beam_pipeline.dataset.cell_content import (
    CellContent,
    ImageRecord,
    LabelCount,
    count_labels,
    image_record,
)
from beam_pipeline.dataset.folder import plan_json
from beam_pipeline.dataset.outcomes import STORED, AssembledUnit, CellYearId, DeadLetter, sorted_letters
from beam_pipeline.imagery.image import BANDS, BANDS_10, BANDS_20, BANDS_60, Image, over_bands
from beam_pipeline.imagery.scenes import SceneNote
from beam_pipeline.labels.label_image import CHANNELS
from beam_pipeline.records.example import CellYear
from beam_pipeline.records.schema import SCL_PIXELS, UNLABELED
from beam_pipeline.records.version import CONTENTS, CURRENT, Version
from beam_pipeline.runtime.parsing import parse_json

LabelPixels = tuple[Mapping[int, int], Mapping[int, int], Mapping[int, int]]
"""Per channel, pixels by value."""

Status = Literal["written", "failed"]
"""A unit is "written" when it has a shard, "failed" when it has none."""


@dataclasses.dataclass(frozen=True)
class BandSums:
    """Exact sums over the valid pixels of a band, of v = DN + boa_add_offset.

    Attributes:
        count: Number of pixels.
        total: Sum of v.
        squares: Sum of v squared.
    """

    __pydantic_config__ = STORED

    count: int = 0
    total: int = 0
    squares: int = 0

    def __add__(self, other: "BandSums") -> "BandSums":
        """Adds up what two parts of the data give."""
        return BandSums(self.count + other.count, self.total + other.total, self.squares + other.squares)

    def __sub__(self, other: "BandSums") -> "BandSums":
        """Takes away what a part of the data gives."""
        return BandSums(self.count - other.count, self.total - other.total, self.squares - other.squares)


@dataclasses.dataclass(frozen=True)
class UnitSummary:
    """The summary of one unit. Nothing in it depends on the machine or the time.

    Attributes:
        name: The shard's file name.
        split: The unit's split.
        tile: The unit's MGRS tile; "" of a unit that failed.
        status: Whether there is a shard.
        cells: Cells planned; 0 of a unit that failed.
        cell_years: Cell-years planned; 0 of a unit that failed.
        cells_with_examples: Cells of which at least one year is in the shard.
        cells_unlabeled: Those of them in which no pixel of any channel is known: nothing is mapped there, or no
            extract reaches there.
        examples: Cell-years in the shard.
        pairs: Examples of two images.
        singles: Examples of one image.
        images: Images in the shard.
        sha256: Of the shard's bytes, "" without a shard.
        num_bytes: The shard's size.
        bands: Sums of each band over the images in the shard, no data left out.
        label_pixels: Per channel, the pixels of each value, 254 and 255 among them; a cell counts once.
        rejections: The cell-years left out, (cell_id, year) sorted, by reason.
        scene_rejections: Scenes that cell-years passed over, by reason.
        dropped_geometries: OSM geometries that could not be drawn, by reason.
        years_without_items: Years in which the catalogue has no item at all of the tile.
        notes: Scenes that are unusable for good, each once, sorted.
        dead_letters: Unexpected failures.
        scenes_by_year: Number of usable scenes of the tile in each year for which there is a list; None of a unit
            that failed, and in summaries of versions that did not count them.
        contents: What each cell with examples holds, sorted by cell; None in summaries of versions before 1.1.
        coastal_cells: Those of them through whose chip a coastline passes, sorted.
        inexact_cells: Those of them whose chip does not lie just where its bounds say, sorted.
        fingerprint: SHA-256 of the dataset's fingerprint that the unit is of.
    """

    __pydantic_config__ = STORED

    name: str
    split: Split
    tile: str
    status: Status
    cells: int
    cell_years: int
    cells_with_examples: int = 0
    cells_unlabeled: int = 0
    examples: int = 0
    pairs: int = 0
    singles: int = 0
    images: int = 0
    sha256: str = ""
    num_bytes: int = 0
    bands: Mapping[str, BandSums] = dataclasses.field(default_factory=dict)
    label_pixels: LabelPixels = ({}, {}, {})
    rejections: Mapping[str, tuple[CellYearId, ...]] = dataclasses.field(default_factory=dict)
    scene_rejections: Mapping[str, int] = dataclasses.field(default_factory=dict)
    dropped_geometries: Mapping[str, int] = dataclasses.field(default_factory=dict)
    years_without_items: tuple[int, ...] = ()
    notes: tuple[SceneNote, ...] = ()
    dead_letters: tuple[DeadLetter, ...] = ()
    scenes_by_year: Mapping[int, int] | None = None
    contents: tuple[CellContent, ...] | None = None
    coastal_cells: tuple[int, ...] = ()
    inexact_cells: tuple[int, ...] = ()
    fingerprint: str = dataclasses.field(kw_only=True)

    @property
    def lost_cell_years(self) -> int:
        """Number of cell-years that are dead letters."""
        return self.cell_years - self.examples - sum(self.rejection_counts.values())

    @property
    def rejection_counts(self) -> dict[str, int]:
        """Number of cell-years left out, by reason."""
        return {reason: len(rejected) for reason, rejected in self.rejections.items()}

    def to_json(self) -> str:
        """Returns JSON; equal summaries give equal text."""
        content = dataclasses.asdict(self)
        if self.scenes_by_year is None:
            del content["scenes_by_year"]
        if self.contents is None:
            for field in _SINCE_CONTENTS:
                del content[field]
            return plan_json(content)  # as versions before wrote it
        return summary_json(content)

    @classmethod
    def from_json(cls, text: str | bytes) -> "UnitSummary":
        """Reads what `to_json` wrote.

        Raises:
            MalformedError: It is no summary; the message names the field.
        """
        return parse_json(_ADAPTER, text)


_ADAPTER = pydantic.TypeAdapter(UnitSummary)

_SINCE_CONTENTS = ("contents", "coastal_cells", "inexact_cells")


def summary_json(content: Mapping[str, Any]) -> str:
    """Returns the text of a summary, a field a line; equal content gives equal text."""
    lines = [
        f" {json.dumps(field)}: {json.dumps(content[field], sort_keys=True, separators=(',', ':'))}"
        for field in sorted(content)
    ]
    return "{\n" + ",\n".join(lines) + "\n}\n"


class ShardContent:
    """Adds up what a shard holds, one cell-year at a time.

    Args:
        bands: Sums of each band over images of which the pixels are not looked at.
    """

    def __init__(self, bands: Mapping[str, BandSums] | None = None) -> None:
        self._examples: collections.Counter[int] = collections.Counter()  # by number of images
        self._bands = dict.fromkeys(BANDS, BandSums()) | dict(bands or {})
        self._labels: dict[int, tuple[LabelCount, ...]] = {}
        self._images: dict[int, list[ImageRecord]] = {}
        self._inexact: set[int] = set()

    def add(self, cell_year: CellYear) -> None:
        """Counts a cell-year in."""
        for image in cell_year.images:
            for band, sums in band_sums(image).items():
                self._bands[band] += sums
        records = [
            image_record(cell_year.year, image.datetime, round(image.bad_percent * SCL_PIXELS))
            for image in cell_year.images
        ]
        self.add_described(
            cell_year.cell.cell_id, records, cell_year.label, bounds_exact=cell_year.bounds_exact
        )

    def add_described(
        self,
        cell_id: int,
        images: Sequence[ImageRecord],
        label: npt.NDArray[np.uint8],
        *,
        bounds_exact: bool,
    ) -> None:
        """Counts a cell-year in, but for the pixels of its images.

        Args:
            cell_id: The cell.
            images: What there is to say of each image.
            label: (192, 192, 3) uint8.
            bounds_exact: Whether the chip lies where its bounds say.
        """
        self._examples[len(images)] += 1
        self._images.setdefault(cell_id, []).extend(images)
        # The labels of a cell are the same in all years.
        if cell_id not in self._labels:
            self._labels[cell_id] = count_labels(label)
        if not bounds_exact:
            self._inexact.add(cell_id)

    def counts(self, version: Version = CURRENT) -> dict[str, Any]:
        """Returns the fields of a `UnitSummary` that follow from the shard alone, but for hash and size.

        Args:
            version: Of the data format: fields that it does not have are left out.
        """
        counts = {
            "cells_with_examples": len(self._labels),
            "cells_unlabeled": sum(
                all(value == UNLABELED for value in values)
                for (*values, _), *others in self._labels.values()
                if not others
            ),
            "examples": self._examples.total(),
            "pairs": self._examples[2],
            "singles": self._examples[1],
            "images": sum(images * examples for images, examples in self._examples.items()),
            "bands": dict(self._bands),
            "label_pixels": self._label_pixels(),
        }
        if version >= CONTENTS:
            counts["inexact_cells"] = tuple(sorted(self._inexact))
            counts["contents"] = tuple(
                # By year alone: the images of a year stay in the order of their slots.
                CellContent(cell_id, labels, tuple(sorted(self._images[cell_id], key=lambda it: it[0])))
                for cell_id, labels in sorted(self._labels.items())
            )
        return counts

    def _label_pixels(self) -> LabelPixels:
        pixels: tuple[collections.Counter[int], ...] = tuple(collections.Counter() for _ in range(CHANNELS))
        for labels in self._labels.values():
            for *values, count in labels:
                for channel, value in zip(pixels, values, strict=True):
                    channel[value] += count
        land_use, water_and_roads, buildings = ({value: it[value] for value in sorted(it)} for it in pixels)
        return land_use, water_and_roads, buildings


def summarise(assembled: AssembledUnit, fingerprint: str = "") -> UnitSummary:
    """Adds up a unit that is about to be written.

    Args:
        assembled: The unit, in whatever order its parts come.
        fingerprint: SHA-256 of the dataset's fingerprint.

    Returns:
        The summary; `shards.commit_unit` fills in the shard's hash and size.
    """
    unit = assembled.unit
    content = ShardContent()
    for cell_year in assembled.cell_years:
        content.add(cell_year)
    return UnitSummary(
        name=unit.name,
        split=unit.split,
        tile=unit.tile,
        status="written",
        cells=len(unit.cells),
        cell_years=len(unit.cells) * assembled.years,
        rejections={
            reason: tuple(sorted(rejected))
            for reason, rejected in sorted(assembled.rejections.items())
            if rejected
        },
        scene_rejections=sorted_counts(assembled.scene_rejections),
        dropped_geometries=sorted_counts(assembled.dropped_geometries),
        years_without_items=tuple(sorted(set(assembled.years_without_items))),
        notes=tuple(sorted(set(assembled.notes))),
        dead_letters=sorted_letters(assembled.dead_letters),
        scenes_by_year={year: assembled.scenes_by_year[year] for year in sorted(assembled.scenes_by_year)},
        coastal_cells=tuple(sorted({it.cell.cell_id for it in assembled.cell_years} & assembled.coastal)),
        fingerprint=fingerprint,
        **content.counts(),
    )


def failed_summary(letter: DeadLetter, split: Split, fingerprint: str = "") -> UnitSummary:
    """Returns the summary of a unit that failed as a whole and has no shard.

    Args:
        letter: What happened; names the unit.
        split: The unit's split.
        fingerprint: That of the dataset.

    Returns:
        A summary without tile and cells: the plan has them.
    """
    return UnitSummary(
        letter.unit, split, "", "failed", 0, 0, dead_letters=(letter,), contents=(), fingerprint=fingerprint
    )


def band_sums(image: Image) -> dict[str, BandSums]:
    """Adds up each band of an image over its valid pixels.

    A pixel is no data where every band of its grid is 0, or where the scene classification says so (0) in any
    part of it. A 0 in one band alone is a measurement.

    Args:
        image: The image.

    Returns:
        Exact sums of DN + boa_add_offset by band.
    """
    no_data = image.scl == 0
    sums = {}
    for bands, pixels in ((BANDS_10, image.gsd_10), (BANDS_20, image.gsd_20), (BANDS_60, image.gsd_60)):
        valid = _valid(pixels, no_data)
        for band, plane in zip(bands, np.moveaxis(pixels, -1, 0), strict=True):
            # Exact as floats too: 65,535 squared times 36,864 pixels stays below 2**53.
            values = plane[valid].astype(np.float64).ravel()
            if image.boa_add_offset:
                values += image.boa_add_offset
            sums[band] = BandSums(values.size, int(values.sum()), int(np.einsum("p,p", values, values)))
    return sums


def _valid(pixels: npt.NDArray[np.uint16], no_data: npt.NDArray[np.bool_]) -> Any:
    """Returns the index of the valid pixels of a grid: `...` where all are, which is quickly seen."""
    if pixels.min() > 0 and not no_data.any():
        return ...
    side = len(pixels)
    of_grid: npt.NDArray[np.bool_]
    if side > len(no_data):
        of_grid = no_data.repeat(2, axis=0).repeat(2, axis=1)
    else:
        parts = len(no_data) // side
        of_grid = np.asarray(no_data.reshape(side, parts, side, parts).any(axis=(1, 3)))
    return (over_bands(np.maximum, pixels) > 0) & ~of_grid


def sorted_counts(counts: Mapping[str, int]) -> dict[str, int]:
    """Returns the counts above 0 in order of their names."""
    return {reason: counts[reason] for reason in sorted(counts) if counts[reason]}
