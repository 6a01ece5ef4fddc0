"""Reads a dataset and compares everything in it with everything else."""

from collections.abc import Callable

from beam_pipeline.audit.features import check_features
from beam_pipeline.audit.findings import Findings
from beam_pipeline.audit.plan import AuditPlan, read_plan
from beam_pipeline.audit.processes import audit_in_processes, processes_for
from beam_pipeline.audit.reading import check_regular
from beam_pipeline.audit.shards import AuditPart, UnitAudit
from beam_pipeline.audit.sidecars import check_sidecars
from beam_pipeline.dataset.folder import DATASET_FILE, FINGERPRINT_FILE, UNITS_FILE, DatasetFolder
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.progress import Progress


def verify_dataset(
    folder: DatasetFolder, processes: int | None = 1, ready: Callable[[], None] | None = None
) -> Findings:
    """Reads a dataset and compares everything in it with everything else; shows how far it is.

    Args:
        folder: The dataset's folder.
        processes: How many processes read shards; None for as many as are of use. What is found is the same.
        ready: Called in each further process before it reads, as `audit_in_processes` has it.

    Returns:
        What was checked and what differs.

    Raises:
        InvalidInputError: The folder holds neither a plan nor a description of a dataset, cannot be looked into, or
            is of another major version.
        ProcessLost: A process that read shards was killed.
    """
    part, plan = open_audit(folder)
    if plan is None:
        return part.findings
    audit = UnitAudit(folder, plan.expected)
    count = processes_for(plan, processes)
    with Progress(len(plan.units), "verify", "shards") as progress:
        if count > 1:
            progress.note(processes=str(count))
            audited = audit_in_processes(audit, plan.units, count, ready)
        else:
            audited = map(audit, plan.units)
        for of_unit in audited:
            part.merge(of_unit)
            progress.update()
    with Progress(None, "verify: what describes the shards"):
        close_audit(folder, plan, part)
    return part.findings


def open_audit(folder: DatasetFolder) -> tuple[AuditPart, AuditPlan | None]:
    """Looks at what must be known before a shard is read.

    Args:
        folder: The dataset's folder.

    Returns:
        What was found so far, to which that of the units is merged in the plan's order, and the plan. Where there is
        no plan nothing further can be found.

    Raises:
        InvalidInputError: As `verify_dataset`.
    """
    _check_is_dataset(folder)
    part = AuditPart()
    check_regular(folder, part.findings)
    check_features(folder, part.findings)
    return part, read_plan(folder, part.findings)


def close_audit(folder: DatasetFolder, plan: AuditPlan, part: AuditPart) -> None:
    """Compares what describes a dataset with what was found in it.

    Args:
        folder: The dataset's folder.
        plan: From `open_audit`.
        part: What was found before, all units included; what is found here is added.
    """
    check_sidecars(folder, plan.units, plan.fingerprint, plan.ontology, part.totals, part.findings)


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
