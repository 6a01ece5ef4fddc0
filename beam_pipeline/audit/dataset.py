"""Reads a dataset, or a store of features alone, and compares everything in it with everything else."""

import dataclasses
from collections.abc import Callable
from typing import TypeAlias

from beam_pipeline.audit.features import check_features
from beam_pipeline.audit.findings import Findings
from beam_pipeline.audit.given_store import LABELS_NOT_COMPARED, check_serves, open_given, own_store
from beam_pipeline.audit.labels import LabelSource
from beam_pipeline.audit.parts import AuditPart
from beam_pipeline.audit.plan import AuditPlan, read_plan
from beam_pipeline.audit.processes import audit_in_processes, processes_for
from beam_pipeline.audit.reading import check_regular
from beam_pipeline.audit.shards import UnitAudit
from beam_pipeline.audit.sidecars import check_sidecars
from beam_pipeline.audit.store import StorePlan, close_store, read_store
from beam_pipeline.audit.tiles import TileAudit, TileWork
from beam_pipeline.dataset.folder import (
    DATASET_FILE,
    FINGERPRINT_FILE,
    GIVEN_STORE_FILE,
    UNITS_FILE,
    DatasetFolder,
)
from beam_pipeline.dataset.units import Unit
from beam_pipeline.features.plan import REQUEST_FILE
from beam_pipeline.features.schema import STORE_FILE
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.progress import Progress

Item: TypeAlias = Unit | TileWork
"""An item of an audit, looked at by itself: a unit of a dataset, or a tile of a store."""


@dataclasses.dataclass(frozen=True)
class Asked:
    """The choices that a person makes beside the folder.

    Attributes:
        features: The folder of the store of features of which the dataset was built; "" for its own.
        with_labels: Whether labels are drawn anew from the store, and compared.
    """

    features: str = ""
    with_labels: bool = True


_ALL = Asked()


@dataclasses.dataclass(frozen=True)
class ItemAudit:
    """Audits one item. It pickles, if its folders do.

    Attributes:
        unit: Audits a unit; None of a store alone.
        tile: Audits a tile; None where no store is looked at.
    """

    unit: UnitAudit | None
    tile: TileAudit | None

    def __call__(self, item: Item) -> AuditPart:
        """Returns what was found in an item alone."""
        if isinstance(item, Unit) and self.unit is not None:
            return self.unit(item)
        if isinstance(item, TileWork) and self.tile is not None:
            return self.tile(item)
        raise ValueError(f"nothing audits {item}")


@dataclasses.dataclass(frozen=True)
class Audit:
    """The folder of an audit, and the plans by which it goes.

    Attributes:
        folder: The folder.
        plan: Of the dataset; None of a store alone.
        store: Of the store; None where none is looked at.
        with_labels: As `Asked.with_labels`.
    """

    folder: DatasetFolder
    plan: AuditPlan | None
    store: StorePlan | None
    with_labels: bool

    @property
    def items(self) -> list[Item]:
        """The items that are looked at one by one, in the order in which they are told."""
        units = () if self.plan is None else self.plan.units
        return [*units, *(() if self.store is None else self.store.works)]

    @property
    def item_audit(self) -> ItemAudit:
        """Audits one of the items."""
        unit = None if self.plan is None else UnitAudit(self.folder, self.plan.expected, self._labels)
        return ItemAudit(unit, None if self.store is None else self.store.audit)

    @property
    def _labels(self) -> LabelSource | None:
        plan, store = self.plan, self.store
        if plan is None or store is None or plan.ontology is None or not self.with_labels:
            return None
        water = plan.fingerprint.water_polygons
        return LabelSource(
            dataset=self.folder,
            store=store.folder,
            ontology=plan.ontology,
            none_labels=plan.fingerprint.none_labels,
            sea_sha256=None if water is None else water.sha256,
        )


