"""Reads a unit's summary, and compares it with the plan; what the shard gives is compared in `shards`."""

from beam_pipeline.audit.examples import Expected
from beam_pipeline.audit.findings import Findings
from beam_pipeline.audit.reading import read_file
from beam_pipeline.dataset.folder import DatasetFolder, summary_name
from beam_pipeline.dataset.summary import UnitSummary
from beam_pipeline.dataset.units import Unit
from beam_pipeline.records.shards import SUMMARIES_FOLDER
from beam_pipeline.records.version import CONTENTS
from beam_pipeline.runtime.parsing import MalformedError


def read_summary(
    folder: DatasetFolder, unit: Unit, expected: Expected, findings: Findings
) -> UnitSummary | None:
    """Reads a unit's summary, and compares it with the plan.

    Args:
        folder: The dataset's folder.
        unit: The unit as planned.
        expected: What holds for every example.
        findings: Where differences go.

    Returns:
        The summary, or None where it cannot be read.
    """
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
