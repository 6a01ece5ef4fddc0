"""Compares the files that describe a dataset with what its plan and its summaries give.

Each is made again by the function that wrote it. What they are made from is read from the files alone: the plan, the
fingerprint, the ontology, what was left out of the extracts.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pydantic

from beam_pipeline.audit.findings import LEFTOVER, MOST_SHOWN, NOT_RENAMED, Findings
from beam_pipeline.audit.reading import list_files, read_file
from beam_pipeline.cells.table import CELLS_FILE, format_cells_csv
from beam_pipeline.dataset.closing import sidecar_texts
from beam_pipeline.dataset.extract_records import (
    STORE_RECORDS,
    dropped_of_store,
    format_dropped,
    parse_dropped,
)
from beam_pipeline.dataset.fingerprint import Fingerprint
from beam_pipeline.dataset.folder import (
    DATASET_FILE,
    DEAD_LETTERS_FILE,
    EXTRACTS_FOLDER,
    GIVEN_STORE_FILE,
    LAUNCH_FILE,
    ONTOLOGY_FILE,
    STORE_FOLDER,
    WATER_FILE,
    DatasetFolder,
    description_json,
    plan_json,
)
from beam_pipeline.dataset.launch_record import LaunchRecord
from beam_pipeline.dataset.manifest import dataset_json, describe_ontology
from beam_pipeline.dataset.totals import Totals
from beam_pipeline.dataset.units import Unit
from beam_pipeline.features.store_json import Store
from beam_pipeline.labels.feature import Dropped
from beam_pipeline.labels.ontology import Ontology
from beam_pipeline.labels.ontology_1_0 import load_1_0
from beam_pipeline.runtime.faults import Fault, InvalidInputError
from beam_pipeline.runtime.files import TEMPORARY_FOLDER
from beam_pipeline.runtime.parsing import MalformedError, parse_json
from beam_pipeline.runtime.whole_files import PARTIAL_SUFFIX

_OBJECT: pydantic.TypeAdapter[dict[str, Any]] = pydantic.TypeAdapter(dict[str, Any])
_VERSIONS: pydantic.TypeAdapter[dict[str, str]] = pydantic.TypeAdapter(dict[str, str])


def read_ontology(folder: DatasetFolder, fingerprint: Fingerprint, findings: Findings) -> Ontology | None:
    """Reads the ontology of a dataset, and compares it with the fingerprint.

    Args:
        folder: The dataset's folder.
        fingerprint: The fingerprint.
        findings: Where differences go.

    Returns:
        The ontology; None where it cannot be read.
    """
    content = read_file(folder, ONTOLOGY_FILE, findings, "ontology")
    if content is None:
        return None
    try:
        plain = parse_json(_OBJECT, content)
        load = load_1_0 if fingerprint.version[:2] == (1, 0) else Ontology.load
        ontology = load(content.decode())
    except (MalformedError, InvalidInputError) as error:
        findings.differ("ontology", ONTOLOGY_FILE, f"is no ontology: {error}")
        return None
    if plan_json(plain).encode() != content:
        findings.differ("ontology", ONTOLOGY_FILE, "is not laid out as it was written")
    if ontology.sha256 != fingerprint.ontology_sha256:
        findings.differ("ontology", ONTOLOGY_FILE, "is not the ontology of the fingerprint")
    return ontology


def check_sidecars(
    folder: DatasetFolder,
    units: Sequence[Unit],
    fingerprint: Fingerprint,
    ontology: Ontology | None,
    totals: Totals,
    findings: Findings,
) -> None:
    """Compares everything but shards and summaries, and looks for what killed attempts left behind.

    Args:
        folder: The dataset's folder.
        units: The plan.
        fingerprint: The fingerprint.
        ontology: The ontology of the plan; None where it cannot be read, which is then a difference already.
        totals: Of the summaries that can be read.
        findings: Where differences go.
    """
    newer = fingerprint.version.is_newer
    texts = {CELLS_FILE: format_cells_csv(cell for unit in units for cell in unit.cells)}
    texts |= sidecar_texts(units, totals.summaries, fingerprint)
    for name, text in texts.items():
        _compare(folder, name, text, newer, findings)
    launch = _read_launch(folder, units, newer, findings)
    dropped = _dropped(folder, fingerprint, findings)
    _check_sea(folder, fingerprint, findings)
    dataset = _read_json(folder, DATASET_FILE, "dataset", description_json, findings)
    if dataset is not None and ontology is not None:
        described = dataset_json(
            fingerprint=fingerprint,
            units=units,
            ontology=describe_ontology(ontology),
            totals=totals,
            dropped_from_extracts=dropped,
            cells_beyond_extracts=launch.cells_beyond_extracts,
            imported=launch.imported,
        )
        if newer:
            dataset = _known(dataset, described, findings)
        _compare_dataset(dataset, described, findings)
    check_leftovers(folder, findings)


def _check_sea(folder: DatasetFolder, fingerprint: Fingerprint, findings: Findings) -> None:
    if fingerprint.water_polygons is None:
        return
    content = read_file(folder, WATER_FILE, findings, "sidecar")
    if content is None:
        return
    findings.checked["sidecars"] += 1
    if hashlib.sha256(content).hexdigest() != fingerprint.water_polygons.sha256:
        findings.differ("sidecar", WATER_FILE, "is not the sea of the fingerprint")


def _compare(folder: DatasetFolder, name: str, expected: str, newer: bool, findings: Findings) -> None:
    kind = "dead_letters" if name == DEAD_LETTERS_FILE else "sidecar"
    content = read_file(folder, name, findings, kind)
    if content is None:
        return
    findings.checked["sidecars"] += 1
    if content == expected.encode():
        return
    if newer:
        findings.leave_unchecked(name, "it is not what is known here")
    else:
        findings.differ(kind, name, "is not what plan and summaries give")


def _known(dataset: dict[str, Any], described: Mapping[str, Any], findings: Findings) -> dict[str, Any]:
    """Returns what our own version says too of what a later one says, and notes the rest."""
    left: list[str] = []

    def known(given: Any, ours: Any, path: str) -> Any:
        if isinstance(given, dict) and isinstance(ours, Mapping):
            left.extend(f"{path}.{key}" for key in sorted({*given} - {*ours}))
            return {key: known(given[key], ours[key], f"{path}.{key}") for key in given if key in ours}
        if isinstance(given, list) and isinstance(ours, Sequence) and len(given) == len(ours):
            pairs = enumerate(zip(given, ours, strict=True))
            return [known(*pair, f"{path}[{index}]") for index, pair in pairs]
        return given

    same = {**known(dataset, described, ""), "software": dataset.get("software")}
    if left:
        more = f" and {len(left) - MOST_SHOWN} more" if len(left) > MOST_SHOWN else ""
        names = [path.removeprefix(".") for path in left[:MOST_SHOWN]]
        findings.leave_unchecked(DATASET_FILE, ", ".join(names) + more)
    return same


def _compare_dataset(dataset: Mapping[str, Any], again: Mapping[str, Any], findings: Findings) -> None:
    for key in sorted({*dataset, *again} - {"software"}):
        # As text: true is no 1, and a NaN equals itself.
        if key not in dataset or key not in again or _text(dataset[key]) != _text(again[key]):
            findings.differ("dataset", DATASET_FILE, f"{key} is not what plan and summaries add up to")
    # Which versions made it, no other file says.
    try:
        named = bool(_VERSIONS.validate_python(dataset.get("software"), strict=True))
    except pydantic.ValidationError:
        named = False
    if not named:
        findings.differ("dataset", DATASET_FILE, "software names no versions")


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _read_json(
    folder: DatasetFolder,
    name: str,
    kind: str,
    to_text: Callable[[Mapping[str, Any]], str],
    findings: Findings,
) -> dict[str, Any] | None:
    """Reads a file that holds a JSON object in the layout of `to_text`."""
    content = read_file(folder, name, findings, kind)
    if content is None:
        return None
    findings.checked["sidecars"] += 1
    try:
        plain = parse_json(_OBJECT, content)
    except MalformedError as error:
        findings.differ(kind, name, f"cannot be read: {error}")
        return None
    if to_text(plain).encode() != content:
        findings.differ(kind, name, "is not laid out as it was written")
    return plain


_NO_LAUNCH = LaunchRecord(cells_beyond_extracts=None)


def _read_launch(
    folder: DatasetFolder, units: Sequence[Unit], newer: bool, findings: Findings
) -> LaunchRecord:
    """Returns what the launcher found."""
    content = read_file(folder, LAUNCH_FILE, findings, "plan")
    if content is None:
        return _NO_LAUNCH
    findings.checked["sidecars"] += 1
    try:
        launch = LaunchRecord.from_json(content)
    except MalformedError as error:
        findings.differ("plan", LAUNCH_FILE, f"cannot be read: {error}")
        return _NO_LAUNCH
    if launch.to_json().encode() != content:
        findings.differ("plan", LAUNCH_FILE, "is not laid out as it was written")
    if launch.model_extra and newer:
        findings.leave_unchecked(LAUNCH_FILE, ", ".join(sorted(launch.model_extra)))
    elif launch.model_extra:
        findings.differ("plan", LAUNCH_FILE, f"holds what no launch writes: {', '.join(launch.model_extra)}")
    planned = sum(len(unit.cells) for unit in units)
    if launch.cells_beyond_extracts is not None and launch.cells_beyond_extracts > planned:
        findings.differ("plan", LAUNCH_FILE, "says that more cells lie beyond the extracts than are planned")
    return launch


def _dropped(folder: DatasetFolder, fingerprint: Fingerprint, findings: Findings) -> dict[str, Dropped]:
    """Reads what was left out of each extract: the store says so, or the records of older datasets.

    What else the store of the dataset says is compared in `audit.store`.
    """
    for name in (it for pattern in STORE_RECORDS for it in list_files(folder, pattern, findings)):
        content = read_file(folder, name, findings, "sidecar")
        if content is None:
            continue
        findings.checked["sidecars"] += 1
        try:
            store = Store.from_json(content)
        except MalformedError as error:
            if name == GIVEN_STORE_FILE:
                findings.differ("sidecar", name, f"cannot be read: {error}")
            continue
        if name == GIVEN_STORE_FILE and store.to_json().encode() != content:
            findings.differ("sidecar", name, "is not laid out as it was written")
        if not is_of(store, fingerprint):
            findings.differ("sidecar", name, "is of other extracts than the fingerprint")
        return dropped_of_store(store)
    return _recorded(folder, fingerprint, findings)


def is_of(store: Store, fingerprint: Fingerprint) -> bool:
    """Tells whether a store is of the map of a fingerprint."""
    if isinstance(fingerprint.osm, str):
        return (store.source, store.url, store.date) == ("overpass", fingerprint.osm, fingerprint.osm_date)
    asked = sorted((it.name, it.bytes, it.timestamp) for it in fingerprint.osm)
    given = sorted((it.extract.name, it.extract.bytes, it.extract.timestamp) for it in store.extracts)
    return store.source == "extracts" and given == asked


def _recorded(folder: DatasetFolder, fingerprint: Fingerprint, findings: Findings) -> dict[str, Dropped]:
    dropped = {}
    for file in list_files(folder, f"{EXTRACTS_FOLDER}/*.json", findings):
        name = file.partition("/")[2].removesuffix(".json")
        if name not in fingerprint.extract_names:
            findings.differ("sidecar", file, "is of no extract of the fingerprint")
        content = read_file(folder, file, findings, "sidecar")
        if content is None:
            continue
        findings.checked["sidecars"] += 1
        try:
            dropped[name] = parse_dropped(content)
        except MalformedError as error:
            findings.differ("sidecar", file, f"cannot be read: {error}")
            continue
        if format_dropped(dropped[name]).encode() != content:
            findings.differ("sidecar", file, "is not laid out as it was written")
    return dropped


def check_leftovers(folder: DatasetFolder, findings: Findings) -> None:
    """Looks for files that grew aside and did not get their names.

    Args:
        folder: The dataset's folder.
        findings: Where they go.
    """
    left = [
        name
        for pattern in (f"{TEMPORARY_FOLDER}/*", f"*{PARTIAL_SUFFIX}", f"*/*{PARTIAL_SUFFIX}")
        for name in list_files(folder, pattern, findings)
    ]
    try:
        left += [TEMPORARY_FOLDER] if not left and folder.exists(TEMPORARY_FOLDER) else []
    except Fault as fault:
        findings.unreadable(TEMPORARY_FOLDER, fault.detail)
    for name in dict.fromkeys(
        it for it in left if not it.startswith(f"{STORE_FOLDER}/")
    ):  # `audit.store` tells
        findings.differ(LEFTOVER, name, NOT_RENAMED)
