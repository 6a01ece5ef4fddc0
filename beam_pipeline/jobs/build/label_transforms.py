"""The Beam side of labels: units -> their cells' label images, from extracts or Overpass, and from the kept sea."""

import dataclasses
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
from apache_beam import pvalue
from apache_beam.metrics import Metrics

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.dataset.extract_records import record_extract, recorded_extract
from beam_pipeline.dataset.folder import WATER_FILE
from beam_pipeline.dataset.settings import BuildSettings
from beam_pipeline.dataset.units import Unit
from beam_pipeline.dataset.water_file import parse_water
from beam_pipeline.jobs.stages import FAILED, Stage, describe
from beam_pipeline.jobs.storage import header_copy, local_copy
from beam_pipeline.labels.chip_boxes import Bounds, cells_meeting
from beam_pipeline.labels.extract import check_extract, features_of_cells
from beam_pipeline.labels.feature import Dropped, DroppedTally, Feature, Found, deduplicate
from beam_pipeline.labels.feature_pack import pack_features, unpack_features
from beam_pipeline.labels.label_image import CellLabel
from beam_pipeline.labels.overpass import features_of_chip
from beam_pipeline.labels.rasterize import label_cell
from beam_pipeline.labels.water_polygons import SEA_TAGS
from beam_pipeline.runtime.faults import Failure, Fault

_log = logging.getLogger(__name__)

CellOfUnit = tuple[int, tuple[str, ChipWindow]]
"""(cell id, (unit name, chip))."""

PackedFeatures = tuple[int, tuple[bytes, Dropped]]
"""(cell id, (features, packed; what was left out of those of the cell alone))."""


@dataclasses.dataclass(eq=False)  # not frozen: Beam keeps notes of its own on a transform
class MakeLabels(beam.PTransform):
    """Units -> (unit name, CellLabel), one for each cell.

    Attributes:
        settings: The build's.
    """

    settings: BuildSettings

    def expand(self, units: beam.PCollection[Unit]) -> beam.PCollection[tuple[str, CellLabel]]:
        cells = units | "Cells" >> beam.FlatMap(_cells_of).with_output_types(CellOfUnit)
        sources = [self._from_overpass(cells) if self.settings.overpass_url else self._from_extracts(cells)]
        if self.settings.sea_known:
            sources.append(self._kept_sea(cells))
        return (
            {
                "cell": cells,
                "features": [found["features"] for found in sources] | "AllFeatures" >> beam.Flatten(),
                "failures": [found[FAILED] for found in sources] | "AllFailures" >> beam.Flatten(),
            }
            | "FeaturesOfCell" >> beam.CoGroupByKey()
            | "Rasterize" >> beam.ParDo(_Rasterize(self.settings))
        )

    def _from_extracts(self, cells: beam.PCollection[CellOfUnit]) -> Any:
        extracts = cells.pipeline | "Extracts" >> beam.Create(self.settings.extracts, reshuffle=True)
        read = beam.ParDo(_ReadExtract(self.settings), pvalue.AsList(cells))
        return extracts | "ReadExtract" >> _parted(read)

    def _from_overpass(self, cells: beam.PCollection[CellOfUnit]) -> Any:
        return (
            cells
            # One key, so that queries are never sent in parallel: the public servers ask for that.
            | "OneKey" >> beam.WithKeys("").with_output_types(tuple[str, Any])
            | "OneAfterAnother" >> beam.GroupByKey()
            | "AskOverpass" >> _parted(beam.ParDo(_AskOverpass(self.settings)))
        )

    def _kept_sea(self, cells: beam.PCollection[CellOfUnit]) -> Any:
        file = cells.pipeline | "Sea" >> beam.Create([WATER_FILE])
        return file | "ReadSea" >> _parted(beam.ParDo(_ReadSea(self.settings), pvalue.AsList(cells)))


def _parted(finding: beam.ParDo) -> Any:
    """Parts what a stage finds from what it fails at."""
    # Grouping needs the type of the key.
    typed = finding.with_output_types(PackedFeatures, **{FAILED: tuple[int, Failure]})
    return typed.with_outputs(FAILED, main="features")


