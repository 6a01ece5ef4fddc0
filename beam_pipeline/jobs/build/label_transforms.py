"""The Beam side of labels: units -> their cells' label images, from the store of features and the kept sea."""

import dataclasses
import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
from apache_beam import pvalue
from apache_beam.metrics import Metrics

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.dataset.folder import WATER_FILE, DatasetFolder
from beam_pipeline.dataset.settings import LabelSettings
from beam_pipeline.dataset.tile_features import CellFeatures, read_cell_features
from beam_pipeline.dataset.units import Unit
from beam_pipeline.dataset.water_file import parse_water
from beam_pipeline.jobs.extract.tiles import TileState
from beam_pipeline.jobs.extract.transforms import TileReady
from beam_pipeline.jobs.stages import FAILED, Stage, describe
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.jobs.timing import Timing
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


_USUAL_THRESHOLDS = gc.get_threshold()

_COLLECTED_EVERY = 50_000
"""New objects after which the collector of cycles looks for some. Features and drawing make none."""


@dataclasses.dataclass(eq=False)  # not frozen: Beam keeps notes of its own on a transform
class MakeLabels(beam.PTransform):
    """Units -> (unit name, CellLabel), one for each cell.

    Attributes:
        settings: The job's.
        tiles: The tiles of the store as they become ready; None where the store is whole, and no unit waits.
    """

    settings: LabelSettings
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

    def _waited(self, units: beam.PCollection[Unit]) -> beam.PCollection[tuple[Unit, TileState]]:
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


def _of_tile(element: tuple[str, Mapping[str, Iterable[Any]]]) -> Iterator[tuple[Unit, TileState]]:
    _, parts = element
    units = list(parts["units"])
    if units:
        (state,) = parts["tile"]
        for unit in units:
            yield unit, state


def _cells_of(unit: Unit) -> list[CellOfUnit]:
    return [(cell.cell_id, unit.name) for cell in unit.cells]


def _failures(state: TileState | None) -> list[Failure]:
    """Returns why a tile has no file, if it has none; a store that is whole says nothing."""
    return [] if state is None or state.failure is None else [state.failure]


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

    def __init__(self, settings: LabelSettings) -> None:
        super().__init__(settings)
        self._reading = Timing("read_features")

    def setup(self) -> None:
        super().setup()
        self._store = DatasetFolder(BeamFiles(), self.settings.store)
        # Drawing makes lists of coordinates by the thousand. Each time the collector of cycles would look through all
        # that a worker has loaded by now, for a fifth of the time that a label takes; and, by its usual threshold of
        # 700 objects, through the features of a cell many times.
        gc.freeze()
        gc.set_threshold(_COLLECTED_EVERY, *_USUAL_THRESHOLDS[1:])

    def teardown(self) -> None:
        gc.set_threshold(*_USUAL_THRESHOLDS)
        gc.unfreeze()

    def process(self, element: tuple[str, Mapping[str, Iterable[Any]]]) -> Iterator[tuple[str, CellLabel]]:
        name, parts = element
        ((unit, state),) = parts["unit"]
        failures = [*_failures(state), *sorted(parts.get(FAILED, ()))]
        digest = state.file.digest if state is not None and state.file is not None else ""
        sea = dict(parts.get("sea", ()))
        for start in range(0, len(unit.cells), _CELLS_AT_ONCE):
            chips = {cell.cell_id: cell.chip for cell in unit.cells[start : start + _CELLS_AT_ONCE]}
            found = self._read(unit.tile, chips, digest, failures)
            for cell_id, chip in chips.items():
                failure = found.failed.get(cell_id)
                if failure is not None:
                    yield name, self._failed(cell_id, failure)
                    continue
                area = sea.get(cell_id)
                of_sea = [] if area is None else [Feature("sea", 0, SEA_TAGS, area)]
                yield name, self._label(cell_id, chip, [*found.features[cell_id], *of_sea])

    def _read(
        self, tile: str, chips: Mapping[int, ChipWindow], digest: str, failures: Sequence[Failure]
    ) -> CellFeatures:
        """Reads the features of cells near each other; whatever goes wrong is told of each cell."""
        if failures:
            return CellFeatures({}, dict.fromkeys(chips, failures[0]))
        try:
            with self._reading.measured():
                found = read_cell_features(self._store, tile, chips, self.settings.ontology, digest)
        except Exception as error:
            return CellFeatures({}, dict.fromkeys(chips, describe(error)))
        Metrics.counter("read_features", "features").inc(sum(map(len, found.features.values())))
        return found

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
