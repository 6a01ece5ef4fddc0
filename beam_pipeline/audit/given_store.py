"""The store of features of a dataset: its own, or the one that it was built of."""

from collections.abc import Iterator

from beam_pipeline.audit.findings import Findings
from beam_pipeline.audit.plan import AuditPlan
from beam_pipeline.audit.reading import list_files, read_file
from beam_pipeline.audit.sidecars import is_of
from beam_pipeline.audit.store import StorePlan, read_store
from beam_pipeline.dataset.folder import GIVEN_STORE_FILE, STORE_FOLDER, DatasetFolder
from beam_pipeline.features.plan import tiles_of
from beam_pipeline.features.schema import STORE_FILE
from beam_pipeline.features.store_json import Store
from beam_pipeline.labels.store_keys import PADDING_M, drawn_keys
from beam_pipeline.records.version import CONTENTS
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.files import join
from beam_pipeline.runtime.parsing import MalformedError

LABELS_NOT_COMPARED = (
    "labels are not compared with the map: --features FOLDER names the store that they were drawn of"
)


def own_store(folder: DatasetFolder, findings: Findings) -> StorePlan | None:
    """Reads the store that a dataset holds.

    Args:
        folder: The dataset's folder.
        findings: Where differences go.

    Returns:
        Its plan; None where the dataset holds none, as those of older versions, or it says nothing of itself.
    """
    if not _holds_store(folder, findings):
        return None
    inner = DatasetFolder(folder.files, folder.at(STORE_FOLDER))
    return read_store(inner, f"{STORE_FOLDER}/", findings, may_grow=True)


def open_given(folder: DatasetFolder, path: str, plan: AuditPlan, findings: Findings) -> StorePlan | None:
    """Reads the store of which a dataset is said to be built.

    Args:
        folder: The dataset's folder.
        path: The store's folder.
        plan: Of the dataset.
        findings: Where differences go.

    Returns:
        Its plan, or None.

    Raises:
        InvalidInputError: It cannot be that store.
    """
    if _holds_store(folder, findings):
        raise InvalidInputError(
            f"--features is of a dataset that holds no features itself; leave it out. Received: {path}"
        )
    if plan.fingerprint.version < CONTENTS:
        raise InvalidInputError(
            f"--features is of datasets from version {CONTENTS} on, and this one is of {plan.fingerprint.version}. "
            f"Leave it out. Received: {path}"
        )
    store = DatasetFolder(folder.files, path)
    try:
        described = Store.from_json(store.read_bytes(STORE_FILE))
    except MalformedError as error:
        raise InvalidInputError(
            f"--features is no store that can be read: {error}. Received: {store.at(STORE_FILE)}"
        ) from error
    except Exception as error:  # cloud clients raise classes of their own
        raise InvalidInputError(
            f"--features cannot be read: {error}. Give the folder that extract_features wrote. Received: {path}"
        ) from error
    if not is_of(described, plan.fingerprint):
        raise InvalidInputError(
            f"--features is a store of another map than that of the dataset. Received: {path}"
        )
    read = read_store(store, join(path, ""), findings, may_grow=False)
    kept = read_file(folder, GIVEN_STORE_FILE, findings, None)
    if read is not None and kept is not None and kept != described.to_json().encode():
        findings.differ("store", join(path, STORE_FILE), f"is another one than in {GIVEN_STORE_FILE}")
    return read


def check_serves(store: StorePlan, plan: AuditPlan, findings: Findings) -> None:
    """Checks that a store is one of which the labels of a dataset can be drawn.

    Args:
        store: The store.
        plan: Of the dataset.
        findings: Where differences go.
    """
    for detail in _lacking(store, plan):
        findings.differ("store", store.shown + STORE_FILE, detail)


def _lacking(store: StorePlan, plan: AuditPlan) -> Iterator[str]:
    if plan.ontology is not None:
        keys = sorted({*drawn_keys(plan.ontology)} - {*store.planned.keys})
        if keys:
            yield f"lacks key {keys[0]}, which the dataset's ontology draws"
    if store.planned.padding_m < PADDING_M:
        yield f"reaches {store.planned.padding_m:g} m beyond the chips, and {PADDING_M:g} m are needed"
    held = {tile.tile: tile.chips for tile in store.tiles if tile.cells}
    known = all(tile.cells for tile in store.tiles)
    for tile in tiles_of(cell for unit in plan.units for cell in unit.cells):
        for cell_id, chip in tile.cells:
            if known and held.get(tile.tile, {}).get(cell_id) != chip:
                yield f"is not for cell {cell_id} of the dataset's plan, or for another chip of it"


def _holds_store(folder: DatasetFolder, findings: Findings) -> bool:
    patterns = (f"{STORE_FOLDER}/*", f"{STORE_FOLDER}/plan/*")
    return any(list_files(folder, pattern, findings) for pattern in patterns)
