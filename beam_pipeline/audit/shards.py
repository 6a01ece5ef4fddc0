"""Proves from the files alone that a dataset's records are whole: every planned cell-year once, as described.

Nothing is taken from the run that made it. One record is held at a time. What cannot be read is a difference like
any other, and what lies behind it is looked at all the same.
"""

import collections
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import BinaryIO

from beam_pipeline.audit.examples import ExampleAudit, Expected, on_lattice
from beam_pipeline.audit.findings import Findings
from beam_pipeline.audit.reading import list_files, open_file, read_file
from beam_pipeline.dataset.folder import DatasetFolder, summary_name
from beam_pipeline.dataset.manifest import failed_cell_years
from beam_pipeline.dataset.outcomes import CellYearId
from beam_pipeline.dataset.summary import ShardContent, UnitSummary
from beam_pipeline.dataset.totals import Totals
from beam_pipeline.dataset.units import Unit, numbered_in_turn
from beam_pipeline.records.example import decode
from beam_pipeline.records.shards import (
    DATASET_NAME,
    MOST_RECORD_BYTES,
    SUMMARIES_FOLDER,
    SUMMARY_SUFFIX,
    HashedFile,
    parse_shard,
)
from beam_pipeline.records.version import CONTENTS
from beam_pipeline.runtime.faults import PermanentFault
from beam_pipeline.runtime.parsing import MalformedError
from beam_pipeline.runtime.whole_files import PARTIAL_SUFFIX


def audit_units(
    folder: DatasetFolder,
    units: Sequence[Unit],
    expected: Expected,
    findings: Findings,
    on_unit: Callable[[], object] = lambda: None,
) -> Totals:
    """Reads all shards and summaries of a dataset and compares them with the plan and with each other.

    Args:
        folder: The dataset's folder.
        units: The plan.
        expected: What holds for every example.
        findings: Where differences go.
        on_unit: Called after each unit.

    Returns:
        The summaries that can be read, in the plan's order, and what they add up to.
    """
    _check_names(folder, units, findings)
    _check_plan(units, findings)
    totals = Totals()
    for unit in units:
        summary = audit_unit(folder, unit, expected, findings)
        if summary is not None:
            totals.add(summary)
        on_unit()
    return totals


def audit_unit(
    folder: DatasetFolder, unit: Unit, expected: Expected, findings: Findings
) -> UnitSummary | None:
    """Compares one unit's shard, its summary and the plan.

    Args:
        folder: The dataset's folder.
        unit: The unit as planned.
        expected: What holds for every example.
        findings: Where differences go.

    Returns:
        The unit's summary, or None where it cannot be read.
    """
    findings.checked["units"] += 1
    summary = _read_summary(folder, unit, expected, findings)
    written: list[CellYearId] = []
    failed = summary is not None and summary.status == "failed"
    with open_file(folder, unit.name, findings, None if failed else "missing_shard") as file:
        if file is not None:
            if failed:
                findings.differ(
                    "summary", summary_name(unit.name), "says that the unit failed, but it has a shard"
                )
            written = _audit_shard(file, unit, summary, expected, findings)
    _account(unit, written, summary, expected.years, findings)
    return summary


def _audit_shard(
    file: BinaryIO,
    unit: Unit,
    summary: UnitSummary | None,
    expected: Expected,
    findings: Findings,
) -> list[CellYearId]:
    """Reads all records of a shard; returns the cell-years of those that can be read."""
    findings.checked["shards"] += 1
    content = HashedFile(file)
    found, sums = _audit_records(content, unit, expected, findings)
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
    content: HashedFile, unit: Unit, expected: Expected, findings: Findings
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
            for kind, detail in audit.faults_of(example):
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


def _read_summary(
    folder: DatasetFolder, unit: Unit, expected: Expected, findings: Findings
) -> UnitSummary | None:
    name = summary_name(unit.name)
    content = read_file(folder, name, findings, "missing_summary")
    if content is None:
        return None
    try:
        summary = UnitSummary.from_json(content)
    except MalformedError as error:
        findings.differ("summary", name, f"cannot be read: {error}")
        return None
    if summary.name != unit.name:
        findings.differ("summary", name, f"cannot be read: it is of {summary.name!r}")
        return None
    if summary.to_json().encode() != content:
        if expected.version.is_newer:
            findings.leave_unchecked(SUMMARIES_FOLDER, "what its files hold beyond what is known here")
        else:
            findings.differ("summary", name, "is not laid out as it was written")
    _check_contents(summary, name, expected, findings)
    failed = summary.status == "failed"
    of_plan = {
        "split": unit.split,
        "tile": "" if failed else unit.tile,
        "cells": 0 if failed else len(unit.cells),
        "cell_years": 0 if failed else len(unit.cells) * len(expected.years),
    }
    for field, planned in of_plan.items():
        if getattr(summary, field) != planned:
            findings.differ("summary", name, f"{field} is {getattr(summary, field)}, planned is {planned}")
    if summary.fingerprint != expected.fingerprint:
        findings.differ("other_fingerprint", name, "is of a unit that was made with other settings")
    return summary


def _check_contents(summary: UnitSummary, name: str, expected: Expected, findings: Findings) -> None:
    """Checks what no record says: that a summary has what its version has, and which cells are coastal."""
    if (summary.contents is not None) != (expected.version >= CONTENTS):
        has = "has no" if summary.contents is None else "has"
        findings.differ("summary", name, f"{has} contents, and is of version {expected.version}")
    cells = [content.cell_id for content in summary.contents or ()]
    if summary.coastal_cells != tuple(sorted(set(summary.coastal_cells) & set(cells))):
        findings.differ("summary", name, "coastal_cells are not cells with examples, sorted")


def _check_names(folder: DatasetFolder, units: Sequence[Unit], findings: Findings) -> None:
    """Looks for shards and summaries that no unit of the plan has."""
    planned = {unit.name for unit in units}
    for name in list_files(folder, f"{DATASET_NAME}-*", findings):
        if name not in planned and not name.endswith(PARTIAL_SUFFIX):
            findings.differ("stray_shard", name, "is no unit of the plan")
    for name in list_files(folder, f"{SUMMARIES_FOLDER}/*", findings):
        of_unit = name.partition("/")[2].removesuffix(SUMMARY_SUFFIX) in planned
        if not of_unit and not name.endswith(PARTIAL_SUFFIX):
            findings.differ("stray_summary", name, "is of no unit of the plan")


def _check_plan(units: Sequence[Unit], findings: Findings) -> None:
    seen: set[int] = set()
    if not numbered_in_turn(units):
        findings.differ("plan", "plan", "its shards are not numbered in turn")
    for unit in units:
        for cell in unit.cells:
            if cell.cell_id in seen:
                findings.differ("plan", unit.name, f"cell {cell.cell_id} is planned twice")
            if not on_lattice(cell.chip):
                findings.differ(
                    "plan", unit.name, f"cell {cell.cell_id} is planned off the lattice: {cell.chip}"
                )
            seen.add(cell.cell_id)
