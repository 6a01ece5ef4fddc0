"""The Beam side of labels: units -> their cells' label images, from extracts or from Overpass."""

import collections
import dataclasses
import functools
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
from apache_beam import pvalue
from apache_beam.metrics import Metrics

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.dataset.extract_records import record_extract, recorded_extract
from beam_pipeline.dataset.settings import BuildSettings
from beam_pipeline.dataset.units import Unit
from beam_pipeline.jobs.stages import FAILED, Stage, describe
from beam_pipeline.jobs.storage import header_copy, local_copy
from beam_pipeline.labels.chip_boxes import Bounds, cells_meeting
from beam_pipeline.labels.extract import check_extract, features_of_cells
from beam_pipeline.labels.feature import Feature, Found, deduplicate
from beam_pipeline.labels.feature_pack import pack_features, unpack_features
from beam_pipeline.labels.label_image import CellLabel
from beam_pipeline.labels.overpass import features_of_chip
from beam_pipeline.labels.rasterize import label_cell
from beam_pipeline.runtime.faults import Failure, Fault

_log = logging.getLogger(__name__)

CellOfUnit = tuple[int, tuple[str, ChipWindow]]
"""(cell id, (unit name, chip))."""


@dataclasses.dataclass(eq=False)  # not frozen: Beam keeps notes of its own on a transform
class MakeLabels(beam.PTransform):
    """Units -> (unit name, CellLabel), one for each cell.

    Attributes:
        settings: The build's.
    """

    settings: BuildSettings

    def expand(self, units: beam.PCollection[Unit]) -> beam.PCollection[tuple[str, CellLabel]]:
        cells = units | "Cells" >> beam.FlatMap(_cells_of).with_output_types(CellOfUnit)
        if self.settings.overpass_url:
            return (
                cells
                # One key, so that queries are never sent in parallel: the public servers ask for that.
                | "OneKey" >> beam.WithKeys("").with_output_types(tuple[str, Any])
                | "OneAfterAnother" >> beam.GroupByKey()
                | "AskOverpass" >> beam.ParDo(_LabelsFromOverpass(self.settings))
            )
        read = (
            units.pipeline
            | "Extracts" >> beam.Create(self.settings.extracts, reshuffle=True)
            | "ReadExtract"
            >> beam.ParDo(_ReadExtract(self.settings), pvalue.AsList(cells))
            # Grouping needs the type of the key.
            .with_output_types(tuple[int, bytes], **{FAILED: tuple[int, Failure]})
            .with_outputs(FAILED, main="features")
        )
        return (
            {"cell": cells, "features": read["features"], "failures": read[FAILED]}
            | "FeaturesOfCell" >> beam.CoGroupByKey()
            | "Rasterize" >> beam.ParDo(_Rasterize(self.settings))
        )


def _pack_by_cell(features: Iterable[tuple[int, Feature]]) -> Iterator[tuple[int, bytes]]:
    by_cell: dict[int, list[Feature]] = {}
    for cell_id, feature in features:
        by_cell.setdefault(cell_id, []).append(feature)
    for cell_id, of_cell in by_cell.items():
        yield cell_id, pack_features(of_cell)


def _unpacked(packs: Iterable[bytes]) -> Found[Feature]:
    """Returns a cell's features, each once, whatever the number of extracts that hold it."""
    return Found(deduplicate(feature for pack in packs for feature in unpack_features(pack)), {})


def _cells_of(unit: Unit) -> list[CellOfUnit]:
    return [(cell.cell_id, (unit.name, cell.chip)) for cell in unit.cells]


class _ReadExtract(Stage):
    stage = "read_extract"

    def process(self, path: str, cells: Sequence[CellOfUnit]) -> Iterator[Any]:
        chips = {cell_id: chip for cell_id, (_, chip) in cells}
        # What is noted of an extract is of the whole file, and may be lost where every unit is done.
        if not chips and recorded_extract(self.folder, path) is not None:
            return
        features = Metrics.counter(self.stage, "features")
        dropped: collections.Counter[str] = collections.Counter()
        try:
            with self.timing.measured(), local_copy(path) as local:
                for found in features_of_cells(local, chips, self.settings.ontology):
                    features.inc(len(found.features))
                    dropped.update(found.dropped)
                    yield from _pack_by_cell(found.features)
        except Exception as error:
            failure = describe(error)
            self.failures.inc()
            # What the rest of the extract would have said of these cells is unknown.
            for cell_id in cells_meeting(chips, _bounds_of(path)):
                yield pvalue.TaggedOutput(FAILED, (cell_id, failure))
        else:
            self._record(path, dropped)
        for reason, count in dropped.items():
            Metrics.counter(self.stage, f"dropped_{reason}").inc(count)

    def _record(self, path: str, dropped: Mapping[str, int]) -> None:
        try:
            record_extract(self.folder, path, dropped)
        except Fault as fault:
            # E.g. on a full disk. The labels are sound; the closing step says what it misses.
            self.failures.inc()
            _log.error("what was left out of an extract could not be kept: %s", fault)


def _bounds_of(path: str) -> Bounds | None:
    """Reads where an extract is; None for one that does not even say that, and may be anywhere."""
    try:
        with header_copy(path) as local:
            return check_extract(local).bounds
    except Exception:
        return None


class _LabelStage(Stage):
    """A stage that ends in label images."""

    def setup(self) -> None:
        super().setup()
        self._ontology = self.settings.ontology

    def label(self, cell_id: int, chip: ChipWindow, find: Callable[[], Found[Feature]]) -> CellLabel:
        """Finds the features of a cell and draws them."""
        try:
            with self.timing.measured():
                return label_cell(cell_id, chip, find(), self._ontology, self.settings.none_labels)
        except Exception as error:
            return self.failed(cell_id, describe(error))

    def failed(self, cell_id: int, failure: Failure) -> CellLabel:
        """Counts a failure and returns what stands in place of the label."""
        self.failures.inc()
        return CellLabel(cell_id, b"", {}, failure)


class _Rasterize(_LabelStage):
    stage = "rasterize"

    def process(self, element: tuple[int, Mapping[str, Iterable[Any]]]) -> Iterator[tuple[str, CellLabel]]:
        cell_id, grouped = element
        ((name, chip),) = grouped["cell"]
        failures = sorted(grouped["failures"])
        if failures:
            yield name, self.failed(cell_id, failures[0])
        else:
            yield name, self.label(cell_id, chip, lambda: _unpacked(grouped["features"]))


class _LabelsFromOverpass(_LabelStage):
    stage = "overpass"

    def process(self, element: tuple[str, Iterable[CellOfUnit]]) -> Iterator[tuple[str, CellLabel]]:
        for cell_id, (name, chip) in sorted(element[1]):
            ask = functools.partial(
                features_of_chip,
                chip,
                self._ontology,
                self.settings.overpass_url,
                self.settings.overpass_cache,
                traffic=self.api,
                own_network=self.settings.own_network,
            )
            label = self.label(cell_id, chip, ask)
            self.count_retried()
            yield name, label
