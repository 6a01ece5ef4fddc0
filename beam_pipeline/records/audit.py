"""Proves from the files alone that a dataset is whole: every planned cell-year once, every byte as described.

Nothing is taken from the run that made it. One shard is held at a time.
"""

import collections
import dataclasses
import hashlib
import itertools
import json
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from beam_pipeline.cells.cell import LATTICE_M, Cell, ChipWindow
from beam_pipeline.faults import PermanentFault
from beam_pipeline.records import manifest
from beam_pipeline.records.example import CellYear, decode
from beam_pipeline.records.files import Files, join
from beam_pipeline.records.findings import Findings
from beam_pipeline.records.schema import NONE, UNLABELED
from beam_pipeline.records.shards import (
    DATASET_NAME,
    SUMMARIES_FOLDER,
    parse_shard,
    read_summary,
    summary_path,
)
from beam_pipeline.records.summary import (
    CellYearId,
    PlannedUnit,
    ShardContent,
    UnitSummary,
    fingerprint_sha256,
)

_FALSE_NORTHING_M = 10_000_000  # of the southern UTM zones, 327zz
_OFFSETS = (0, -1000)
_OF_THIS_ENVIRONMENT = frozenset({"software", "licences"})
"""Keys of dataset.json that follow from the program that wrote it and not from the summaries."""


@dataclasses.dataclass(frozen=True)
class Expected:
    """What holds for every example of a dataset.

    Attributes:
        years: The years asked for.
        label_values: Per channel, the values of the ontology; None where no dataset.json says.
        pairs_only: Whether an example must have two images.
        fingerprint: That of each summary.
    """

    years: tuple[int, ...]
    label_values: tuple[frozenset[int], ...] | None
    pairs_only: bool
    fingerprint: str


def audit_dataset(
    files: Files,
    output: str,
    units: Sequence[PlannedUnit],
    fingerprint: Mapping[str, Any],
    dataset_file: str,
    dead_letters_file: str,
    findings: Findings,
    on_unit: Callable[[], object] = lambda: None,
) -> None:
    """Reads a whole dataset and compares everything in it with everything else.

    Args:
        files: The file system.
        output: The dataset's folder.
        units: The plan.
        fingerprint: The fingerprint that lies beside the plan.
        dataset_file: Name of the file that describes the dataset.
        dead_letters_file: Name of the file that lists what failed.
        findings: Where differences go.
        on_unit: Called after each unit.
    """
    dataset = _read_json(files, output, dataset_file, findings)
    expected = Expected(
        years=tuple(fingerprint["years"]),
        label_values=_label_values(dataset, dataset_file, findings),
        pairs_only=not fingerprint["allow_single"],
        fingerprint=fingerprint_sha256(fingerprint),
    )
    _check_names(files, output, units, findings)
    _check_plan(units, findings)
    summaries = []
    for unit in units:
        summary = audit_unit(files, output, unit, expected, findings)
        if summary is not None:
            summaries.append(summary)
        on_unit()
    if dataset is not None:
        _check_description(dataset, dataset_file, units, fingerprint, summaries, findings)
    try:
        letters = manifest.dead_letters_jsonl(summaries)
    except TypeError as error:
        findings.differ("dead_letters", SUMMARIES_FOLDER, f"hold what is no dead letter: {error}")
        return
    path = join(output, dead_letters_file)
    if not files.exists(path):
        findings.differ("dead_letters", dead_letters_file, "is missing")
    elif files.read_text(path) != letters:
        findings.differ("dead_letters", dead_letters_file, "is not what the summaries add up to")


def audit_unit(
    files: Files, output: str, unit: PlannedUnit, expected: Expected, findings: Findings
) -> UnitSummary | None:
    """Compares one unit's shard, its summary and the plan.

    Args:
        files: The file system.
        output: The dataset's folder.
        unit: The unit as planned.
        expected: What holds for every example.
        findings: Where differences go.

    Returns:
        The unit's summary, or None where it cannot be read.
    """
    findings.checked["units"] += 1
    summary = _read_summary(files, output, unit, expected, findings)
    written: list[CellYearId] = []
    path = join(output, unit.name)
    if files.exists(path):
        if summary is not None and summary.status == "failed":
            findings.differ("summary", _summary_name(unit), "says that the unit failed, but it has a shard")
        written = _audit_shard(files.read_bytes(path), unit, summary, expected, findings)
    elif summary is None or summary.status == "written":
        findings.differ("missing_shard", unit.name, "is planned, did not fail, and is not there")
    _account(unit, written, summary, expected.years, findings)
    return summary


