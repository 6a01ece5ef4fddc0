"""Reads a dataset and compares everything in it with everything else."""

import hashlib
import json
from collections.abc import Callable, Iterable
from typing import Any

import pydantic

from beam_pipeline.audit.examples import Expected
from beam_pipeline.audit.features import check_features
from beam_pipeline.audit.findings import Findings
from beam_pipeline.audit.reading import check_regular, read_file
from beam_pipeline.audit.shards import audit_units
from beam_pipeline.audit.sidecars import check_sidecars, read_ontology
from beam_pipeline.cells.grid import GRID_NAME
from beam_pipeline.cells.table import CELLS_FILE, parse_cells_csv
from beam_pipeline.dataset.fingerprint import Fingerprint
from beam_pipeline.dataset.folder import DATASET_FILE, FINGERPRINT_FILE, UNITS_FILE, DatasetFolder
from beam_pipeline.dataset.units import Unit, make_units, parse_units
from beam_pipeline.imagery.chips import FilterSettings, bad_fraction, image_rejection, scl_rejection
from beam_pipeline.imagery.image import Image
from beam_pipeline.imagery.stac_item import tile_of_item
from beam_pipeline.labels.label_image import NONE, UNLABELED
from beam_pipeline.labels.ontology import Ontology
from beam_pipeline.records.schema import features_since
from beam_pipeline.records.version import require_readable
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.parsing import MalformedError, parse_json
from beam_pipeline.runtime.progress import Progress


def verify_dataset(folder: DatasetFolder) -> Findings:
    """Reads a dataset and compares everything in it with everything else; shows how far it is.

    Args:
        folder: The dataset's folder.

    Returns:
        What was checked and what differs.

    Raises:
        InvalidInputError: The folder holds neither a plan nor a description of a dataset, cannot be looked into, or
            is of another major version.
    """
    _check_is_dataset(folder)
    findings = Findings()
    check_regular(folder, findings)
    check_features(folder, findings)
    fingerprint = _read_fingerprint(folder, findings)
    if fingerprint is None:
        return findings
    require_readable(fingerprint.schema_version, folder.at(FINGERPRINT_FILE))
    version = fingerprint.version
    if fingerprint.grid != GRID_NAME:
        findings.differ("plan", FINGERPRINT_FILE, f"grid is {fingerprint.grid!r}, not {GRID_NAME!r}")
    units = _read_units(folder, fingerprint, findings)
    if units is None:
        return findings
    ontology = read_ontology(folder, fingerprint, findings)
    expected = Expected(
        years=fingerprint.years,
        label_values=None if ontology is None else _label_values(ontology, fingerprint.none_labels),
        pairs_only=not fingerprint.allow_single,
        fingerprint=fingerprint.sha256,
        version=version,
        features=None if version.is_newer else frozenset(features_since(version.minor)),
        faults_of_image=_image_checks(fingerprint.filters.settings()),
    )
    with Progress(len(units), "verify", "shards") as progress:
        totals = audit_units(folder, units, expected, findings, progress.update)
    with Progress(None, "verify: what describes the shards"):
        check_sidecars(folder, units, fingerprint, ontology, totals, findings)
    return findings


def _check_is_dataset(folder: DatasetFolder) -> None:
    names = (UNITS_FILE, FINGERPRINT_FILE, DATASET_FILE)
    try:
        if any(folder.exists(name) for name in names):
            return
    except Exception as error:
        # Beam and each cloud's client have classes of their own, e.g. for a scheme that nobody knows.
        raise InvalidInputError(f"This cannot be looked into: {error}. Received: {folder.path}") from error
    raise InvalidInputError(
        f"There is none of {', '.join(names)}: this is no dataset. Received: {folder.path}"
    )


class _Description(pydantic.BaseModel):
    """What is read of `dataset.json` where the plan has no fingerprint."""

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


def _image_checks(filters: FilterSettings) -> Callable[[Image, str], Iterable[tuple[str, str]]]:
    """Returns what judges an image of a tile once more, as it was judged before it was written."""

    def faults(image: Image, tile: str) -> Iterable[tuple[str, str]]:
        bad = bad_fraction(image.scl, filters)
        if bad != image.bad_percent:
            yield "bad_percent", f"{image.item_id} has bad_percent {image.bad_percent}, its SCL gives {bad}"
        rejection = scl_rejection(image.scl, filters) or image_rejection(image, filters)
        if rejection is not None:
            yield "filter", f"{image.item_id} does not pass the fingerprint's filters: {rejection}"
        of_item = tile_of_item({"id": image.item_id})
        if of_item not in (None, tile):
            yield "tile", f"{image.item_id} is of tile {of_item}, its cell of {tile}"

    return faults
