"""Verifying as a graph: units of the plan and tiles of the store -> parts of the audit -> one report."""

import dataclasses
from collections.abc import Iterable, Iterator

import apache_beam as beam
from apache_beam import pvalue
from apache_beam.metrics import Metrics

from beam_pipeline.audit.dataset import Item, ItemAudit, close_audit, open_audit
from beam_pipeline.audit.parts import AuditPart
from beam_pipeline.audit.report import Report, write_report
from beam_pipeline.dataset.folder import DatasetFolder
from beam_pipeline.dataset.units import Unit
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.jobs.verify.options import VerifySettings
from beam_pipeline.runtime.faults import PermanentFault

NumberedItem = tuple[int, Item]
NumberedPart = tuple[int, AuditPart]


def build_graph(pipeline: beam.Pipeline, settings: VerifySettings, audit: ItemAudit) -> None:
    """Adds the whole job to a pipeline.

    Args:
        pipeline: An empty pipeline.
        settings: Where it reads and writes.
        audit: Audits one item.
    """
    units = pipeline | "ReadUnits" >> ReadUnits(settings)
    parts = units | "AuditUnits" >> beam.ParDo(_AuditUnit(audit))
    parts | "WriteReport" >> WriteReport(settings)


@dataclasses.dataclass(eq=False)
class ReadUnits(beam.PTransform):
    """Reads the plan on a worker, as a graph must not hold it -> (place in the plan, item)."""

    settings: VerifySettings

    def expand(self, begin: pvalue.PBegin) -> beam.PCollection[NumberedItem]:
        return (
            begin
            | "Dataset" >> beam.Create([self.settings])
            | "Units" >> beam.FlatMap(_numbered_items)
            | beam.Reshuffle()
        )


def _numbered_items(settings: VerifySettings) -> Iterator[NumberedItem]:
    # What differs in the plan is found where the report is made.
    _, audit = open_audit(DatasetFolder(BeamFiles(), settings.dataset), settings.asked)
    yield from enumerate(() if audit is None else audit.items)


class _AuditUnit(beam.DoFn):
    def __init__(self, audit: ItemAudit) -> None:
        self._audit = audit
        self._units = Metrics.counter("verify", "units")
        self._tiles = Metrics.counter("verify", "tiles")
        self._differences = Metrics.counter("verify", "differences")

    def process(self, numbered: NumberedItem) -> Iterator[NumberedPart]:
        place, item = numbered
        part = self._audit(item)
        (self._units if isinstance(item, Unit) else self._tiles).inc()
        self._differences.inc(part.findings.kinds.total())
        yield place, part


@dataclasses.dataclass(eq=False)
class WriteReport(beam.PTransform):
    """Puts the parts together in the plan's order, checks what describes the dataset, and writes the report."""

    settings: VerifySettings

    def expand(self, parts: beam.PCollection[NumberedPart]) -> beam.PCollection[None]:
        # A side input is complete before the one element is processed.
        return (
            parts.pipeline
            | "Once" >> beam.Create([self.settings])
            | "Write" >> beam.Map(_write_report, pvalue.AsIter(parts))
        )


def _write_report(settings: VerifySettings, parts: Iterable[NumberedPart]) -> None:
    files = BeamFiles()
    folder = DatasetFolder(files, settings.dataset)
    whole, audit = open_audit(folder, settings.asked)
    of_place = dict(parts)
    if audit is None or sorted(of_place) != [*range(len(of_place))] or len(of_place) != len(audit.items):
        raise PermanentFault("plan", f"the plan in {settings.dataset} was changed while it was verified")
    for place in sorted(of_place):
        whole.merge(of_place.pop(place))
    close_audit(audit, whole)
    write_report(files, settings.report, Report.of(whole.findings))