def _audit_shard(
    content: bytes,
    unit: PlannedUnit,
    summary: UnitSummary | None,
    expected: Expected,
    findings: Findings,
) -> list[CellYearId]:
    """Reads all records of a shard; returns the cell-years of those that can be read."""
    findings.checked["shards"] += 1
    findings.checked["bytes"] += len(content)
    if summary is not None and summary.status == "written":
        if len(content) != summary.num_bytes:
            findings.differ("size", unit.name, f"has {len(content)} bytes, not {summary.num_bytes}")
        digest = hashlib.sha256(content).hexdigest()
        if digest != summary.sha256:
            findings.damaged_shards.append(unit.name)
            findings.differ("sha256", unit.name, f"has SHA-256 {digest}, not {summary.sha256}")
    found: list[CellYearId] = []
    sums = ShardContent()
    labels: dict[int, int] = {}
    cells = {cell.cell_id: cell for cell in unit.cells}
    readable = True
    try:
        for record, payload in enumerate(parse_shard(content, unit.name)):
            findings.checked["records"] += 1
            try:
                example = decode(payload)
            except PermanentFault as fault:
                findings.differ("schema", unit.name, str(fault), record)
                readable = False
                continue
            found.append((example.cell.cell_id, example.year))
            sums.add(example)
            for kind, detail in _faults_of(example, cells, expected, labels):
                findings.differ(kind, unit.name, detail, record)
    except PermanentFault as fault:
        findings.differ("corrupt_shard", unit.name, fault.detail)
        readable = False
    for index, (before, after) in enumerate(itertools.pairwise(found), start=1):
        if before > after:
            findings.differ("order", unit.name, f"{after} (cell, year) comes behind {before}", index)
    # What is damaged is said above; its sums would only say it again.
    if summary is not None and summary.status == "written" and readable:
        for name, value in sums.counts().items():
            if getattr(summary, name) != value:
                findings.differ(
                    "summary", _summary_name(unit), f"{name} is not what the shard's records give"
                )
    return found


def _faults_of(
    example: CellYear, cells: Mapping[int, Cell], expected: Expected, labels: dict[int, int]
) -> Iterable[tuple[str, str]]:
    """Yields (kind, detail) of what is wrong with one example; `labels` keeps a checksum by cell."""
    cell, planned = example.cell, cells.get(example.cell.cell_id)
    if planned is not None and cell != planned:
        kind = "chip" if cell.chip != planned.chip else "cell"
        yield kind, f"cell {cell.cell_id} is {cell}, planned is {planned}"
    if not _on_lattice(cell.chip):
        yield "chip", f"cell {cell.cell_id} is off the {LATTICE_M} m lattice: {cell.chip}"
    if expected.pairs_only and len(example.images) != 2:
        yield "pair", f"cell {cell.cell_id} in {example.year} has {len(example.images)} image"
    for image in example.images:
        if image.date[:4] != str(example.year):
            yield "year", f"cell {cell.cell_id} in {example.year} has an image of {image.datetime}"
        if image.boa_add_offset not in _OFFSETS:
            yield "offset", f"{image.item_id} has boa_add_offset {image.boa_add_offset}"
    for first, second in itertools.pairwise(example.images):
        if first.date >= second.date:
            yield (
                "dates",
                f"cell {cell.cell_id} in {example.year} has {first.datetime}, then {second.datetime}",
            )
    if expected.label_values is not None:
        for channel, allowed in enumerate(expected.label_values):
            unknown = set(np.unique(example.label[..., channel]).tolist()) - allowed
            if unknown:
                yield "label", f"cell {cell.cell_id}, channel {channel}: no label has {sorted(unknown)}"
    checksum = zlib.crc32(example.label.tobytes())
    if labels.setdefault(cell.cell_id, checksum) != checksum:
        yield "label", f"cell {cell.cell_id} has other labels in {example.year} than in an earlier year"


