"""Makes a unit of published files: the label and the images of its cells, read one cell at a time."""

import collections
import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from beam_pipeline.cells.cell import Cell
from beam_pipeline.dataset.fingerprint import IMPORT_FILTERS
from beam_pipeline.dataset.outcomes import CellYearId, DeadLetter, sorted_letters
from beam_pipeline.dataset.summary import ShardContent, UnitSummary, sorted_counts
from beam_pipeline.dataset.units import Unit
from beam_pipeline.exchange.published import IMAGERY_FOLDER, LABELS_FOLDER
from beam_pipeline.exchange.published_folder import date_of, folder_names, platform_of
from beam_pipeline.exchange.published_label import MOST_PNG_BYTES, read_published_label
from beam_pipeline.exchange.published_npz import MOST_NPZ_BYTES, read_published_image
from beam_pipeline.imagery.chips import image_rejection, scl_rejection
from beam_pipeline.imagery.image import Image
from beam_pipeline.imagery.scenes import SceneNote
from beam_pipeline.imagery.stac_item import tile_of_item
from beam_pipeline.records.example import CellYear, encode
from beam_pipeline.runtime.faults import Fault, PermanentFault
from beam_pipeline.runtime.files import Files, join
from beam_pipeline.runtime.foreign_text import one_line
from beam_pipeline.runtime.storage_faults import with_retries

LABELS, IMAGES = "labels", "read_published"
"""Stages of dead letters."""

NO_IMAGE, NO_USABLE_IMAGE = "no_image", "no_usable_image"
"""Reasons of cell-years that are rejected: no image is of that year; none of those can be used."""

SAME_DATE, MORE_DATES = "same_date", "more_than_two_dates"
"""Reasons of images that are passed over, as an example holds two of different dates."""

NO_DATE, OTHER_FILE, ODD_NAME = "no_date", "no_npz", "odd_name"
"""Reasons of files that are of no year: their names say none, do not end in .npz, or cannot be shown."""

_OF_STORAGE = "storage"

_MOST_NOTES = 20
"""Of a unit; all are counted."""


@dataclasses.dataclass(frozen=True)
class ImportedUnit:
    """A unit of the new dataset.

    Attributes:
        payloads: The serialised examples, in order.
        summary: Its summary, but for the hash and size of the shard.
    """

    payloads: tuple[bytes, ...]
    summary: UnitSummary


@dataclasses.dataclass(frozen=True)
class PublishedSource:
    """The published folders that are read.

    Attributes:
        files: The file system.
        folder: The folder.
        label_values: Per channel, the values that a label may have.
    """

    files: Files
    folder: str
    label_values: tuple[frozenset[int], ...]

    def label(self, cell: Cell) -> npt.NDArray[np.uint8]:
        """Reads the label of a cell.

        Raises:
            Fault: As `read_published_label`, or it cannot be read.
        """
        names = [f"{LABELS_FOLDER}/{tile}/{cell.cell_id}.png" for tile in folder_names(cell.tile)]
        for name in names[:-1]:
            try:
                return self._label(name)
            except PermanentFault as fault:
                if fault.reason != "not_found":
                    raise
        return self._label(names[-1])

    def images(self, cell: Cell) -> list[str]:
        """Returns the names of the files among the images of a cell, relative to the folder, sorted."""
        for tile in folder_names(cell.tile):
            inner = f"{IMAGERY_FOLDER}/{tile}/{cell.cell_id}"
            if found := self.files.glob(join(self.folder, inner), "*"):
                return [f"{inner}/{path.rpartition('/')[2]}" for path in found]
        return []

    def image(self, name: str, tile: str) -> Image:
        """Reads an image, and judges it.

        Raises:
            Fault: As `read_published_image`; "other_tile" where its name says another; "nodata" where it has none; or
                it cannot be read.
        """
        item_id = _item_id(name)
        said = tile_of_item({"id": item_id})
        if said not in (None, tile):
            raise PermanentFault("other_tile", f"its name says {said}, its folder {tile}")
        content = read_at_most(self.files, join(self.folder, name), MOST_NPZ_BYTES)
        image = read_published_image(content, item_id, date_of(item_id) or "", platform_of(item_id))
        # Most have data in each pixel, which is quickly seen.
        doubtful = not (image.scl.all() and image.gsd_10.any())
        if doubtful and (scl_rejection(image.scl, IMPORT_FILTERS) or image_rejection(image, IMPORT_FILTERS)):
            raise PermanentFault("nodata", "no pixel of it has data")
        return image

    def _label(self, name: str) -> npt.NDArray[np.uint8]:
        content = read_at_most(self.files, join(self.folder, name), MOST_PNG_BYTES)
        try:
            return read_published_label(content, self.label_values)
        except PermanentFault as fault:
            raise PermanentFault(fault.reason, f"{name}: {fault.detail}") from fault


def import_unit(source: PublishedSource, unit: Unit, years: Sequence[int], fingerprint: str) -> ImportedUnit:
    """Reads a unit.

    Args:
        source: The published folders.
        unit: The unit.
        years: The years of the dataset.
        fingerprint: SHA-256 of its fingerprint.

    Returns:
        Every cell-year of the unit exactly once: written, rejected or a dead letter.

    Raises:
        Fault: A folder cannot be listed.
    """
    importing = _Importing(source, unit, years)
    for cell in unit.cells:
        importing.add(cell)
    return importing.finished(fingerprint)


