"""The faults of a single example, judged by the plan, the ontology and the filters."""

import dataclasses
import datetime
import itertools
import zlib
from collections.abc import Iterator

import numpy as np

from beam_pipeline.cells.cell import LATTICE_M, ChipWindow, false_northing
from beam_pipeline.dataset.units import Unit
from beam_pipeline.imagery.chips import FilterSettings, bad_fraction, image_rejection, scl_rejection
from beam_pipeline.imagery.image import NUM_SLOTS, Image
from beam_pipeline.imagery.radiometry import BOA_ADD_OFFSET
from beam_pipeline.imagery.stac_item import tile_of_item
from beam_pipeline.records.example import CellYear
from beam_pipeline.records.version import Version

_OFFSETS = (0, BOA_ADD_OFFSET)

FaultOfExample = tuple[str, str]
"""(kind, detail) of a difference."""


@dataclasses.dataclass(frozen=True)
class Expected:
    """The values and properties that are expected of every example of a dataset.

    Attributes:
        years: The years asked for.
        label_values: Per channel, the values that a label may have; None where no ontology says.
        pairs_only: Whether an example must have two images.
        fingerprint: The SHA-256 that each summary holds.
        version: Of the data format.
        features: The features that each example has; None where a later version may have more than we know.
        filters: Those that every image has passed.
        imported: Whether the examples are of published files: on no lattice, with `bad_percent` as it was given.
    """

    years: tuple[int, ...]
    label_values: tuple[frozenset[int], ...] | None
    pairs_only: bool
    fingerprint: str
    version: Version
    features: frozenset[str] | None
    filters: FilterSettings
    imported: bool = False


class ExampleAudit:
    """Looks at the examples of one unit, one after the other.

    Args:
        unit: The unit as planned.
        expected: What holds for every example.
    """

    def __init__(self, unit: Unit, expected: Expected) -> None:
        self._planned = {cell.cell_id: cell for cell in unit.cells}
        self._expected = expected
        self._label_checksums: dict[int, int] = {}
        self._with_patch: set[int] = set()

    def faults_of(self, example: CellYear) -> Iterator[FaultOfExample]:
        """Yields everything that is wrong with an example."""
        yield from self._faults_of_cell(example)
        yield from self._faults_of_pair(example)
        for image in example.images:
            yield from self._faults_of_image(example, image)
        yield from self._faults_of_label(example)

    def _faults_of_cell(self, example: CellYear) -> Iterator[FaultOfExample]:
        cell, planned = example.cell, self._planned.get(example.cell.cell_id)
        if planned is not None and cell != planned:
            kind = "chip" if cell.chip != planned.chip else "cell"
            yield kind, f"cell {cell.cell_id} is {cell}, planned is {planned}"
        if example.bounds_exact and self._expected.imported:
            yield "chip", f"cell {cell.cell_id} is imported, and says that its bounds are exact"
        if not self._expected.imported and not on_lattice(cell.chip):
            yield "chip", f"cell {cell.cell_id} is off the {LATTICE_M} m lattice: {cell.chip}"
        if cell.place is not None:
            if cell.cell_id in self._with_patch or len(example.images) != 1:
                yield "place", f"{cell.place.name!r} has more than one image"
            self._with_patch.add(cell.cell_id)

    def _faults_of_pair(self, example: CellYear) -> Iterator[FaultOfExample]:
        where = f"cell {example.cell.cell_id} in {example.year} has"
        if len({image.item_id for image in example.images}) != len(example.images):
            yield "pair", f"{where} {example.images[0].item_id} twice"
        if self._expected.pairs_only and len(example.images) != NUM_SLOTS:
            yield "pair", f"{where} {len(example.images)} image"
        for first, second in itertools.pairwise(example.images):
            if first.date >= second.date:
                yield "dates", f"{where} {first.datetime}, then {second.datetime}"

    def _faults_of_image(self, example: CellYear, image: Image) -> Iterator[FaultOfExample]:
        if image.date[:4] != str(example.year) or not _is_time(image.datetime):
            detail = f"cell {example.cell.cell_id} in {example.year} has an image of {image.datetime}"
            yield "year", detail
        if image.boa_add_offset not in _OFFSETS:
            yield "offset", f"{image.item_id} has boa_add_offset {image.boa_add_offset}"
        yield from _filter_faults(image, example.cell.tile, self._expected)

    def _faults_of_label(self, example: CellYear) -> Iterator[FaultOfExample]:
        cell_id = example.cell.cell_id
        for channel, allowed in enumerate(self._expected.label_values or ()):
            unknown = set(np.unique(example.label[..., channel]).tolist()) - allowed
            if unknown:
                yield "label", f"cell {cell_id}, channel {channel}: no label has {sorted(unknown)}"
        checksum = zlib.crc32(example.label.tobytes())
        if self._label_checksums.setdefault(cell_id, checksum) != checksum:
            yield "label", f"cell {cell_id} has other labels in {example.year} than in an earlier year"


def _filter_faults(image: Image, tile: str, expected: Expected) -> Iterator[FaultOfExample]:
    """Judges an image once more, as it was judged before it was written."""
    filters = expected.filters
    bad = bad_fraction(image.scl, filters)
    if bad != image.bad_percent and not expected.imported:
        yield "bad_percent", f"{image.item_id} has bad_percent {image.bad_percent}, its SCL gives {bad}"
    rejection = scl_rejection(image.scl, filters) or image_rejection(image, filters)
    if rejection is not None:
        yield "filter", f"{image.item_id} does not pass the fingerprint's filters: {rejection}"
    of_item = tile_of_item({"id": image.item_id})
    if of_item not in (None, tile):
        yield "tile", f"{image.item_id} is of tile {of_item}, its cell of {tile}"


def _is_time(text: str) -> bool:
    try:
        return datetime.datetime.fromisoformat(text).utcoffset() == datetime.timedelta(0)
    except ValueError:
        return False


def on_lattice(chip: ChipWindow) -> bool:
    """Tells whether a chip lies on the lattice that all Sentinel-2 bands share."""
    return chip.left % LATTICE_M == 0 and (chip.bottom - false_northing(chip.epsg)) % LATTICE_M == 0
