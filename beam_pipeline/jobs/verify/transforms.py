"""Verifying as a graph: units of the plan -> parts of the audit -> one report."""

import dataclasses
from collections.abc import Iterable, Iterator

import apache_beam as beam
from apache_beam import pvalue
from apache_beam.metrics import Metrics

from beam_pipeline.audit.dataset import close_audit, open_audit
from beam_pipeline.audit.findings import Findings
from beam_pipeline.audit.plan import read_plan
from beam_pipeline.audit.report import Report, write_report
from beam_pipeline.audit.shards import AuditPart, UnitAudit
from beam_pipeline.dataset.folder import DatasetFolder
from beam_pipeline.dataset.units import Unit
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.jobs.verify.options import VerifySettings
from beam_pipeline.runtime.faults import PermanentFault

NumberedUnit = tuple[int, Unit]
NumberedPart = tuple[int, AuditPart]


def build_graph(pipeline: beam.Pipeline, settings: VerifySettings, audit: UnitAudit) -> None:
    """Adds the whole job to a pipeline.

    Args:
        pipeline: An empty pipeline.
        settings: Where it reads and writes.
        audit: Audits one unit.
    """
    units = pipeline | "ReadUnits" >> ReadUnits(settings)
    parts = units | "AuditUnits" >> beam.ParDo(_AuditUnit(audit))
    parts | "WriteReport" >> WriteReport(settings)


@dataclasses.dataclass(eq=False)
class ReadUnits(beam.PTransform):
    """Reads the plan on a worker, as a graph must not hold it -> (place in the plan, unit)."""

    settings: VerifySettings

    def expand(self, begin: pvalue.PBegin) -> beam.PCollection[NumberedUnit]:
        return (
            begin
            | "Dataset" >> beam.Create([self.settings.dataset])
            | "Units" >> beam.FlatMap(_numbered_units)
            | beam.Reshuffle()
        )


def _numbered_units(dataset: str) -> Iterator[NumberedUnit]:
    # What differs in the plan is found where the report is made.
    plan = read_plan(DatasetFolder(BeamFiles(), dataset), Findings())
    yield from enumerate(() if plan is None else plan.units)


class _AuditUnit(beam.DoFn):
    def __init__(self, audit: UnitAudit) -> None:
        self._audit = audit
        self._units = Metrics.counter("verify", "units")
        self._differences = Metrics.counter("verify", "differences")

    def process(self, numbered: NumberedUnit) -> Iterator[NumberedPart]:
        place, unit = numbered
        part = self._audit(unit)
        self._units.inc()
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
    whole, plan = open_audit(folder)
    of_place = dict(parts)
    if plan is None or sorted(of_place) != [*range(len(plan.units))]:
        raise PermanentFault("plan", f"the plan in {settings.dataset} was changed while it was verified")
    for place in range(len(plan.units)):
        whole.merge(of_place.pop(place))
    close_audit(folder, plan, whole)
    write_report(files, settings.report, Report.of(whole.findings))