def verify_dataset(
    folder: DatasetFolder,
    processes: int | None = 1,
    ready: Callable[[], None] | None = None,
    asked: Asked = _ALL,
) -> Findings:
    """Reads a dataset and compares everything in it with everything else; shows how far it is.

    Args:
        folder: The dataset's folder, or that of a store of features.
        processes: How many processes read shards; None for as many as are of use. What is found is the same.
        ready: Called in each further process before it reads, as `audit_in_processes` has it.
        asked: What else is asked for.

    Returns:
        What was checked and what differs.

    Raises:
        InvalidInputError: The folder holds neither a plan nor a description of a dataset or a store, cannot be looked
            into, or is of another major version; or the store that is asked for cannot be that of the dataset.
        ProcessLost: A process that read shards was killed.
    """
    part, audit = open_audit(folder, asked)
    if audit is None:
        return part.findings
    items = audit.items
    count = processes_for(audit.plan, audit.store, processes)
    with Progress(len(items), "verify", "shards" if audit.plan is not None else "tiles") as progress:
        if count > 1:
            progress.note(processes=str(count))
            audited = audit_in_processes(audit.item_audit, items, count, ready)
        else:
            audited = map(audit.item_audit, items)
        for of_item in audited:
            part.merge(of_item)
            progress.update()
    with Progress(None, "verify: what describes the shards"):
        close_audit(audit, part)
    return part.findings


def open_audit(folder: DatasetFolder, asked: Asked = _ALL) -> tuple[AuditPart, Audit | None]:
    """Looks at what must be known before a shard is read.

    Args:
        folder: The folder.
        asked: What is asked for.

    Returns:
        What was found so far, to which that of the items is merged in their order, and what the audit goes by. Where
        there is no plan nothing further can be found.

    Raises:
        InvalidInputError: As `verify_dataset`.
    """
    part = AuditPart()
    if _is_store(folder):
        if asked.features:
            raise InvalidInputError(
                f"--features is of a dataset, and this is a store of features itself. Received: {folder.path}"
            )
        store = read_store(folder, "", part.findings, may_grow=False)
        return part, None if store is None else Audit(folder, None, store, asked.with_labels)
    check_regular(folder, part.findings)
    check_features(folder, part.findings)
    plan = read_plan(folder, part.findings)
    if plan is None:
        return part, None
    if asked.features:
        store = open_given(folder, asked.features, plan, part.findings)
    else:
        store = own_store(folder, part.findings)
        if store is None and asked.with_labels and _is_there(folder, GIVEN_STORE_FILE):
            part.findings.note(LABELS_NOT_COMPARED)
    return part, Audit(folder, plan, store, asked.with_labels)


def close_audit(audit: Audit, part: AuditPart) -> None:
    """Compares what describes a dataset with what was found in it.

    Args:
        audit: From `open_audit`.
        part: What was found before, all items included; what is found here is added.
    """
    plan, store, findings = audit.plan, audit.store, part.findings
    if store is not None:
        close_store(store, part.store, findings)
        if plan is not None:
            check_serves(store, plan, findings)
    if plan is not None:
        check_sidecars(audit.folder, plan.units, plan.fingerprint, plan.ontology, part.totals, findings)


def _is_store(folder: DatasetFolder) -> bool:
    """Tells a store of features from a dataset; refuses what is neither."""
    names = (UNITS_FILE, FINGERPRINT_FILE, DATASET_FILE)
    if any(_is_there(folder, name) for name in names):
        return False
    if any(_is_there(folder, name) for name in (STORE_FILE, REQUEST_FILE)):
        return True
    raise InvalidInputError(
        f"There is none of {', '.join(names)}: this is no dataset. Received: {folder.path}"
    )


def _is_there(folder: DatasetFolder, name: str) -> bool:
    try:
        return folder.exists(name)
    except Exception as error:
        # Beam and each cloud's client have classes of their own, e.g. for a scheme that nobody knows.
        raise InvalidInputError(f"This cannot be looked into: {error}. Received: {folder.path}") from error
