"""The Beam side of the pipeline: DoFns and composite transforms. Wiring, metrics, dead letters; no logic.

Those of labels are in `label_transforms`.

What is ever grouped is small: units, references of scene lists and compressed labels. Pixels are
read behind the last shuffle and stay with the worker that read them, because runners hold grouped values in
memory.

Transforms are dataclasses, but not frozen ones: Beam sets their label and pipeline when it applies them.
"""

import dataclasses
import datetime
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
from apache_beam import pvalue
from apache_beam.metrics import Metrics

from beam_pipeline.dataset.assemble import YearScenes, assemble_unit
from beam_pipeline.dataset.closing import close_dataset
from beam_pipeline.dataset.commits import commit_unit, committed_summary, record_failure
from beam_pipeline.dataset.folder import SCENES_FOLDER, UNITS_FILE, DatasetFolder
from beam_pipeline.dataset.outcomes import AssembledUnit, DeadLetter
from beam_pipeline.dataset.settings import BuildSettings, LabelSettings
from beam_pipeline.dataset.summary import UnitSummary, summarise
from beam_pipeline.dataset.units import Unit
from beam_pipeline.dataset.verdicts import FolderVerdicts
from beam_pipeline.imagery.catalog import find_scenes, sign_scenes
from beam_pipeline.imagery.cog import SceneReader
from beam_pipeline.imagery.offset_check import OffsetCheck
from beam_pipeline.imagery.scenes import SceneList
from beam_pipeline.jobs.build.lanes import InLanes, lane_of_search, lane_of_unit
from beam_pipeline.jobs.stages import FAILED, Stage, describe
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.records.example import encode
from beam_pipeline.runtime.faults import Failure, Fault
from beam_pipeline.runtime.parsing import MalformedError
from beam_pipeline.runtime.storage_faults import with_retries
from beam_pipeline.runtime.traffic import Traffic

_log = logging.getLogger(__name__)

TileYear = tuple[str, int]

DONE = "done"
"""The tag of units of which nothing is left to do."""


@dataclasses.dataclass(frozen=True)
class SceneListRef:
    """Where in the dataset's folder the scene list of a unit's tile and year lies, or why there is none."""

    year: int
    file: str
    failure: Failure | None = None


@dataclasses.dataclass(frozen=True)
class EncodedUnit:
    """A unit's serialised Examples with its summary, ready to be committed."""

    unit: Unit
    payloads: tuple[bytes, ...]
    summary: UnitSummary


class UnitStage(Stage):
    """A stage of a unit's work; whatever goes wrong in it ends as a dead letter of the unit."""

    def process(self, element: Any) -> Iterator[Any]:
        try:
            with self.timing.measured():
                done = self.work(element)
        except Exception as error:
            self.failures.inc()
            yield pvalue.TaggedOutput(FAILED, (self.name_of(element), self.stage, describe(error)))
            return
        finally:
            self.count_retried()
        yield done

    def work(self, element: Any) -> Any:
        """Does the stage's work on one element."""
        raise NotImplementedError

    def name_of(self, element: Any) -> str:
        """Returns the name of the unit that an element is of."""
        return str(element.unit.name)


@dataclasses.dataclass(eq=False)
class ReadPlan(beam.PTransform):
    """The plan's units whose shards are not committed yet, spread over the workers."""

    settings: LabelSettings

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection[Unit]:
        return (
            pipeline
            # Not ReadFromText, which takes the folder for a pattern.
            | "Plan" >> beam.Create([UNITS_FILE])
            | "ReadLines" >> beam.ParDo(_ReadLines(self.settings))
            | "Parse" >> beam.Map(Unit.from_json)
            # While elements are small: what follows asks storage unit by unit, and must not fuse with the reading of
            # one file.
            | beam.Reshuffle()
            | "Pending" >> beam.ParDo(_Pending(self.settings))
        )