def _pack_by_cell(features: Iterable[tuple[int, Feature]]) -> Iterator[PackedFeatures]:
    by_cell: dict[int, list[Feature]] = {}
    for cell_id, feature in features:
        by_cell.setdefault(cell_id, []).append(feature)
    for cell_id, of_cell in by_cell.items():
        yield cell_id, (pack_features(of_cell), Dropped())


def _unpacked(packs: Iterable[tuple[bytes, Dropped]]) -> Found[Feature]:
    """Returns a cell's features, each once, whatever the number of extracts that hold it."""
    found = Found.all_of(Found(list(unpack_features(pack)), dropped) for pack, dropped in packs)
    return Found(deduplicate(found.features), found.dropped)


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
        tally = DroppedTally()
        try:
            with self.timing.measured(), local_copy(path) as local:
                for found in features_of_cells(local, chips, self.settings.ontology):
                    features.inc(len(found.features))
                    tally.update(found.dropped)
                    yield from _pack_by_cell(found.features)
        except Exception as error:
            failure = describe(error)
            self.failures.inc()
            # What the rest of the extract would have said of these cells is unknown.
            for cell_id in cells_meeting(chips, _bounds_of(path)):
                yield pvalue.TaggedOutput(FAILED, (cell_id, failure))
        else:
            self._record(path, tally.dropped())
        for reason, count in tally.dropped().counts.items():
            Metrics.counter(self.stage, f"dropped_{reason}").inc(count)

    def _record(self, path: str, dropped: Dropped) -> None:
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


class _AskOverpass(Stage):
    stage = "overpass"

    def process(self, element: tuple[str, Iterable[CellOfUnit]]) -> Iterator[Any]:
        settings = self.settings
        for cell_id, (_, chip) in sorted(element[1]):
            try:
                with self.timing.measured():
                    found = features_of_chip(
                        chip,
                        settings.ontology,
                        settings.overpass_url,
                        settings.overpass_cache,
                        date=settings.osm_date,
                        traffic=self.api,
                        own_network=settings.own_network,
                    )
            except Exception as error:
                self.failures.inc()
                yield pvalue.TaggedOutput(FAILED, (cell_id, describe(error)))
            else:
                yield cell_id, (pack_features(found.features), found.dropped)
            self.count_retried()


class _ReadSea(Stage):
    stage = "read_sea"

    def process(self, file: str, cells: Sequence[CellOfUnit]) -> Iterator[Any]:
        wanted = {cell_id for cell_id, _ in cells}
        try:
            with self.timing.measured():
                sea = [it for it in parse_water(self.folder.read_text(file)) if it[0] in wanted]
        except Exception as error:
            failure = describe(error)
            self.failures.inc()
            for cell_id in wanted:
                yield pvalue.TaggedOutput(FAILED, (cell_id, failure))
            return
        for cell_id, area in sea:
            yield cell_id, (pack_features([Feature("sea", 0, SEA_TAGS, area)]), Dropped())


class _Rasterize(Stage):
    stage = "rasterize"

    def process(self, element: tuple[int, Mapping[str, Iterable[Any]]]) -> Iterator[tuple[str, CellLabel]]:
        cell_id, grouped = element
        ((name, chip),) = grouped["cell"]
        failures = sorted(grouped["failures"])
        if failures:
            yield name, self._failed(cell_id, failures[0])
            return
        try:
            with self.timing.measured():
                label = label_cell(
                    cell_id,
                    chip,
                    _unpacked(grouped["features"]),
                    self.settings.ontology,
                    self.settings.none_labels,
                    sea_known=self.settings.sea_known,
                )
        except Exception as error:
            label = self._failed(cell_id, describe(error))
        yield name, label

    def _failed(self, cell_id: int, failure: Failure) -> CellLabel:
        """Counts a failure and returns what stands in place of the label."""
        self.failures.inc()
        return CellLabel(cell_id, b"", {}, failure)
