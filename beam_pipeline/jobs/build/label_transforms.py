"""The Beam side of labels: units -> their cells' label images, from extracts or from Overpass."""

import collections
import functools
import itertools
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
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
from beam_pipeline.labels.clipping import Bounds, cells_within, deduplicate
from beam_pipeline.labels.extract import check_extract, features_of_cells
from beam_pipeline.labels.feature import Feature, pack_features, unpack_features
from beam_pipeline.labels.label_image import CellLabel
from beam_pipeline.labels.overpass import features_of_chip
from beam_pipeline.labels.rasterize import rasterize
from beam_pipeline.runtime.faults import Failure, Fault

_log = logging.getLogger(__name__)

_FEATURES_PACKED = 1 << 14
"""Features held while an extract is read; those of one cell are packed together."""


class MakeLabels(beam.PTransform):
    """Units -> (unit name, CellLabel), one for each cell."""

    def __init__(self, settings: BuildSettings) -> None:
        super().__init__()
        self._settings = settings

    def expand(self, units: beam.PCollection[Unit]) -> beam.PCollection[tuple[str, CellLabel]]:
        cells = units | "Cells" >> beam.FlatMap(_cells_of).with_output_types(
            tuple[int, tuple[str, ChipWindow]]
        )
        if self._settings.overpass_url:
            return (
                cells
                # One key, so that queries are never sent in parallel: the public servers ask for that.
                | "OneKey" >> beam.WithKeys("").with_output_types(tuple[str, Any])
                | "OneAfterAnother" >> beam.GroupByKey()
                | "AskOverpass" >> beam.ParDo(_LabelsFromOverpass(self._settings))
            )
        read = (
            units.pipeline
            | "Extracts" >> beam.Create(self._settings.extracts, reshuffle=True)
            | "ReadExtract"
            >> beam.ParDo(_ReadExtract(self._settings), pvalue.AsList(cells)).with_outputs(
                FAILED, main="features"
            )
        )
        # Tagged outputs lose their type, and grouping needs that of the key.
        features = read["features"] | "Features" >> beam.Map(_same).with_output_types(tuple[int, bytes])
        failures = read[FAILED] | "Failures" >> beam.Map(_same).with_output_types(tuple[int, Failure])
        return (
            {"cell": cells, "features": features, "failures": failures}
            | "FeaturesOfCell" >> beam.CoGroupByKey()
            | "Rasterize" >> beam.ParDo(_Rasterize(self._settings))
        )


def _same(element: Any) -> Any:
    return element


def _pack_by_cell(features: Iterable[tuple[int, Feature]]) -> Iterator[tuple[int, bytes]]:
    by_cell: dict[int, list[Feature]] = {}
    for cell_id, feature in features:
        by_cell.setdefault(cell_id, []).append(feature)
    for cell_id, of_cell in by_cell.items():
        yield cell_id, pack_features(of_cell)


def _unpacked(packs: Iterable[bytes]) -> Iterator[Feature]:
    for pack in packs:
        yield from unpack_features(pack)


def _cells_of(unit: Unit) -> list[tuple[int, tuple[str, ChipWindow]]]:
    return [(cell.cell_id, (unit.name, cell.chip)) for cell in unit.cells]


class _ReadExtract(Stage):
    stage = "read_extract"

    def process(self, path: str, cells: Sequence[tuple[int, tuple[str, ChipWindow]]]) -> Iterator[Any]:
        chips = {cell_id: chip for cell_id, (_, chip) in cells}
        # What is noted of an extract is of the whole file, and may be lost where every unit is done.
        if not chips and recorded_extract(self.folder, path) is not None:
            return
        features = Metrics.counter(self.stage, "features")
        dropped: collections.Counter[str] = collections.Counter()
        try:
            with self.timing.measured(), local_copy(path) as local:
                found = features_of_cells(local, chips, self.settings.ontology, dropped)
                while batch := list(itertools.islice(found, _FEATURES_PACKED)):
                    features.inc(len(batch))
                    yield from _pack_by_cell(batch)
        except Exception as error:
            reason, detail = describe(error)
            self.failures.inc()
            # What the rest of the extract would have said of these cells is unknown.
            for cell_id in cells_within(chips, self._bounds(path)):
                yield pvalue.TaggedOutput(FAILED, (cell_id, (reason, detail)))
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

    @staticmethod
    def _bounds(path: str) -> Bounds | None:
        try:
            with header_copy(path) as local:
                return check_extract(local).bounds
        except Exception:
            return None  # an extract that does not even say where it is may be anywhere


class _LabelStage(Stage):
    """A stage that ends in label images."""

    def setup(self) -> None:
        super().setup()
        self._ontology = self.settings.ontology

    def _label(
        self,
        cell_id: int,
        chip: ChipWindow,
        features: Callable[[], Sequence[Feature]],
        left_out: Mapping[str, int] = MappingProxyType({}),
    ) -> CellLabel:
        """Draws a cell; `left_out` says by reason, once its features are there, what was not to be had of them."""
        try:
            with self.timing.measured():
                image = rasterize(features(), chip, self._ontology, self.settings.none_labels)
        except Exception as error:
            return self._failed(cell_id, describe(error))
        return CellLabel.pack(
            cell_id, image.pixels, collections.Counter(left_out) + collections.Counter(image.dropped)
        )

    def _failed(self, cell_id: int, failure: Failure) -> CellLabel:
        self.failures.inc()
        return CellLabel(cell_id, b"", {}, failure)


class _Rasterize(_LabelStage):
    stage = "rasterize"

    def process(self, element: tuple[int, Mapping[str, Iterable[Any]]]) -> Iterator[tuple[str, CellLabel]]:
        cell_id, grouped = element
        ((name, chip),) = grouped["cell"]
        failures = sorted(grouped["failures"])
        if failures:
            yield name, self._failed(cell_id, failures[0])
        else:
            yield name, self._label(cell_id, chip, lambda: deduplicate(_unpacked(grouped["features"])))


class _LabelsFromOverpass(_LabelStage):
    stage = "overpass"

    def process(
        self, element: tuple[str, Iterable[tuple[int, tuple[str, ChipWindow]]]]
    ) -> Iterator[tuple[str, CellLabel]]:
        for cell_id, (name, chip) in sorted(element[1]):
            left_out: collections.Counter[str] = collections.Counter()
            ask = functools.partial(
                features_of_chip,
                chip,
                self._ontology,
                self.settings.overpass_url,
                self.settings.overpass_cache,
                traffic=self.traffic,
                dropped=left_out,
            )
            label = self._label(cell_id, chip, ask, left_out)
            self.count_retried()
            yield name, label