class _ReadLines(Stage):
    stage = "plan"

    def process(self, name: str) -> Iterator[str]:
        yield from self.folder.read_text(name).splitlines()


class _Pending(Stage):
    stage = "plan"

    def process(self, unit: Unit) -> Iterator[Unit]:
        committed = _is_committed(self.folder, unit.name, self.settings)
        Metrics.counter(self.stage, "units_committed_before" if committed else "units_pending").inc()
        if not committed:
            yield unit


def _is_committed(folder: DatasetFolder, name: str, settings: LabelSettings) -> bool:
    """Tells whether nothing is left to do of a unit."""
    done = committed_summary(folder, name, settings.fingerprint)
    # What is done again stays as it is until there is better.
    return done is not None and not (settings.retry_dead_letters and done.dead_letters)


@dataclasses.dataclass(eq=False)
class FindScenes(beam.PTransform):
    """Units -> (unit name, SceneListRef), one for each year; a tile and year is searched once."""

    settings: BuildSettings

    def expand(self, units: beam.PCollection[Unit]) -> beam.PCollection[tuple[str, SceneListRef]]:
        years = self.settings.years
        return (
            units
            | "KeyByTileYear"
            >> beam.FlatMap(
                lambda unit: [((unit.tile, year), unit.name) for year in years]
            ).with_output_types(tuple[TileYear, str])
            | "GroupByTileYear" >> beam.GroupByKey()
            | "SearchesInLanes" >> InLanes(self.settings.api, lane_of_search)
            | "Search" >> beam.ParDo(_FindScenes(self.settings)).with_output_types(tuple[str, SceneListRef])
        )


class _FindScenes(Stage):
    stage = "find_scenes"
    settings: BuildSettings

    def process(self, element: tuple[TileYear, Iterable[str]]) -> Iterator[tuple[str, SceneListRef]]:
        (tile, year), names = element
        self.api.enter(lane_of_search((tile, year), self.settings.api.parts))
        file = f"{SCENES_FOLDER}/{tile}_{year}.json"
        failure = None
        with self.timing.measured():
            try:
                # A rerun walks the list that the run before it walked; an empty one may have been a hiccup of the API.
                kept = self._kept(file)
                if kept is None or not kept.found:
                    found = self._search(tile, year)
                    Metrics.counter(self.stage, "scenes").inc(len(found.scenes))
                    self.folder.write_text(file, found.to_json())
            except Exception as error:
                failure = describe(error)
                self.failures.inc()
        self.count_retried()
        for name in names:
            yield name, SceneListRef(year, file, failure)

    def _kept(self, file: str) -> SceneList | None:
        """Reads a list of a run before; None where there is none, or only what a disk that failed left of one."""
        if not self.folder.exists(file):
            return None
        try:
            return SceneList.from_json(self.folder.read_bytes(file))
        except MalformedError as error:
            _log.warning("%s is damaged and searched for again: %s", self.folder.at(file), error)
            return None

    def _search(self, tile: str, year: int) -> SceneList:
        settings = self.settings
        found = find_scenes(
            settings.catalog,
            tile,
            year,
            seed=settings.seed,
            max_scene_cloud=settings.max_scene_cloud,
            traffic=self.api,
        )
        if not found.scenes:
            Metrics.counter(self.stage, "tile_years_without_items").inc()
            _log.warning("no usable item of tile %s in %d", tile, year)
        return found


