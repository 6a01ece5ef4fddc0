"""Draws the labels of a dataset anew from its store of features, and compares them."""

import contextlib
import dataclasses
import functools
import hashlib
from collections.abc import Iterator, Mapping, Sequence

from beam_pipeline.audit.examples import FaultOfExample
from beam_pipeline.audit.findings import Findings
from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.dataset.folder import WATER_FILE, DatasetFolder, summary_name
from beam_pipeline.dataset.summary import UnitSummary
from beam_pipeline.dataset.tile_features import read_cell_features
from beam_pipeline.dataset.units import Unit
from beam_pipeline.dataset.water_file import parse_water
from beam_pipeline.labels.feature import Feature
from beam_pipeline.labels.label_image import LabelImage
from beam_pipeline.labels.ontology import Ontology
from beam_pipeline.labels.rasterize import rasterize
from beam_pipeline.labels.water_polygons import SEA_TAGS
from beam_pipeline.records.example import CellYear
from beam_pipeline.runtime.faults import Failure, Fault, PermanentFault
from beam_pipeline.runtime.parsing import MalformedError

_CELLS_AT_ONCE = 16
"""Whose features are held at the same time, as in a build."""

_LABELS = "labels"
"""The stage of dead letters of cells without a label."""

MENDED = (
    "cells without a label that the store has the map of by now: a build with --retry_dead_letters draws them"
)


@dataclasses.dataclass(frozen=True)
class LabelSource:
    """The sources that the labels of a dataset follow from. It pickles.

    Attributes:
        dataset: The dataset's folder, where the sea of its cells lies.
        store: The folder of the store of features.
        ontology: Of the dataset.
        none_labels: Whether 254 is written.
        sea_sha256: Of the kept sea; None where the sea is not known.
    """

    dataset: DatasetFolder
    store: DatasetFolder
    ontology: Ontology
    none_labels: bool
    sea_sha256: str | None

    @functools.cached_property
    def sea(self) -> Mapping[int, bytes]:
        """Cell id -> the sea in its chip, as WKB.

        Raises:
            Fault: It cannot be read, or is not what was kept.
        """
        if self.sea_sha256 is None:
            return {}
        content = self.dataset.read_bytes(WATER_FILE)
        try:
            if hashlib.sha256(content).hexdigest() != self.sea_sha256:
                raise MalformedError("it is another one than that of the fingerprint")
            return dict(parse_water(content.decode()))
        except (MalformedError, UnicodeDecodeError) as error:
            raise PermanentFault("damaged_sea", f"{self.dataset.at(WATER_FILE)}: {error}") from error

    def draw(self, tile: str, chips: Mapping[int, ChipWindow]) -> dict[int, "LabelImage | Failure"]:
        """Draws the labels of cells.

        Args:
            tile: The tile.
            chips: Cell id -> chip, of the tile.

        Returns:
            The label of each cell, as the build draws it, or why it has none.

        Raises:
            Fault: The tile's file or the sea cannot be read, which is told where these are looked at.
        """
        sea = self.sea
        found = read_cell_features(self.store, tile, chips, self.ontology)
        drawn: dict[int, LabelImage | Failure] = dict(found.failed)
        for cell_id, chip in chips.items():
            if cell_id not in drawn:
                area = sea.get(cell_id)
                of_sea = [] if area is None else [Feature("sea", 0, SEA_TAGS, area)]
                drawn[cell_id] = self._draw([*found.features[cell_id], *of_sea], chip)
        return drawn

    def _draw(self, features: Sequence[Feature], chip: ChipWindow) -> "LabelImage | Failure":
        known = self.sea_sha256 is not None
        try:
            return rasterize(features, chip, self.ontology, self.none_labels, sea_known=known)
        except Exception as error:  # as in a build, which makes a dead letter of it
            return "unexpected", f"{type(error).__name__}: {error}"


class UnitLabels:
    """The labels of one unit, drawn some cells at a time.

    Args:
        source: What they follow from.
        unit: The unit as planned.
        summary: Its summary, which tells which cells have examples; None where it cannot be read.
    """

    def __init__(self, source: LabelSource, unit: Unit, summary: UnitSummary | None) -> None:
        self._source = source
        self._unit = unit
        self._summary = summary
        self._chips = {cell.cell_id: cell.chip for cell in unit.cells}
        contents = None if summary is None else summary.contents
        written = None if contents is None else {content.cell_id for content in contents}
        self._wanted = [it for it in self._chips if written is None or it in written]
        self._drawn: dict[int, LabelImage | Failure] = {}
        self._compared: dict[int, bool] = {}  # cell -> whether it is coastal
        self._is_readable = True

    def faults_of(self, example: CellYear) -> Iterator[FaultOfExample]:
        """Yields what is wrong with the label of an example."""
        cell_id = example.cell.cell_id
        if cell_id not in self._chips or not self._is_readable:
            return
        try:
            label = self._label(cell_id)
        except Fault:
            self._is_readable = False  # it is told of the tile's file, or of the sea
            return
        if isinstance(label, tuple):
            reason, detail = label
            yield (
                "label",
                f"cell {cell_id} has a label, and none can be drawn from the store: {reason}: {detail}",
            )
            return
        self._compared[cell_id] = label.coastal
        pixels = int((label.pixels != example.label).any(axis=-1).sum())
        if pixels:
            where = f"cell {cell_id} in {example.year}"
            yield "label", f"{where} has {pixels} pixels that are not what the store's map gives"

    def close(self, findings: Findings) -> None:
        """Compares what the summary says of the labels, and notes dead letters that another run may mend."""
        findings.checked["labels_drawn"] += len(self._compared)
        summary = self._summary
        if summary is None:
            return
        said = {cell_id for cell_id in summary.coastal_cells if cell_id in self._compared}
        coastal = {cell_id for cell_id, is_coastal in self._compared.items() if is_coastal}
        if summary.contents is not None and said != coastal:
            detail = "coastal_cells are not those through which the store has a coastline"
            findings.differ("summary", summary_name(self._unit.name), detail)
        lost = {letter.cell_id for letter in summary.dead_letters if letter.stage == _LABELS}
        if mended := self._mended([it for it in self._chips if it in lost]):
            findings.note(MENDED, mended)

    def _mended(self, cell_ids: Sequence[int]) -> int:
        """Returns how many of the cells without a label have one in the store by now."""
        mended = 0
        with contextlib.suppress(Fault):
            for first in range(0, len(cell_ids), _CELLS_AT_ONCE):
                chips = {it: self._chips[it] for it in cell_ids[first : first + _CELLS_AT_ONCE]}
                drawn = self._source.draw(self._unit.tile, chips)
                mended += sum(not isinstance(label, tuple) for label in drawn.values())
        return mended

    def _label(self, cell_id: int) -> "LabelImage | Failure":
        """Returns the label of a cell; those of its neighbours in the unit are drawn with it."""
        if cell_id not in self._drawn:
            chips = {cell_id: self._chips[cell_id]}
            if cell_id in self._wanted:
                first = self._wanted.index(cell_id)
                chips = {it: self._chips[it] for it in self._wanted[first : first + _CELLS_AT_ONCE]}
            self._drawn = self._source.draw(self._unit.tile, chips)
        return self._drawn[cell_id]
