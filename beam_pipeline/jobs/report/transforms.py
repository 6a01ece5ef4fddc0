"""The report as a graph: units of the plan -> their statistics -> one sum -> the page and its figures."""

import dataclasses
from collections.abc import Iterable, Iterator

import apache_beam as beam
from apache_beam import pvalue
from apache_beam.metrics import Metrics

from beam_pipeline.dataset.folder import DatasetFolder
from beam_pipeline.dataset.units import Unit
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.report.settings import ReportSettings
from beam_pipeline.report.source import UnitCounter, open_source
from beam_pipeline.report.statistics import Statistics
from beam_pipeline.runtime.extras import require_package


def build_graph(pipeline: beam.Pipeline, settings: ReportSettings, counter: UnitCounter) -> None:
    """Adds the whole job to a pipeline.

    Args:
        pipeline: An empty pipeline.
        settings: Of the report.
        counter: Counts one unit.
    """
    units = pipeline | "ReadUnits" >> ReadUnits(settings)
    counted = units | "CountUnits" >> beam.ParDo(_CountUnit(counter))
    whole = counted | "AddUp" >> beam.CombineGlobally(_AddUp(counter))
    _ = whole | "WriteReport" >> beam.ParDo(_WriteReport(settings))


@dataclasses.dataclass(eq=False)
class ReadUnits(beam.PTransform):
    """Reads the plan on a worker, as a graph must not hold it."""

    settings: ReportSettings

    def expand(self, begin: pvalue.PBegin) -> beam.PCollection[Unit]:
        return (
            begin
            | "Dataset" >> beam.Create([self.settings])
            | "Units" >> beam.FlatMap(_units)
            | beam.Reshuffle()
        )


def _units(settings: ReportSettings) -> Iterator[Unit]:
    yield from open_source(DatasetFolder(BeamFiles(), settings.dataset)).units()


class _CountUnit(beam.DoFn):
    def __init__(self, counter: UnitCounter) -> None:
        self._counter = counter
        self._units = Metrics.counter("report", "units")

    def process(self, unit: Unit) -> Iterator[Statistics]:
        statistics = self._counter.empty()
        self._counter.add(statistics, unit, self._counter.read(unit))
        self._units.inc()
        yield statistics


class _AddUp(beam.CombineFn):
    def __init__(self, counter: UnitCounter) -> None:
        self._counter = counter

    def create_accumulator(self) -> Statistics:
        return self._counter.empty()

    def add_input(self, accumulator: Statistics, counted: Statistics) -> Statistics:
        accumulator.merge(counted)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[Statistics]) -> Statistics:
        whole = self._counter.empty()
        for one in accumulators:
            whole.merge(one)
        return whole

    def extract_output(self, accumulator: Statistics) -> Statistics:
        return accumulator


class _WriteReport(beam.DoFn):
    def __init__(self, settings: ReportSettings) -> None:
        self._settings = settings
        self._figures = Metrics.counter("report", "figures")
        self._cells = Metrics.counter("report", "cells")
        self._problems = Metrics.counter("report", "problems")

    def process(self, statistics: Statistics) -> None:
        require_package("matplotlib", "a worker that draws a report", "plots")
        from beam_pipeline.report.writing import write_report

        files = BeamFiles()
        source = open_source(DatasetFolder(files, self._settings.dataset))
        written = write_report(files, source, statistics, self._settings)
        self._figures.inc(written.drawn)
        self._cells.inc(written.cells)
        self._problems.inc(written.problems)
