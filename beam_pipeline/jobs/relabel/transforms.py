"""The Beam side of relabelling: units and their new labels -> the source's images with these. Wiring; no logic."""

import dataclasses
import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import apache_beam as beam
from apache_beam import pvalue
from apache_beam.metrics import Metrics

from beam_pipeline.dataset.folder import SCENES_FOLDER, DatasetFolder
from beam_pipeline.dataset.outcomes import DeadLetter
from beam_pipeline.dataset.relabel import STAGE, relabel_unit
from beam_pipeline.dataset.source_unit import SourceUnit, read_source_unit
from beam_pipeline.jobs.build.transforms import EncodedUnit, UnitStage
from beam_pipeline.jobs.relabel.settings import RelabelSettings
from beam_pipeline.jobs.stages import FAILED, Stage, describe
from beam_pipeline.jobs.storage import BeamFiles

_log = logging.getLogger(__name__)


class Relabel(UnitStage):
    """(unit name, the unit and its labels) -> the unit with the source's images and the new labels."""

    stage = STAGE
    settings: RelabelSettings

    def setup(self) -> None:
        super().setup()
        self._source = DatasetFolder(BeamFiles(), self.settings.source)

    def process(self, element: Any) -> Iterator[Any]:
        for done in super().process(element):
            if isinstance(done, DeadLetter):
                self.failures.inc()
                yield pvalue.TaggedOutput(FAILED, (done.unit, done.stage, (done.reason, done.detail)))
            else:
                yield done

    def name_of(self, element: tuple[str, Any]) -> str:
        return element[0]

    def work(self, element: tuple[str, Mapping[str, Iterable[Any]]]) -> EncodedUnit | DeadLetter:
        """Returns the unit, or what says why the source has none."""
        _, parts = element
        (unit,) = parts["unit"]
        found = read_source_unit(self._source, unit, self.settings.source_fingerprint)
        if not isinstance(found, SourceUnit):
            return found[0]
        done = relabel_unit(
            unit, found, list(parts["labels"]), self.settings.years, self.settings.fingerprint
        )
        Metrics.counter(self.stage, "examples").inc(len(done.payloads))
        Metrics.counter(self.stage, "images").inc(done.summary.images)
        Metrics.counter(self.stage, "dead_letters").inc(len(done.summary.dead_letters))
        Metrics.counter(self.stage, "bytes").inc(sum(map(len, done.payloads)))
        return EncodedUnit(unit, done.payloads, done.summary)


@dataclasses.dataclass(eq=False)  # not frozen: Beam keeps notes of its own on a transform
class CopyScenes(beam.PTransform):
    """Copies the scene lists of the source, and what came of looking at scenes: a build goes on from them."""

    settings: RelabelSettings

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection[None]:
        return (
            pipeline
            | "Scenes" >> beam.Create([f"{SCENES_FOLDER}/*.json"])
            | "List" >> beam.ParDo(_ListScenes(self.settings))
            | beam.Reshuffle()
            | "Copy" >> beam.ParDo(_CopyFile(self.settings))
        )


class _SceneStage(Stage):
    stage = "copy_scenes"
    settings: RelabelSettings

    def setup(self) -> None:
        super().setup()
        self.source = DatasetFolder(BeamFiles(), self.settings.source)


class _ListScenes(_SceneStage):
    def process(self, pattern: str) -> Iterator[str]:
        yield from sorted(set(self.source.names(pattern)) - set(self.folder.names(pattern)))


class _CopyFile(_SceneStage):
    def process(self, name: str) -> Iterator[None]:
        try:
            with self.timing.measured():
                self.folder.write_text(name, self.source.read_text(name))
        except Exception as error:
            # Without it a build that goes on asks the catalogue once more; nothing here does.
            self.failures.inc()
            _log.warning("%s was not copied: %s: %s", self.source.at(name), *describe(error))
            return
        Metrics.counter(self.stage, "files").inc()
        yield None