@dataclasses.dataclass(eq=False)
class WriteUnits(beam.PTransform):
    """Units with all that was made for them -> committed shards; gives the names of units, done or failed.

    Looking, what makes the examples, and writing follow each other without a shuffle, so runners fuse them: pixels
    never travel. A worker that is lost takes its bundle's units with it, of which some are committed: the one that gets
    the bundle next reads the others only.

    Attributes:
        settings: The job's.
        steps: By name, the stages that make an `EncodedUnit` of (unit name, what was joined to it).
    """

    settings: LabelSettings
    steps: Sequence[tuple[str, UnitStage]]

    def expand(self, parts: Any) -> beam.PCollection[str]:
        units = parts["unit"] | "KeyByName" >> beam.Map(lambda unit: (unit.name, unit)).with_output_types(
            tuple[str, Unit]
        )
        joined = (
            {**parts, "unit": units}
            | "JoinByUnit" >> beam.CoGroupByKey()
            | "UnitsInLanes" >> InLanes(self.settings.files, lane_of_unit)
        )
        looked = joined | "LookBeforeReading" >> beam.ParDo(_LookBeforeReading(self.settings)).with_outputs(
            DONE, main="pending"
        )
        units, failures = looked["pending"], []
        for step, stage in (*self.steps, ("WriteShards", _Write(self.settings))):
            tried = units | step >> beam.ParDo(stage).with_outputs(FAILED, main="ok")
            units = tried["ok"]
            failures.append(tried[FAILED])
        failed = (
            tuple(failures)
            | "AllFailed" >> beam.Flatten()
            | "RecordFailures" >> beam.ParDo(_RecordFailure(self.settings))
        )
        return (looked[DONE], units, failed) | beam.Flatten()


def steps_of_build(settings: BuildSettings) -> Sequence[tuple[str, UnitStage]]:
    """Returns the stages by which a build makes examples."""
    return steps_of(settings, ReadChips(settings))


def steps_of(settings: BuildSettings, reading: "ReadChips") -> Sequence[tuple[str, UnitStage]]:
    """Returns the stages by which examples are made, of the one that reads their images."""
    return ("ReadChips", reading), ("EncodeExamples", _Encode(settings))


class _LookBeforeReading(Stage):
    stage = "look_before_reading"

    def process(self, element: tuple[str, Any]) -> Iterator[Any]:
        name = element[0]
        if _is_committed(self.folder, name, self.settings):
            # By an attempt at this bundle that was lost later, or by another job.
            Metrics.counter(self.stage, "units_committed").inc()
            yield pvalue.TaggedOutput(DONE, name)
        else:
            yield element


class ReadChips(UnitStage):
    """(unit name, what was joined to it) -> the unit with its images."""

    stage = "read_chips"
    settings: BuildSettings

    def setup(self) -> None:
        super().setup()
        self.api = Traffic.of_job(self.settings.output, "api", self.settings.api.among(self.settings.files))
        self.reader = SceneReader.of_catalog(
            self.settings.catalog, self.settings.files.in_flight, self.files, self.api
        )

    def teardown(self) -> None:
        self.reader.close()

    def name_of(self, element: tuple[str, Any]) -> str:
        return element[0]

    def work(self, element: tuple[str, Mapping[str, Iterable[Any]]]) -> AssembledUnit:
        name, parts = element
        for traffic in (self.api, self.files):
            traffic.enter(lane_of_unit(name, self.settings.files.parts))
        refs = list(parts["scenes"])
        if sorted(ref.year for ref in refs) != list(self.settings.years):
            raise ValueError(f"{len(refs)} scene lists arrived for the years of {name}")
        done = self.assemble(parts, [self._scenes(ref) for ref in refs])
        Metrics.counter(self.stage, "examples").inc(len(done.cell_years))
        Metrics.counter(self.stage, "images").inc(sum(len(example.images) for example in done.cell_years))
        Metrics.counter(self.stage, "dead_letters").inc(len(done.dead_letters))
        for reason, rejected in done.rejections.items():
            Metrics.counter(self.stage, f"rejected_{reason}").inc(len(rejected))
        for reason, count in done.scene_rejections.items():
            Metrics.counter(self.stage, f"scene_{reason}").inc(count)
        return done

    def assemble(self, parts: Mapping[str, Iterable[Any]], years: Sequence[YearScenes]) -> AssembledUnit:
        """Reads the images of a unit.

        Args:
            parts: What was joined to the unit, and the unit.
            years: The scenes of each year.
        """
        (unit,) = parts["unit"]
        return assemble_unit(
            unit,
            years,
            list(parts["labels"]),
            self.reader,
            self.settings.filters,
            self.settings.allow_single,
            self.offsets(),
        )

    def offsets(self) -> OffsetCheck:
        """Returns what looks at scenes whose offset the pixels may contradict."""
        return OffsetCheck(self.reader, FolderVerdicts(self.folder))

    def _scenes(self, ref: SceneListRef) -> YearScenes:
        if ref.failure is not None:
            return YearScenes(ref.year, None, ref.failure)
        found = SceneList.from_json(self.folder.read_text(ref.file))
        try:
            found = sign_scenes(found, self.settings.catalog, traffic=self.api)
        except Exception as error:
            return YearScenes(ref.year, None, describe(error))
        return YearScenes(ref.year, found)


