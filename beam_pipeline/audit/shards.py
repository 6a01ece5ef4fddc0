"""Proves from the files alone that a unit's records are whole: every planned cell-year once, as described.

Nothing is taken from the run that made it, or from other units: so units may be looked at in any order, and anywhere.
One record is held at a time. What cannot be read is a difference like any other, and what lies behind it is looked at
all the same.
"""

import collections
import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from typing import BinaryIO

from beam_pipeline.audit.examples import ExampleAudit, Expected
from beam_pipeline.audit.findings import Findings
from beam_pipeline.audit.labels import LabelSource, UnitLabels
from beam_pipeline.audit.parts import AuditPart
from beam_pipeline.audit.reading import open_file
from beam_pipeline.audit.summaries import read_summary
from beam_pipeline.dataset.folder import DatasetFolder, summary_name
from beam_pipeline.dataset.manifest import failed_cell_years
from beam_pipeline.dataset.outcomes import CellYearId
from beam_pipeline.dataset.summary import ShardContent, UnitSummary
from beam_pipeline.dataset.units import Unit
from beam_pipeline.records.example import decode
from beam_pipeline.records.shards import MOST_RECORD_BYTES, HashedFile, parse_shard
from beam_pipeline.runtime.faults import PermanentFault


@dataclasses.dataclass(frozen=True)
class UnitAudit:
    """Compares one unit's shard, its summary and the plan. It pickles, if its folder does.

    Attributes:
        folder: The dataset's folder.
        expected: What holds for every example.
        labels: Draws labels anew from the store of features; None where they are not compared.
    """

    folder: DatasetFolder
    expected: Expected
    labels: LabelSource | None = None

    def __call__(self, unit: Unit) -> AuditPart:
        """Reads a unit.

        Args:
            unit: The unit as planned.

        Returns:
            What was found in it alone.
        """
        part = AuditPart()
        findings, folder = part.findings, self.folder
        findings.checked["units"] += 1
        summary = read_summary(folder, unit, self.expected, findings)
        written: list[CellYearId] = []
        failed = summary is not None and summary.status == "failed"
        labels = None if self.labels is None else UnitLabels(self.labels, unit, summary)
        with open_file(folder, unit.name, findings, None if failed else "missing_shard") as file:
            if file is not None:
                if failed:
                    name = summary_name(unit.name)
                    findings.differ("summary", name, "says that the unit failed, but it has a shard")
                written = _audit_shard(file, unit, summary, self.expected, labels, findings)
        _account(unit, written, summary, self.expected.years, findings)
        if labels is not None:
            labels.close(findings)
        if summary is not None:
            part.totals.add(summary)
        return part


def _audit_shard(
    file: BinaryIO,
    unit: Unit,
    summary: UnitSummary | None,
    expected: Expected,
    labels: UnitLabels | None,
    findings: Findings,
) -> list[CellYearId]:
    """Reads all records of a shard; returns the cell-years of those that can be read."""
    findings.checked["shards"] += 1
    content = HashedFile(file)
    found, sums = _audit_records(content, unit, expected, labels, findings)
    # A shard may claim any length and take no room on the disk: behind a damaged record only so much is read.
    most_bytes = MOST_RECORD_BYTES * (1 + len(unit.cells) * len(expected.years))
    content.read_to(most_bytes if summary is None else min(most_bytes, summary.num_bytes + 1))
    findings.checked["bytes"] += content.num_bytes
    if summary is not None and summary.status == "written":
        _compare_content(content, unit, summary, findings)
    for index, (before, after) in enumerate(itertools.pairwise(found), start=1):
        if before > after:
            findings.differ("order", unit.name, f"{after} (cell, year) comes behind {before}", index)
    if summary is not None and summary.status == "written" and sums is not None:
        for name, value in sums.counts(expected.version).items():
            if getattr(summary, name) != value:
                findings.differ(
                    "summary", summary_name(unit.name), f"{name} is not what the shard's records give"
                )
    return found


def _compare_content(content: HashedFile, unit: Unit, summary: UnitSummary, findings: Findings) -> None:
    """Compares how long a shard is and its hash with what its summary says."""
    digest = content.sha256.hexdigest()
    longer = (
        "at least " if content.num_bytes > summary.num_bytes else ""
    )  # it may not have been read to its end
    if content.num_bytes != summary.num_bytes:
        findings.differ("size", unit.name, f"has {longer}{content.num_bytes} bytes, not {summary.num_bytes}")
    if digest != summary.sha256:
        findings.damaged_shards.append(unit.name)
        has = "a longer file's" if longer else digest
        findings.differ("sha256", unit.name, f"has SHA-256 {has}, not {summary.sha256}")


def _audit_records(
    content: HashedFile, unit: Unit, expected: Expected, labels: UnitLabels | None, findings: Findings
) -> tuple[list[CellYearId], ShardContent | None]:
    """Compares each record with the plan.

    Returns:
        The cell-years of the records that can be read, and what all records add up to; None where one cannot be
        read: that is a difference already, which the sums would only say again.
    """
    found: list[CellYearId] = []
    sums = ShardContent()
    audit = ExampleAudit(unit, expected)
    readable = True
    try:
        for record, payload in enumerate(parse_shard(content, unit.name)):
            findings.checked["records"] += 1
            try:
                example = decode(payload, expected.features)
            except PermanentFault as fault:
                findings.differ("schema", unit.name, str(fault), record)
                readable = False
                continue
            found.append((example.cell.cell_id, example.year))
            sums.add(example)
            of_label = () if labels is None else labels.faults_of(example)
            for kind, detail in itertools.chain(audit.faults_of(example), of_label):
                findings.differ(kind, unit.name, detail, record)
    except PermanentFault as fault:
        findings.differ("corrupt_shard", unit.name, fault.detail)
        readable = False
    return found, sums if readable else None


def _account(
    unit: Unit,
    written: Iterable[CellYearId],
    summary: UnitSummary | None,
    years: Sequence[int],
    findings: Findings,
) -> None:
    """Checks that each planned cell-year of a unit is written, rejected or a dead letter, and that once."""
    planned = [(cell.cell_id, year) for cell in unit.cells for year in years]
    rejected: list[CellYearId] = []
    failed: list[CellYearId] = []
    if summary is not None:
        rejected = [cell_year for of_reason in summary.rejections.values() for cell_year in of_reason]
        for letter in summary.dead_letters:
            failed += failed_cell_years(unit, years, letter) or [(letter.cell_id or -1, letter.year or -1)]
    fates = {"examples": list(written), "rejected": rejected, "failed": failed}
    findings.checked["cell_years_planned"] += len(planned)
    times: collections.Counter[CellYearId] = collections.Counter()
    for fate, cell_years in fates.items():
        findings.checked[fate] += len(cell_years)
        times.update(cell_years)
    findings.checked["dead_letters"] += 0 if summary is None else len(summary.dead_letters)
    for cell_id, year in planned:
        count = times.pop((cell_id, year), 0)
        if count == 0:
            detail = f"cell {cell_id} in {year} is neither written, rejected nor a dead letter"
            findings.differ("unaccounted", unit.name, detail)
        elif count > 1:
            where = ", ".join(name for name, of_fate in fates.items() if (cell_id, year) in of_fate)
            findings.differ("double", unit.name, f"cell {cell_id} in {year} is {count} times in: {where}")
    for cell_id, year in times:
        findings.differ("unplanned", unit.name, f"cell {cell_id} in {year} is not planned in this unit")