def _account(
    unit: PlannedUnit,
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
            # A letter without a cell or without a year is of all of them.
            failed += [
                (cell_id, year)
                for cell_id, year in planned
                if letter.cell_id in (None, cell_id) and letter.year in (None, year)
            ] or [(letter.cell_id or -1, letter.year or -1)]
    fates = {"examples": list(written), "rejected": rejected, "dead_letters": failed}
    findings.checked["cell_years_planned"] += len(planned)
    times: collections.Counter[CellYearId] = collections.Counter()
    for fate, cell_years in fates.items():
        findings.checked[fate] += len(cell_years)
        times.update(cell_years)
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
    files: Files, output: str, unit: PlannedUnit, expected: Expected, findings: Findings
) -> UnitSummary | None:
    name = _summary_name(unit)
    if not files.exists(summary_path(output, unit.name)):
        findings.differ("missing_summary", name, "is not there")
        return None
    try:
        summary = read_summary(files, output, unit.name)
    except ValueError as error:
        findings.differ("summary", name, f"cannot be read: {error}")
        return None
    failed = summary.status == "failed"
    of_plan = {
        "name": unit.name,
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


def _summary_name(unit: PlannedUnit) -> str:
    return summary_path("", unit.name)


def _check_names(files: Files, output: str, units: Sequence[PlannedUnit], findings: Findings) -> None:
    """Looks for shards and summaries that no unit of the plan has."""
    planned = {unit.name for unit in units}
    for path in files.glob(join(output, f"{DATASET_NAME}-*")):
        name = path.rpartition("/")[2]
        if name not in planned:
            findings.differ("stray_shard", name, "is no unit of the plan")
    for path in files.glob(join(output, SUMMARIES_FOLDER, "*")):
        name = path.rpartition("/")[2]
        if name.removesuffix(".summary.json") not in planned:
            findings.differ("stray_summary", f"{SUMMARIES_FOLDER}/{name}", "is of no unit of the plan")


def _check_plan(units: Sequence[PlannedUnit], findings: Findings) -> None:
    seen: set[int] = set()
    for unit in units:
        for cell in unit.cells:
            if cell.cell_id in seen:
                findings.differ("plan", unit.name, f"cell {cell.cell_id} is planned twice")
            if not _on_lattice(cell.chip):
                findings.differ(
                    "plan", unit.name, f"cell {cell.cell_id} is planned off the lattice: {cell.chip}"
                )
            seen.add(cell.cell_id)


def _check_description(
    dataset: Mapping[str, Any],
    name: str,
    units: Sequence[PlannedUnit],
    fingerprint: Mapping[str, Any],
    summaries: Sequence[UnitSummary],
    findings: Findings,
) -> None:
    """Compares dataset.json with what the plan and the summaries give."""
    try:
        again = manifest.dataset_json(
            fingerprint=fingerprint,
            units=units,
            grid=dataset["grid"],
            ontology=dataset["ontology"],
            years=fingerprint["years"],
            summaries=summaries,
            dropped_from_extracts=dataset["dropped_from_extracts"],
            cells_beyond_extracts=dataset["cells_beyond_extracts"],
        )
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        findings.differ("dataset", name, f"is no description of a dataset: {type(error).__name__}: {error}")
        return
    again = json.loads(manifest.to_text(again))
    for key in sorted({*dataset, *again} - _OF_THIS_ENVIRONMENT):
        if dataset.get(key) != again.get(key):
            findings.differ("dataset", name, f"{key} is not what plan and summaries add up to")
    if dataset["ontology"].get("sha256") != fingerprint["ontology_sha256"]:
        findings.differ("dataset", name, "the ontology is not that of the fingerprint")


def _read_json(files: Files, output: str, name: str, findings: Findings) -> dict[str, Any] | None:
    path = join(output, name)
    if not files.exists(path):
        findings.differ("dataset", name, "is not there: no build finished here")
        return None
    try:
        content = json.loads(files.read_text(path))
    except (ValueError, RecursionError) as error:
        findings.differ("dataset", name, f"is no JSON: {error}")
        return None
    if not isinstance(content, dict):
        findings.differ("dataset", name, "is no JSON object")
        return None
    return content


def _label_values(
    dataset: Mapping[str, Any] | None, name: str, findings: Findings
) -> tuple[frozenset[int], ...] | None:
    if dataset is None:
        return None
    try:
        return tuple(
            frozenset({*channel["labels"].values(), NONE, UNLABELED})
            for channel in dataset["ontology"]["channels"]
        )
    except (KeyError, TypeError, AttributeError) as error:
        findings.differ("dataset", name, f"names no labels: {type(error).__name__}: {error}")
        return None


def _on_lattice(chip: ChipWindow) -> bool:
    origin = _FALSE_NORTHING_M if chip.epsg // 100 == 327 else 0
    return chip.left % LATTICE_M == 0 and (chip.bottom - origin) % LATTICE_M == 0
