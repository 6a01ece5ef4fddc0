"""The Beam side of the pipeline: DoFns and composite transforms. Wiring, metrics, dead letters; no logic.

What is ever grouped is small: units, references of scene lists, features and compressed labels. Pixels are
read behind the last shuffle and stay with the worker that read them, because runners hold grouped values in
memory.
"""

import collections
import dataclasses
import datetime
import functools
import itertools
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
from apache_beam import pvalue
from apache_beam.metrics import Metrics

from beam_pipeline import plan
from beam_pipeline.assemble import (
    AssembledUnit,
    CellLabel,
    Failure,
    YearScenes,
    assemble_unit,
)
from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.cells.mgrs_tiles import tile_lonlat_bounds
from beam_pipeline.closing import close_dataset, record_extract
from beam_pipeline.faults import Fault
from beam_pipeline.imagery.catalog import find_scenes
from beam_pipeline.imagery.cog import SceneReader
from beam_pipeline.imagery.offset_check import refuse_contradicted
from beam_pipeline.imagery.scenes import SceneList
from beam_pipeline.labels.extract import check_extract, features_of_cells
from beam_pipeline.labels.feature import Feature, pack_features, unpack_features
from beam_pipeline.labels.features import Bounds, cells_within, deduplicate
from beam_pipeline.labels.overpass import features_of_chip
from beam_pipeline.labels.rasterize import rasterize
from beam_pipeline.options import BuildSettings
from beam_pipeline.plan import Unit
from beam_pipeline.records.example import encode
from beam_pipeline.records.files import join
from beam_pipeline.records.shards import commit_unit, is_committed, read_summary, record_failure
from beam_pipeline.records.summary import DeadLetter, UnitSummary, summarise
from beam_pipeline.storage import BeamFiles, header_copy, local_copy

_log = logging.getLogger(__name__)

FAILED = "failed"
"""The tag of what a stage could not do."""

_FEATURES_PACKED = 1 << 14
"""Features held while an extract is read; those of one cell are packed together."""

TileYear = tuple[str, int]


@dataclasses.dataclass(frozen=True)
class SceneListRef:
    """Where the scene list of a unit's tile and year lies, or why there is none."""

    year: int
    path: str
    failure: Failure | None = None


@dataclasses.dataclass(frozen=True)
class EncodedUnit:
    """A unit's serialised Examples with its summary, ready to be committed."""

    unit: Unit
    payloads: tuple[bytes, ...]
    summary: UnitSummary


def describe(error: Exception) -> Failure:
    """Returns (reason, detail) of any error, expected or not."""
    if isinstance(error, Fault):
        return error.reason, error.detail
    _log.exception("unexpected error")
    return "unexpected", f"{type(error).__name__}: {error}"


class _Stage(beam.DoFn):
    """Counts elements and measures latency under the name of the stage."""

    stage: str

    def __init__(self, settings: BuildSettings) -> None:
        self._settings = settings
        self._milliseconds = Metrics.distribution(self.stage, "milliseconds")
        self._failures = Metrics.counter(self.stage, "failed")

    def setup(self) -> None:
        self._files = BeamFiles()

    def _done(self, started: float) -> None:
        self._milliseconds.update(int(1000 * (time.monotonic() - started)))


class _UnitStage(_Stage):
    """A stage of a unit's work; whatever goes wrong in it ends as a dead letter of the unit."""

    def process(self, element: Any) -> Iterator[Any]:
        started = time.monotonic()
        try:
            done = self.work(element)
        except Exception as error:
            self._failures.inc()
            yield pvalue.TaggedOutput(FAILED, (self.name_of(element), self.stage, describe(error)))
            return
        self._done(started)
        yield done

    def work(self, element: Any) -> Any:
        """Does the stage's work on one element."""
        raise NotImplementedError

    def name_of(self, element: Any) -> str:
        """Returns the name of the unit that an element is of."""
        return str(element.unit.name)


class ReadPlan(beam.PTransform):
    """The plan's units whose shards are not committed yet, spread over the workers."""

    def __init__(self, settings: BuildSettings) -> None:
        super().__init__()
        self._settings = settings

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection[Unit]:
        return (
            pipeline
            | "ReadLines" >> beam.io.ReadFromText(f"{self._settings.output}/{plan.UNITS_FILE}")
            | "Parse" >> beam.Map(Unit.from_json)
            # While elements are small: what follows asks storage unit by unit, and must not fuse with the reading of
            # one file.
            | beam.Reshuffle()
            | "Pending" >> beam.ParDo(_Pending(self._settings))
        )


