"""Reads a dataset and compares everything in it with everything else."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tqdm import tqdm

from beam_pipeline.audit.findings import Findings
from beam_pipeline.audit.shards import Expected, audit_units, read_file
from beam_pipeline.audit.sidecars import check_sidecars, read_ontology
from beam_pipeline.cells.grid import GRID_NAME
from beam_pipeline.cells.table import CELLS_FILE, parse_cells_csv
from beam_pipeline.dataset import units as plan
from beam_pipeline.dataset.closing import DATASET_FILE
from beam_pipeline.dataset.fingerprint import FINGERPRINT_FILE, fingerprint_sha256
from beam_pipeline.imagery.chips import FilterSettings, bad_fraction, image_rejection, scl_rejection
from beam_pipeline.imagery.image import Image
from beam_pipeline.imagery.stac_item import tile_of_item
from beam_pipeline.labels.label_image import NONE, UNLABELED
from beam_pipeline.labels.ontology import Ontology
from beam_pipeline.records.schema import SCHEMA_VERSION
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.files import Files, join

_MALFORMED = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)


def verify_dataset(files: Files, output: str) -> Findings:
    """Reads a dataset and compares everything in it with everything else; shows a progress bar.

    Args:
        files: The file system.
        output: The dataset's folder.

    Returns:
        What was checked and what differs.

    Raises:
        InvalidInputError: The folder holds neither a plan nor a description of a dataset, or cannot be looked into.
    """
    _check_is_dataset(files, output)
    findings = Findings()
    fingerprint = _read_fingerprint(files, output, findings)
    if fingerprint is None:
        return findings
    for key, ours in (("schema_version", SCHEMA_VERSION), ("grid", GRID_NAME)):
        if fingerprint.get(key) != ours:
            findings.differ("plan", FINGERPRINT_FILE, f"{key} is {fingerprint.get(key)!r}, not {ours!r}")
    units = _read_units(files, output, fingerprint, findings)
    if units is None:
        return findings
    ontology = read_ontology(files, output, fingerprint, findings)
    expected = Expected(
        years=tuple(fingerprint["years"]),
        label_values=None if ontology is None else _label_values(ontology, fingerprint["none_labels"]),
        pairs_only=not fingerprint["allow_single"],
        fingerprint=fingerprint_sha256(fingerprint),
        faults_of_image=_image_checks(_filters(fingerprint)),
    )
    with tqdm(total=len(units), unit="shard", desc="verify", leave=False) as bar:
        summaries = audit_units(files, output, units, expected, findings, bar.update)
    check_sidecars(files, output, units, fingerprint, ontology, summaries, findings)
    return findings


def _check_is_dataset(files: Files, output: str) -> None:
    try:
        names = (plan.UNITS_FILE, FINGERPRINT_FILE, DATASET_FILE)
        if any(files.exists(join(output, name)) for name in names):
            return
    except Exception as error:
        # Beam and each cloud's client have classes of their own, e.g. for a scheme that nobody knows.
        raise InvalidInputError(f"This cannot be looked into: {error}. Received: {output}") from error
    raise InvalidInputError(f"There is none of {', '.join(names)}: this is no dataset. Received: {output}")


def _read_fingerprint(files: Files, output: str, findings: Findings) -> dict[str, Any] | None:
    """Reads the plan's fingerprint, or where it cannot be read the copy that dataset.json holds."""
    name = FINGERPRINT_FILE
    content = read_file(files, output, name, findings, "plan")
    if content is not None:
        try:
            given = _checked_fingerprint(json.loads(content.decode()))
            if plan.json_text(given).encode() != content:
                findings.differ("plan", name, "is not laid out as it was written")
            return given
        except _MALFORMED as error:
            findings.differ("plan", name, f"cannot be read: {type(error).__name__}: {error}")
    copy = read_file(files, output, DATASET_FILE, findings, "dataset")
    if copy is not None:
        try:
            return _checked_fingerprint(json.loads(copy.decode())["fingerprint"])
        except _MALFORMED as error:
            findings.differ("dataset", DATASET_FILE, f"cannot be read: {type(error).__name__}: {error}")
    return None


def _checked_fingerprint(given: Any) -> dict[str, Any]:
    """Checks what is read of a fingerprint; raises one of `_MALFORMED`."""
    if not given["years"] or not all(type(year) is int for year in given["years"]):
        raise ValueError(f"years are {given['years']!r}")
    for key, kind in (("allow_single", bool), ("none_labels", bool), ("ontology_sha256", str)):
        if type(given[key]) is not kind:
            raise TypeError(f"{key} is {given[key]!r}")
    _ = given["cells_sha256"], given["cells_per_shard"], _filters(given)
    return dict(given)


def _filters(fingerprint: Mapping[str, Any]) -> FilterSettings:
    filters = FilterSettings(
        **{**fingerprint["filters"], "bad_scl": tuple(fingerprint["filters"]["bad_scl"])}
    )
    limits = (filters.max_bad_fraction, filters.max_min_reflectance)
    classes = all(type(it) is int and 0 <= it < 256 for it in filters.bad_scl)
    if (
        not classes
        or not all(type(it) in (int, float) for it in limits)
        or type(filters.allow_nodata) is not bool
    ):
        raise TypeError(f"filters are {filters}")
    return filters


def _read_units(
    files: Files, output: str, fingerprint: Mapping[str, Any], findings: Findings
) -> list[plan.Unit] | None:
    """Reads the plan, or where it cannot be read cuts the cells of the CSV once more; None where neither can be."""
    content = read_file(files, output, plan.UNITS_FILE, findings, "plan")
    if content is not None:
        if hashlib.sha256(content).hexdigest() != fingerprint["cells_sha256"]:
            findings.differ("plan", plan.UNITS_FILE, "is not the plan whose hash is in the fingerprint")
        try:
            units = [plan.Unit.from_json(line) for line in content.decode().splitlines()]
            if units:
                return units
            raise ValueError("it holds no unit")
        except _MALFORMED as error:
            findings.differ("plan", plan.UNITS_FILE, f"cannot be read: {type(error).__name__}: {error}")
    cells = read_file(files, output, CELLS_FILE, findings, None)
    try:
        return plan.make_units(
            parse_cells_csv((cells or b"").decode(), CELLS_FILE), max(1, int(fingerprint["cells_per_shard"]))
        )
    except _MALFORMED as error:
        findings.differ("plan", CELLS_FILE, f"holds no plan either: {type(error).__name__}: {error}")
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