def read_at_most(files: Files, path: str, most_bytes: int) -> bytes:
    """Reads a file of a stranger.

    Raises:
        PermanentFault: "too_large"; or it is not there, or no regular file.
        TransientFault: The storage failed.
    """

    def read() -> bytes:
        with files.open(path) as file:
            return file.read(most_bytes + 1)

    content = with_retries(read)
    if len(content) > most_bytes:
        raise PermanentFault("too_large", f"it has more than {most_bytes:,} bytes")
    return content


class _Importing:
    """A unit as far as it is read. Of its pixels those of one cell-year are held."""

    def __init__(self, source: PublishedSource, unit: Unit, years: Sequence[int]) -> None:
        self._source = source
        self._unit = unit
        self._years = years
        self._content = ShardContent()
        self._payloads: list[bytes] = []
        self._rejections: dict[str, list[CellYearId]] = {}
        self._passed_over: collections.Counter[str] = collections.Counter()
        self._notes: list[SceneNote] = []
        self._letters: list[DeadLetter] = []

    def add(self, cell: Cell) -> None:
        """Reads a cell."""
        try:
            label = self._source.label(cell)
        except Fault as fault:
            self._bury(cell, self._years, LABELS, fault)
            return
        of_year = self._by_year(self._source.images(cell))
        for year in self._years:
            names = of_year.get(year, [])
            try:
                images = self._pair(cell, names)
            except Fault as fault:
                self._bury(cell, [year], IMAGES, fault)
                continue
            if images:
                example = CellYear(cell, year, images, label, bounds_exact=False)
                self._content.add(example)
                self._payloads.append(encode(example))
            else:
                reason = NO_USABLE_IMAGE if names else NO_IMAGE
                self._rejections.setdefault(reason, []).append((cell.cell_id, year))

    def finished(self, fingerprint: str) -> ImportedUnit:
        """Returns all of it."""
        unit = self._unit
        summary = UnitSummary(
            name=unit.name,
            split=unit.split,
            tile=unit.tile,
            status="written",
            cells=len(unit.cells),
            cell_years=len(unit.cells) * len(self._years),
            rejections={
                reason: tuple(sorted(rejected)) for reason, rejected in sorted(self._rejections.items())
            },
            scene_rejections=sorted_counts(self._passed_over),
            notes=tuple(sorted(self._notes)),
            dead_letters=sorted_letters(self._letters),
            scenes_by_year={},
            fingerprint=fingerprint,
            **self._content.counts(),
        )
        return ImportedUnit(tuple(self._payloads), summary)

    def _by_year(self, names: Sequence[str]) -> dict[int, list[str]]:
        """Sorts the files of a cell by year, and within it by date and name; counts those of none."""
        dated = []
        for name in names:
            date = date_of(_item_id(name))
            if not name.isprintable():
                self._pass_over(name, ODD_NAME, "it has signs that cannot be shown")
            elif date is not None and name.endswith(".npz"):
                dated.append((date, name))
            elif name.endswith(".npz"):
                self._pass_over(name, NO_DATE, "its name holds no _YYYYMMDD_")
            else:
                self._pass_over(name, OTHER_FILE, "its name does not end in .npz")
        of_year: dict[int, list[str]] = {}
        for date, name in sorted(dated):
            of_year.setdefault(int(date[:4]), []).append(name)
        return of_year

    def _pair(self, cell: Cell, names: Sequence[str]) -> tuple[Image, ...]:
        """Reads the first and the last image of a year that can be used.

        They are the farthest apart, and which they are does not depend on the pixels but where a file is damaged.

        Raises:
            Fault: The storage failed: another image must not stand in for one that is there.
        """
        left = list(names)
        first = self._next(cell, left, 0)
        if first is None:
            return ()
        same = [name for name in left if date_of(_item_id(name)) == first.date]
        left = [name for name in left if name not in same]
        last = self._next(cell, left, -1)
        if last is not None:
            same += [name for name in left if date_of(_item_id(name)) == last.date]
            left = [name for name in left if name not in same]
        self._passed_over[SAME_DATE] += len(same)
        self._passed_over[MORE_DATES] += len(left)
        return (first,) if last is None else (first, last)

    def _next(self, cell: Cell, left: list[str], place: int) -> Image | None:
        """Takes names from an end of those left until one can be read."""
        while left:
            name = left.pop(place)
            try:
                return self._source.image(name, cell.tile)
            except PermanentFault as fault:
                if fault.reason == _OF_STORAGE:
                    raise
                self._pass_over(name, fault.reason, fault.detail)
        return None

    def _pass_over(self, name: str, reason: str, detail: str) -> None:
        self._passed_over[reason] += 1
        if len(self._notes) < _MOST_NOTES:
            self._notes.append(SceneNote(one_line(name), reason, detail))

    def _bury(self, cell: Cell, years: Sequence[int], stage: str, fault: Fault) -> None:
        self._letters += [
            DeadLetter(self._unit.name, cell.cell_id, year, stage, fault.reason, fault.detail)
            for year in years
        ]


def _item_id(name: str) -> str:
    return name.rpartition("/")[2].removesuffix(".npz")
