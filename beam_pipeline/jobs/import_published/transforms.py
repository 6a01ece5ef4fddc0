"""The Beam side of importing published files: units -> their labels and images. Wiring; no logic."""

from collections.abc import Iterable, Mapping
from typing import Any

from apache_beam.metrics import Metrics

from beam_pipeline.exchange.import_unit import IMAGES, PublishedSource, import_unit
from beam_pipeline.jobs.build.transforms import EncodedUnit, UnitStage
from beam_pipeline.jobs.import_published.settings import ImportSettings
from beam_pipeline.jobs.storage import BeamFiles


class ReadPublished(UnitStage):
    """(unit name, the unit) -> the unit with its examples."""

    stage = IMAGES
    settings: ImportSettings

    def setup(self) -> None:
        super().setup()
        settings = self.settings
        self._source = PublishedSource(BeamFiles(), settings.published, settings.label_values)

    def name_of(self, element: tuple[str, Any]) -> str:
        return element[0]

    def work(self, element: tuple[str, Mapping[str, Iterable[Any]]]) -> EncodedUnit:
        _, parts = element
        (unit,) = parts["unit"]
        done = import_unit(self._source, unit, self.settings.years, self.settings.fingerprint)
        summary = done.summary
        Metrics.counter(self.stage, "examples").inc(summary.examples)
        Metrics.counter(self.stage, "images").inc(summary.images)
        Metrics.counter(self.stage, "dead_letters").inc(len(summary.dead_letters))
        Metrics.counter(self.stage, "bytes").inc(sum(map(len, done.payloads)))
        for reason, count in summary.scene_rejections.items():
            Metrics.counter(self.stage, f"scene_{reason}").inc(count)
        return EncodedUnit(unit, done.payloads, summary)
