"""Compares the files that describe a dataset with what its plan and its summaries give.

Each is made again by the function that wrote it. What they are made from is read from the files alone: the plan, the
fingerprint, the ontology, what was left out of the extracts.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from beam_pipeline.audit.findings import Findings
from beam_pipeline.audit.shards import list_files, numbered_in_turn, read_file
from beam_pipeline.cells.table import CELLS_FILE, format_cells_csv
from beam_pipeline.dataset import manifest
from beam_pipeline.dataset import units as plan
from beam_pipeline.dataset.closing import (
    DATASET_FILE,
    DEAD_LETTERS_FILE,
    EXTRACTS_FOLDER,
    describe_dataset,
    describe_ontology,
)
from beam_pipeline.dataset.summary import UnitSummary
from beam_pipeline.labels.ontology import Ontology
from beam_pipeline.runtime.faults import Fault
from beam_pipeline.runtime.files import PARTIAL_SUFFIX, TEMPORARY_FOLDER, Files, join

_MALFORMED = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)
"""What code raises that is given JSON of another kind than it expects."""

_KINDS = {DATASET_FILE: "dataset", DEAD_LETTERS_FILE: "dead_letters"}


def read_ontology(
    files: Files, output: str, fingerprint: Mapping[str, Any], findings: Findings
) -> Ontology | None:
    """Reads the ontology of a dataset, and compares it with the fingerprint.

    Args:
        files: The file system.
        output: The dataset's folder.
        fingerprint: The fingerprint.
        findings: Where differences go.

    Returns:
        The ontology; None where it cannot be read.
    """
    name = plan.ONTOLOGY_FILE
    content = read_file(files, output, name, findings, "ontology")
    if content is None:
        return None
    try:
        text = content.decode()
        ontology = Ontology.load(text)
    except ValueError as error:
        findings.differ("ontology", name, f"is no ontology: {error}")
        return None
    if plan.json_text(json.loads(text)) != text:
        findings.differ("ontology", name, "is not laid out as it was written")
    if ontology.sha256 != fingerprint["ontology_sha256"]:
        findings.differ("ontology", name, "is not the ontology of the fingerprint")
    return ontology


def check_sidecars(
    files: Files,
    output: str,
    units: Sequence[plan.Unit],
    fingerprint: Mapping[str, Any],
    ontology: Ontology | None,
    summaries: Sequence[UnitSummary],
    findings: Findings,
) -> None:
    """Compares everything but shards and summaries, and looks for what killed attempts left behind.

    Args:
        files: The file system.
        output: The dataset's folder.
        units: The plan.
        fingerprint: The fingerprint.
        ontology: The ontology of the plan; None where it cannot be read, which is then a difference already.
        summaries: The summaries that can be read.
        findings: Where differences go.
    """
    cells = format_cells_csv(cell for unit in units for cell in unit.cells)
    _compare(files, output, CELLS_FILE, cells, findings)
    launch = _json(files, output, plan.LAUNCH_FILE, "plan", plan.json_text, findings)
    beyond = (launch or {}).get("cells_beyond_extracts")
    planned = sum(len(unit.cells) for unit in units)
    if launch is not None and (
        launch.keys() != {"cells_beyond_extracts"}
        or not (beyond is None or (type(beyond) is int and 0 <= beyond <= planned))
    ):
        findings.differ("plan", plan.LAUNCH_FILE, "does not say how many cells lie beyond the extracts")
    dataset = _json(files, output, DATASET_FILE, "dataset", manifest.to_text, findings)
    described = describe_dataset(
        units=units,
        summaries=summaries,
        fingerprint=fingerprint,
        ontology=describe_ontology(ontology) if ontology else (dataset or {}).get("ontology", {}),
        dropped_from_extracts=_dropped(files, output, fingerprint, findings),
        cells_beyond_extracts=beyond,
    )
    if not numbered_in_turn(units):
        del described["dataset_info.json"]  # which lists as many shards as their names say
    for name, text in described.items():
        try:
            if name != DATASET_FILE:
                _compare(files, output, name, text(), findings)
            elif dataset is not None:
                _compare_dataset(dataset, json.loads(text()), findings)
        except _MALFORMED as error:
            detail = f"the summaries do not describe it: {type(error).__name__}: {error}"
            findings.differ(_KINDS.get(name, "sidecar"), name, detail)
    _check_leftovers(files, output, findings)


def _compare(files: Files, output: str, name: str, expected: str, findings: Findings) -> None:
    kind = _KINDS.get(name, "sidecar")
    content = read_file(files, output, name, findings, kind)
    if content is None:
        return
    findings.checked["sidecars"] += 1
    if content != expected.encode():
        findings.differ(kind, name, "is not what plan and summaries give")


def _compare_dataset(dataset: Mapping[str, Any], again: Mapping[str, Any], findings: Findings) -> None:
    for key in sorted({*dataset, *again} - {"software"}):
        # As text: true is no 1, and a NaN equals itself.
        if key not in dataset or key not in again or _text(dataset[key]) != _text(again[key]):
            findings.differ("dataset", DATASET_FILE, f"{key} is not what plan and summaries add up to")
    software = dataset.get("software")
    # Which versions made it, no other file says.
    if not isinstance(software, dict) or not software or not all(type(it) is str for it in software.values()):
        findings.differ("dataset", DATASET_FILE, "software names no versions")


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _json(
    files: Files, output: str, name: str, kind: str, to_text: Any, findings: Findings
) -> dict[str, Any] | None:
    """Reads a file that holds a JSON object in the layout of `to_text`."""
    content = read_file(files, output, name, findings, kind)
    if content is None:
        return None
    findings.checked["sidecars"] += 1
    try:
        parsed = json.loads(content.decode())
        if not isinstance(parsed, dict):
            raise ValueError("it is no object")
        if to_text(parsed).encode() != content:
            findings.differ(kind, name, "is not laid out as it was written")
    except (ValueError, RecursionError) as error:
        findings.differ(kind, name, f"cannot be read: {error}")
        return None
    return parsed


def _dropped(
    files: Files, output: str, fingerprint: Mapping[str, Any], findings: Findings
) -> dict[str, dict[str, Any]]:
    """Reads what was left out of each extract."""
    osm = fingerprint.get("osm")
    extracts = [it.get("name") for it in osm if isinstance(it, dict)] if isinstance(osm, list) else []
    dropped = {}
    for file in list_files(files, output, f"{EXTRACTS_FOLDER}/*.json", findings):
        name = file.partition("/")[2].removesuffix(".json")
        if name not in extracts:
            findings.differ("sidecar", file, "is of no extract of the fingerprint")
        content = _json(files, output, file, "sidecar", manifest.to_text, findings)
        if content is not None:
            dropped[name] = content
    return dropped


def _check_leftovers(files: Files, output: str, findings: Findings) -> None:
    left = [
        name
        for pattern in (f"{TEMPORARY_FOLDER}/*", f"*{PARTIAL_SUFFIX}", f"*/*{PARTIAL_SUFFIX}")
        for name in list_files(files, output, pattern, findings)
    ]
    try:
        left += [TEMPORARY_FOLDER] if not left and files.exists(join(output, TEMPORARY_FOLDER)) else []
    except Fault as fault:
        findings.differ("unreadable", TEMPORARY_FOLDER, fault.detail)
    for name in dict.fromkeys(left):
        findings.differ("leftover", name, "was left behind by an attempt that was killed")
