"""The Beam side of labels: units -> their cells' label images, from the store of features and the kept sea."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
from apache_beam import pvalue
from apache_beam.metrics import Metrics

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.dataset.folder import WATER_FILE, DatasetFolder
from beam_pipeline.dataset.settings import BuildSettings
from beam_pipeline.dataset.units import Unit
from beam_pipeline.dataset.water_file import parse_water
from beam_pipeline.features.names import tile_file
from beam_pipeline.features.reading import features_of_unit
from beam_pipeline.features.stored_tile import StoredTile
from beam_pipeline.jobs.extract.transforms import TileReady
from beam_pipeline.jobs.stages import FAILED, Stage, describe
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.labels.feature import Feature, Found
from beam_pipeline.labels.label_image import CellLabel
from beam_pipeline.labels.rasterize import label_cell
from beam_pipeline.labels.water_polygons import SEA_TAGS
from beam_pipeline.runtime.faults import Failure

CellOfUnit = tuple[int, str]
"""(cell id, unit name)."""

SeaOfCell = tuple[int, bytes]
"""(cell id, the sea in its chip, as `dataset.water_file` has it)."""

_CELLS_AT_ONCE = 16
"""Whose features are held at the same time: a dense one takes 83 MB."""


@dataclasses.dataclass(eq=False)  # not frozen: Beam keeps notes of its own on a transform
class MakeLabels(beam.PTransform):
    """Units -> (unit name, CellLabel), one for each cell.

    Attributes:
        settings: The build's.
        tiles: The tiles of the store as they become ready; None where the store is whole, and no unit waits.
    """

    settings: BuildSettings
    tiles: beam.PCollection[TileReady] | None = None

    def expand(self, units: beam.PCollection[Unit]) -> beam.PCollection[tuple[str, CellLabel]]:
        ready = (
            units | "StoreIsWhole" >> beam.Map(lambda unit: (unit, None))
            if self.tiles is None
            else self._waited(units)
        )
        of_unit = ready | "KeyByName" >> beam.Map(lambda pair: (pair[0].name, pair)).with_output_types(
            tuple[str, Any]
        )
        if self.settings.sea_known:
            joined = {"unit": of_unit, **self._kept_sea(units)} | "JoinTheSea" >> beam.CoGroupByKey()
        else:
            joined = of_unit | "WithoutSea" >> beam.Map(lambda pair: (pair[0], {"unit": [pair[1]]}))
        return joined | "Rasterize" >> beam.ParDo(_Rasterize(self.settings))

    def _waited(self, units: beam.PCollection[Unit]) -> beam.PCollection[tuple[Unit, Failure | None]]:
        by_tile = units | "KeyByTile" >> beam.Map(lambda unit: (unit.tile, unit)).with_output_types(
            tuple[str, Unit]
        )
        return (
            {"units": by_tile, "tile": self.tiles}
            | "WaitForTile" >> beam.CoGroupByKey()
            | beam.FlatMap(_of_tile)
        )

    def _kept_sea(self, units: beam.PCollection[Unit]) -> dict[str, Any]:
        cells = units | "Cells" >> beam.FlatMap(_cells_of).with_output_types(CellOfUnit)
        file = cells.pipeline | "Sea" >> beam.Create([WATER_FILE])
        read = beam.ParDo(_ReadSea(self.settings), pvalue.AsDict(cells))
        # Grouping needs the type of the key.
        typed = read.with_output_types(tuple[str, SeaOfCell], **{FAILED: tuple[str, Failure]})
        found = file | "ReadSea" >> typed.with_outputs(FAILED, main="sea")
        return {"sea": found["sea"], FAILED: found[FAILED]}


def _of_tile(element: tuple[str, Mapping[str, Iterable[Any]]]) -> Iterator[tuple[Unit, Failure | None]]:
    tile, parts = element
    units = list(parts["units"])
    if units:
        (failure,) = parts["tile"]
        for unit in units:
            yield unit, failure


def _cells_of(unit: Unit) -> list[CellOfUnit]:
    return [(cell.cell_id, unit.name) for cell in unit.cells]


class _ReadSea(Stage):
    stage = "read_sea"

    def process(self, file: str, unit_of: Mapping[int, str]) -> Iterator[Any]:
        try:
            with self.timing.measured():
                sea = [it for it in parse_water(self.folder.read_text(file)) if it[0] in unit_of]
        except Exception as error:
            failure = describe(error)
            self.failures.inc()
            for name in sorted(set(unit_of.values())):
                yield pvalue.TaggedOutput(FAILED, (name, failure))
            return
        for cell_id, area in sea:
            yield unit_of[cell_id], (cell_id, area)


class _Rasterize(Stage):
    stage = "rasterize"

    def setup(self) -> None:
        super().setup()
        self._store = DatasetFolder(BeamFiles(), self.settings.store)

    def process(self, element: tuple[str, Mapping[str, Iterable[Any]]]) -> Iterator[tuple[str, CellLabel]]:
        name, parts = element
        ((unit, failure),) = parts["unit"]
        failures = [*([] if failure is None else [failure]), *sorted(parts.get(FAILED, ()))]
        sea = dict(parts.get("sea", ()))
        for start in range(0, len(unit.cells), _CELLS_AT_ONCE):
            cells = unit.cells[start : start + _CELLS_AT_ONCE]
            for label in self._labels(unit.tile, {it.cell_id: it.chip for it in cells}, sea, failures[:1]):
                yield name, label

    def _labels(
        self,
        tile: str,
        chips: Mapping[int, ChipWindow],
        sea: Mapping[int, bytes],
        failures: Sequence[Failure],
    ) -> Iterator[CellLabel]:
        """Draws cells of a unit that are near each other; whatever goes wrong is told of each cell."""
        failed = dict.fromkeys(chips, failures[0]) if failures else {}
        features: dict[int, list[Feature]] = {cell_id: [] for cell_id in chips}
        try:
            with self.timing.measured():
                if not failed:
                    failed = self._read(tile, features, chips)
        except Exception as error:
            failure = describe(error)
            failed = dict.fromkeys(chips, failure)
        for cell_id, area in sea.items():
            if cell_id in features:
                features[cell_id].append(Feature("sea", 0, SEA_TAGS, area))
        for cell_id, chip in chips.items():
            failure = failed.get(cell_id)
            yield self._failed(cell_id, failure) if failure else self._label(cell_id, chip, features[cell_id])

    def _read(
        self, tile: str, features: Mapping[int, list[Feature]], chips: Mapping[int, ChipWindow]
    ) -> dict[int, Failure]:
        """Adds what the store holds of each cell; returns the cells of which it holds not all, and why."""
        path = self._store.at(tile_file(tile))
        count = Metrics.counter(self.stage, "features")
        with self._store.files.open_ranges(path) as file:
            stored = StoredTile(file, path, trusted=not self.settings.given_store)
            failed = {
                cell_id: (failure.reason, failure.detail)
                for failure in reversed(stored.footer.failures)
                for cell_id in failure.cell_ids
            }
            sound = {cell_id: chip for cell_id, chip in chips.items() if cell_id not in failed}
            # What is too tangled to be drawn was counted when the extract was read.
            for found in features_of_unit(stored, sound, self.settings.ontology) if sound else ():
                count.inc(len(found.features))
                for cell_id, feature in found.features:
                    features[cell_id].append(feature)
        return failed

    def _label(self, cell_id: int, chip: ChipWindow, features: Sequence[Feature]) -> CellLabel:
        try:
            with self.timing.measured():
                return label_cell(
                    cell_id,
                    chip,
                    Found(features),
                    self.settings.ontology,
                    self.settings.none_labels,
                    sea_known=self.settings.sea_known,
                )
        except Exception as error:
            return self._failed(cell_id, describe(error))

    def _failed(self, cell_id: int, failure: Failure) -> CellLabel:
        """Counts a failure and returns what stands in place of the label."""
        self.failures.inc()
        return CellLabel(cell_id, b"", {}, failure)
