"""Reads the plan of a dataset, and tells from it what its shards must be."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from typing import Any

import pydantic

from beam_pipeline.audit.examples import Expected, on_lattice
from beam_pipeline.audit.findings import Findings
from beam_pipeline.audit.reading import list_files, read_file
from beam_pipeline.audit.sidecars import read_ontology
from beam_pipeline.cells.grid import GRID_NAME, PLACES_GRID_NAME, PUBLISHED_GRID_NAME
from beam_pipeline.cells.table import CELLS_FILE, parse_cells_csv
from beam_pipeline.dataset.fingerprint import Fingerprint
from beam_pipeline.dataset.folder import DATASET_FILE, FINGERPRINT_FILE, UNITS_FILE, DatasetFolder
from beam_pipeline.dataset.units import Unit, make_units, numbered_in_turn, parse_units
from beam_pipeline.labels.label_image import NONE, UNLABELED
from beam_pipeline.labels.ontology import Ontology
from beam_pipeline.records.schema import features_since
from beam_pipeline.records.shards import DATASET_NAME, SUMMARIES_FOLDER, SUMMARY_SUFFIX
from beam_pipeline.records.version import require_readable
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.parsing import MalformedError, parse_json
from beam_pipeline.runtime.whole_files import PARTIAL_SUFFIX

TAKEN_AS_PUBLISHED = (
    "images, labels, bad_percent and bounds are as published: nothing here tells whether they are right"
)


@dataclasses.dataclass(frozen=True)
class AuditPlan:
    """The plan of a dataset, by which its audit goes.

    Attributes:
        fingerprint: The fingerprint.
        units: The plan, never empty.
        ontology: The ontology of the plan; None where it cannot be read, which is then a difference already.
        expected: What holds for every example.
    """

    fingerprint: Fingerprint
    units: Sequence[Unit]
    ontology: Ontology | None
    expected: Expected


def read_plan(folder: DatasetFolder, findings: Findings) -> AuditPlan | None:
    """Reads the plan, and compares it with the names of the files.

    Args:
        folder: The dataset's folder.
        findings: Where differences go.

    Returns:
        The plan, or None where neither it nor what could stand for it can be read.

    Raises:
        InvalidInputError: The dataset is of another major version.
    """
    fingerprint = _read_fingerprint(folder, findings)
    if fingerprint is None:
        return None
    require_readable(fingerprint.schema_version, folder.at(FINGERPRINT_FILE))
    version = fingerprint.version
    imported, of_places = fingerprint.imported is not None, fingerprint.places is not None
    grid = PUBLISHED_GRID_NAME if imported else PLACES_GRID_NAME if of_places else GRID_NAME
    if fingerprint.grid != grid:
        findings.differ("plan", FINGERPRINT_FILE, f"grid is {fingerprint.grid!r}, not {grid!r}")
    units = _read_units(folder, fingerprint, findings)
    if units is None:
        return None
    ontology = read_ontology(folder, fingerprint, findings)
    expected = Expected(
        years=fingerprint.years,
        label_values=None if ontology is None else _label_values(ontology, fingerprint.none_labels),
        pairs_only=not fingerprint.allow_single,
        fingerprint=fingerprint.sha256,
        version=version,
        features=None if version.is_newer else frozenset(features_since(version.minor, of_places=of_places)),
        filters=fingerprint.filters.settings(),
        imported=imported,
    )
    if imported:
        findings.note(TAKEN_AS_PUBLISHED)
    _check_names(folder, units, findings)
    _check_plan(units, imported, findings)
    _check_places(units, fingerprint, findings)
    return AuditPlan(fingerprint, units, ontology, expected)


class _Description(pydantic.BaseModel):
    """The part of `dataset.json` that is read where the plan has no fingerprint."""

    fingerprint: dict[str, Any]


_DESCRIPTION = pydantic.TypeAdapter(_Description)


def _read_fingerprint(folder: DatasetFolder, findings: Findings) -> Fingerprint | None:
    """Reads the plan's fingerprint, or where it cannot be read the copy that dataset.json holds."""
    content = read_file(folder, FINGERPRINT_FILE, findings, "plan")
    if content is not None:
        try:
            given = Fingerprint.from_json(content)
            if given.to_json().encode() != content:
                findings.differ("plan", FINGERPRINT_FILE, "is not laid out as it was written")
            return given
        except MalformedError as error:
            findings.differ("plan", FINGERPRINT_FILE, f"cannot be read: {error}")
    copy = read_file(folder, DATASET_FILE, findings, "dataset")
    if copy is not None:
        try:
            return Fingerprint.from_json(json.dumps(parse_json(_DESCRIPTION, copy).fingerprint))
        except MalformedError as error:
            findings.differ("dataset", DATASET_FILE, f"cannot be read: {error}")
    return None


def _read_units(folder: DatasetFolder, fingerprint: Fingerprint, findings: Findings) -> list[Unit] | None:
    """Reads the plan, or where it cannot be read cuts the cells of the CSV once more; None where neither can be."""
    content = read_file(folder, UNITS_FILE, findings, "plan")
    if content is not None:
        if hashlib.sha256(content).hexdigest() != fingerprint.cells_sha256:
            findings.differ("plan", UNITS_FILE, "is not the plan whose hash is in the fingerprint")
        try:
            if units := parse_units(content):
                return units
            findings.differ("plan", UNITS_FILE, "cannot be read: it holds no unit")
        except MalformedError as error:
            findings.differ("plan", UNITS_FILE, f"cannot be read: {error}")
    cells = read_file(folder, CELLS_FILE, findings, None)
    try:
        return make_units(parse_cells_csv((cells or b"").decode(), CELLS_FILE), fingerprint.cells_per_shard)
    except (InvalidInputError, UnicodeDecodeError) as error:
        findings.differ("plan", CELLS_FILE, f"holds no plan either: {error}")
        return None


def _label_values(ontology: Ontology, none_labels: bool) -> tuple[frozenset[int], ...]:
    always = {UNLABELED, NONE} if none_labels else {UNLABELED}
    return tuple(frozenset({label.value for label in it.labels} | always) for it in ontology.channels)


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


def _check_places(units: Sequence[Unit], fingerprint: Fingerprint, findings: Findings) -> None:
    """Looks for cells without a place, places of no class, and names that two have."""
    if fingerprint.places is None:
        return
    seen: set[str] = set()
    for unit in units:
        for cell in unit.cells:
            if cell.place is None or cell.place.class_name not in fingerprint.places.classes:
                findings.differ(
                    "plan", unit.name, f"cell {cell.cell_id} is no place of a class: {cell.place}"
                )
            elif cell.place.name in seen:
                findings.differ("plan", unit.name, f"two places are called {cell.place.name!r}")
            else:
                seen.add(cell.place.name)


def _check_plan(units: Sequence[Unit], imported: bool, findings: Findings) -> None:
    seen: set[int] = set()
    if not numbered_in_turn(units):
        findings.differ("plan", "plan", "its shards are not numbered in turn")
    for unit in units:
        for cell in unit.cells:
            if cell.cell_id in seen:
                findings.differ("plan", unit.name, f"cell {cell.cell_id} is planned twice")
            if not imported and not on_lattice(cell.chip):
                findings.differ(
                    "plan", unit.name, f"cell {cell.cell_id} is planned off the lattice: {cell.chip}"
                )
            seen.add(cell.cell_id)