class _Pending(_Stage):
    stage = "plan"

    def process(self, unit: Unit) -> Iterator[Unit]:
        committed = is_committed(self._files, self._settings.output, unit.name)
        if committed and self._settings.retry_dead_letters:
            summary = read_summary(self._files, self._settings.output, unit.name)
            committed = not summary.dead_letters
            if not committed:
                # First of all, so that this unit counts as not done until it is.
                self._files.delete(join(self._settings.output, unit.name))
        Metrics.counter(self.stage, "units_committed_before" if committed else "units_pending").inc()
        if not committed:
            yield unit


class FindScenes(beam.PTransform):
    """Units -> (unit name, SceneListRef), one for each year; a tile and year is searched once."""

    def __init__(self, settings: BuildSettings) -> None:
        super().__init__()
        self._settings = settings

    def expand(self, units: beam.PCollection[Unit]) -> beam.PCollection[tuple[str, SceneListRef]]:
        years = self._settings.years
        return (
            units
            | "KeyByTileYear"
            >> beam.FlatMap(
                lambda unit: [((unit.tile, year), unit.name) for year in years]
            ).with_output_types(tuple[TileYear, str])
            | "GroupByTileYear" >> beam.GroupByKey()
            | "Search" >> beam.ParDo(_FindScenes(self._settings)).with_output_types(tuple[str, SceneListRef])
        )


class _FindScenes(_Stage):
    stage = "find_scenes"

    def setup(self) -> None:
        super().setup()
        self._reader = SceneReader(self._settings.reads_in_flight)

    def teardown(self) -> None:
        self._reader.close()

    def process(self, element: tuple[TileYear, Iterable[str]]) -> Iterator[tuple[str, SceneListRef]]:
        (tile, year), names = element
        path = join(self._settings.output, "scenes", f"{tile}_{year}.json")
        failure = None
        started = time.monotonic()
        try:
            # A rerun walks the list that the run before it walked; an empty one may have been a hiccup of the API.
            if not self._files.exists(path) or not SceneList.from_json(self._files.read_text(path)).found:
                found = self._search(tile, year)
                Metrics.counter(self.stage, "scenes").inc(len(found.scenes))
                self._files.write_text(path, found.to_json())
        except Exception as error:
            failure = describe(error)
            self._failures.inc()
        self._done(started)
        for name in names:
            yield name, SceneListRef(year, path, failure)

    def _search(self, tile: str, year: int) -> SceneList:
        settings = self._settings
        found = find_scenes(
            settings.stac_url,
            settings.collection,
            tile,
            year,
            tile_bounds=tile_lonlat_bounds(tile),
            seed=settings.seed,
            max_scene_cloud=settings.max_scene_cloud,
        )
        found = refuse_contradicted(found, self._reader)
        if not found.scenes:
            Metrics.counter(self.stage, "tile_years_without_items").inc()
            _log.warning("no usable item of tile %s in %d", tile, year)
        return found


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


class _ReadExtract(_Stage):
    stage = "read_extract"

    def process(self, path: str, cells: Sequence[tuple[int, tuple[str, ChipWindow]]]) -> Iterator[Any]:
        chips = {cell_id: chip for cell_id, (_, chip) in cells}
        if not chips:
            return
        features = Metrics.counter(self.stage, "features")
        dropped: collections.Counter[str] = collections.Counter()
        started = time.monotonic()
        try:
            with local_copy(path) as local:
                found = features_of_cells(local, chips, self._settings.ontology, dropped)
                while batch := list(itertools.islice(found, _FEATURES_PACKED)):
                    features.inc(len(batch))
                    yield from _pack_by_cell(batch)
        except Exception as error:
            reason, detail = describe(error)
            self._failures.inc()
            # What the rest of the extract would have said of these cells is unknown.
            for cell_id in cells_within(chips, self._bounds(path)):
                yield pvalue.TaggedOutput(FAILED, (cell_id, (reason, detail)))
        else:
            record_extract(self._files, self._settings.output, path, dropped)
        for reason, count in dropped.items():
            Metrics.counter(self.stage, f"dropped_{reason}").inc(count)
        self._done(started)

    @staticmethod
    def _bounds(path: str) -> Bounds | None:
        try:
            with header_copy(path) as local:
                return check_extract(local).bounds
        except Exception:
            return None  # an extract that does not even say where it is may be anywhere


class _LabelStage(_Stage):
    """A stage that ends in label images."""

    def setup(self) -> None:
        super().setup()
        self._ontology = self._settings.ontology

    def _label(self, cell_id: int, chip: ChipWindow, features: Callable[[], Sequence[Feature]]) -> CellLabel:
        started = time.monotonic()
        try:
            image = rasterize(features(), chip, self._ontology, self._settings.none_labels)
        except Exception as error:
            return self._failed(cell_id, describe(error))
        self._done(started)
        return CellLabel.pack(cell_id, image.pixels, image.dropped)

    def _failed(self, cell_id: int, failure: Failure) -> CellLabel:
        self._failures.inc()
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
            ask = functools.partial(
                features_of_chip,
                chip,
                self._ontology,
                self._settings.overpass_url,
                self._settings.overpass_cache,
            )
            yield name, self._label(cell_id, chip, ask)