class _Encode(UnitStage):
    stage = "encode"

    def work(self, assembled: AssembledUnit) -> EncodedUnit:
        payloads = tuple(encode(example) for example in assembled.cell_years)
        Metrics.counter(self.stage, "bytes").inc(sum(map(len, payloads)))
        return EncodedUnit(assembled.unit, payloads, summarise(assembled, self.settings.fingerprint))


class _Write(UnitStage):
    stage = "write"

    def work(self, encoded: EncodedUnit) -> str:
        name = encoded.unit.name
        if self.settings.retry_dead_letters and not self._is_better(encoded.summary):
            Metrics.counter(self.stage, "shards_kept").inc()
            return name
        with_retries(lambda: commit_unit(self.folder, name, encoded.payloads, encoded.summary))
        Metrics.counter(self.stage, "shards").inc()
        return name

    def _is_better(self, summary: UnitSummary) -> bool:
        """Tells whether fewer cell-years are lost than in what is there, e.g. because a host is back."""
        done = committed_summary(self.folder, summary.name, self.settings.fingerprint)
        return done is None or summary.lost_cell_years < done.lost_cell_years


class _RecordFailure(Stage):
    stage = "record_failure"

    def process(self, element: tuple[str, str, Failure]) -> Iterator[str]:
        name, stage, failure = element
        Metrics.counter(self.stage, "units").inc()
        letter = DeadLetter(name, None, None, stage, *failure)
        try:
            record_failure(self.folder, letter, self.settings.fingerprint)
        except Fault as fault:
            # E.g. on a full disk, which would else end the whole job. The unit is one of `missing_units` then.
            self.failures.inc()
            _log.error("a failure could not be recorded (%s): %s", fault, letter.to_json())
        yield name


@dataclasses.dataclass(eq=False)
class CloseDataset(beam.PTransform):
    """Describes the dataset from the summaries and what else the job wrote, behind all of it.

    It is part of the graph because code behind `run()` never executes in a template launch.

    Attributes:
        settings: The job's.
        behind: Ends once all is written but the units, e.g. the description of the store of features; None where
            nothing is.
        relabelled_from: As for `close_dataset`.
    """

    settings: LabelSettings
    behind: beam.PCollection[None] | None = None
    relabelled_from: str | None = None

    def expand(self, names: beam.PCollection[str]) -> beam.PCollection[None]:
        started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        # The count is a barrier: a side input is complete before the first element is processed.
        barriers = [pvalue.AsSingleton(names | "Count" >> beam.combiners.Count.Globally())]
        if self.behind is not None:
            barriers.append(pvalue.AsList(self.behind))
        return (
            names.pipeline
            | "Once" >> beam.Create([started])
            | "Describe" >> beam.Map(_describe, self.settings, self.relabelled_from, *barriers)
        )


def _describe(started: str, settings: LabelSettings, relabelled_from: str | None, *_: Any) -> None:
    close_dataset(DatasetFolder(BeamFiles(), settings.output), settings, started, relabelled_from)
