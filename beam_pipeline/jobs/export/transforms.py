"""The Beam side of exporting: names of shards -> their files -> the files of the whole. Wiring; no logic."""

import dataclasses
import functools
import logging
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam import pvalue
from apache_beam.metrics import Metrics

from beam_pipeline import __version__
from beam_pipeline.dataset.folder import DatasetFolder
from beam_pipeline.exchange.closing import close_export
from beam_pipeline.exchange.settings import ExportSettings
from beam_pipeline.exchange.shard import STAGE, export_shard, finished_record, record_failure
from beam_pipeline.exchange.source import SourceDataset, open_source
from beam_pipeline.jobs.stages import describe
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.jobs.timing import Timing
from beam_pipeline.jobs.worker_image import require_launchers_version
from beam_pipeline.runtime.faults import Fault, PermanentFault
from beam_pipeline.runtime.foreign_text import hide_secrets_in_logs

_log = logging.getLogger(__name__)


@dataclasses.dataclass(eq=False)  # not frozen: Beam keeps notes of its own on a transform
class ReadShardNames(beam.PTransform):
    """The names of the shards; read on a worker, as a graph must not hold them all."""

    settings: ExportSettings

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection[str]:
        return (
            pipeline
            | "Dataset" >> beam.Create([self.settings])
            | "Shards" >> beam.FlatMap(_shard_names)
            | beam.Reshuffle()
        )


def _shard_names(settings: ExportSettings) -> Iterator[str]:
    yield from (shard.name for shard in _source(settings).shards)


def _source(settings: ExportSettings) -> SourceDataset:
    source = open_source(DatasetFolder(BeamFiles(), settings.dataset), settings.splits)
    if source.fingerprint != settings.source_fingerprint:
        raise PermanentFault("source", f"the dataset in {settings.dataset} was changed while it was exported")
    return source


class ExportShards(beam.DoFn):
    """Name of a shard -> its name, once its files and its record are written. Whatever goes wrong is a dead letter."""

    def __init__(self, settings: ExportSettings) -> None:
        self._settings = settings
        self._launched_by = __version__
        self._timing = Timing(STAGE)

    def setup(self) -> None:
        require_launchers_version(self._launched_by)
        hide_secrets_in_logs()
        self._files = BeamFiles()

    @functools.cached_property
    def _source(self) -> SourceDataset:
        return _source(self._settings)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_source"}

    def process(self, name: str) -> Iterator[str]:
        try:
            if finished_record(self._files, self._settings, name) is not None:
                Metrics.counter(STAGE, "shards_exported_before").inc()
            else:
                (shard,) = (it for it in self._source.shards if it.name == name)
                with self._timing.measured():
                    record = export_shard(self._files, self._settings, self._source, shard)
                Metrics.counter(STAGE, "shards").inc()
                Metrics.counter(STAGE, "cells").inc(len(record.cells))
                Metrics.counter(STAGE, "dead_letters").inc(len(record.dead_letters))
        except Exception as error:
            Metrics.counter(STAGE, "failed").inc()
            failure = describe(error)
            try:
                record_failure(self._files, self._settings, name, failure)
            except Fault as fault:
                # E.g. on a full disk, which would else end the whole job. The shard is one of `missing_shards` then.
                _log.error("a failure could not be recorded (%s): %s: %s: %s", fault, name, *failure)
        yield name


@dataclasses.dataclass(eq=False)
class CloseExport(beam.PTransform):
    """Writes the files of the whole, behind all shards."""

    settings: ExportSettings

    def expand(self, names: beam.PCollection[str]) -> beam.PCollection[None]:
        # The count is a barrier: a side input is complete before the first element is processed.
        barrier = pvalue.AsSingleton(names | "Count" >> beam.combiners.Count.Globally())
        return names.pipeline | "Once" >> beam.Create([self.settings]) | "Close" >> beam.Map(_close, barrier)


def _close(settings: ExportSettings, _: int) -> None:
    close_export(BeamFiles(), settings, _source(settings))