class WriteUnits(beam.PTransform):
    """Units with their scene lists and labels -> committed shards; gives the names of units, done or failed.

    Reading, encoding and writing follow each other without a shuffle, so runners fuse them: pixels never
    travel.
    """

    def __init__(self, settings: BuildSettings) -> None:
        super().__init__()
        self._settings = settings

    def expand(self, parts: Any) -> beam.PCollection[str]:
        units = parts["unit"] | "KeyByName" >> beam.Map(lambda unit: (unit.name, unit)).with_output_types(
            tuple[str, Unit]
        )
        joined = {**parts, "unit": units} | "JoinByUnit" >> beam.CoGroupByKey()
        read = joined | "ReadChips" >> beam.ParDo(_ReadChips(self._settings)).with_outputs(FAILED, main="ok")
        encoded = read["ok"] | "EncodeExamples" >> beam.ParDo(_Encode(self._settings)).with_outputs(
            FAILED, main="ok"
        )
        written = encoded["ok"] | "WriteShards" >> beam.ParDo(_Write(self._settings)).with_outputs(
            FAILED, main="ok"
        )
        failed = (
            (read[FAILED], encoded[FAILED], written[FAILED])
            | "AllFailed" >> beam.Flatten()
            | "RecordFailures" >> beam.ParDo(_RecordFailure(self._settings))
        )
        return (written["ok"], failed) | beam.Flatten()


class _ReadChips(_UnitStage):
    stage = "read_chips"

    def setup(self) -> None:
        super().setup()
        self._reader = SceneReader(self._settings.reads_in_flight)

    def teardown(self) -> None:
        self._reader.close()

    def name_of(self, element: tuple[str, Any]) -> str:
        return element[0]

    def work(self, element: tuple[str, Mapping[str, Iterable[Any]]]) -> AssembledUnit:
        name, parts = element
        refs = list(parts["scenes"])
        if sorted(ref.year for ref in refs) != list(self._settings.years):
            raise ValueError(f"{len(refs)} scene lists arrived for the years of {name}")
        (unit,) = parts["unit"]
        done = assemble_unit(
            unit,
            [self._scenes(ref) for ref in refs],
            list(parts["labels"]),
            self._reader,
            self._settings.filters,
            self._settings.allow_single,
        )
        Metrics.counter(self.stage, "examples").inc(len(done.cell_years))
        Metrics.counter(self.stage, "images").inc(sum(len(example.images) for example in done.cell_years))
        Metrics.counter(self.stage, "dead_letters").inc(len(done.dead_letters))
        for reason, count in done.rejections.items():
            Metrics.counter(self.stage, f"rejected_{reason}").inc(count)
        for reason, count in done.scene_rejections.items():
            Metrics.counter(self.stage, f"scene_{reason}").inc(count)
        return done

    def _scenes(self, ref: SceneListRef) -> YearScenes:
        if ref.failure is not None:
            return YearScenes(ref.year, None, ref.failure)
        return YearScenes(ref.year, SceneList.from_json(self._files.read_text(ref.path)))


class _Encode(_UnitStage):
    stage = "encode"

    def work(self, assembled: AssembledUnit) -> EncodedUnit:
        payloads = tuple(encode(example) for example in assembled.cell_years)
        Metrics.counter(self.stage, "bytes").inc(sum(map(len, payloads)))
        return EncodedUnit(assembled.unit, payloads, summarise(assembled))


class _Write(_UnitStage):
    stage = "write"

    def work(self, encoded: EncodedUnit) -> str:
        commit_unit(self._files, self._settings.output, encoded.unit.name, encoded.payloads, encoded.summary)
        Metrics.counter(self.stage, "shards").inc()
        return encoded.unit.name


class _RecordFailure(_Stage):
    stage = "record_failure"

    def process(self, element: tuple[str, str, Failure]) -> Iterator[str]:
        name, stage, failure = element
        record_failure(self._files, self._settings.output, DeadLetter(name, None, None, stage, *failure))
        yield name


class CloseDataset(beam.PTransform):
    """Describes the dataset from the summaries alone, behind all units.

    It is part of the graph because code behind `run()` never executes in a template launch.
    """

    def __init__(self, settings: BuildSettings) -> None:
        super().__init__()
        self._settings = settings

    def expand(self, names: beam.PCollection[str]) -> beam.PCollection[None]:
        started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        # The count is a barrier: a side input is complete before the first element is processed.
        done = pvalue.AsSingleton(names | "Count" >> beam.combiners.Count.Globally())
        return (
            names.pipeline
            | "Once" >> beam.Create([started])
            | "Describe"
            >> beam.Map(lambda started, _: close_dataset(BeamFiles(), self._settings, started), done)
        )
