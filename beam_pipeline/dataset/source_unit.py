"""Reads a unit of a dataset of which the images are taken over, and proves it whole on the way."""

import dataclasses

from beam_pipeline.dataset.commits import read_summary
from beam_pipeline.dataset.fingerprint import Fingerprint
from beam_pipeline.dataset.folder import DatasetFolder, summary_name
from beam_pipeline.dataset.outcomes import DeadLetter
from beam_pipeline.dataset.summary import UnitSummary
from beam_pipeline.dataset.units import Unit
from beam_pipeline.records.schema import features_since
from beam_pipeline.records.shards import HashedFile, parse_shard
from beam_pipeline.records.stored_example import StoredExample
from beam_pipeline.runtime.faults import PermanentFault
from beam_pipeline.runtime.parsing import MalformedError

MISSING = "missing_in_source"
"""Reason of the faults of a unit that the source has not done yet."""

DAMAGED = "damaged_source"
"""Reason of the faults of a unit whose shard or summary is not what was written."""


@dataclasses.dataclass(frozen=True)
class SourceUnit:
    """A unit of the source.

    Attributes:
        summary: Its summary.
        examples: All its examples, in order.
    """

    summary: UnitSummary
    examples: tuple[StoredExample, ...]


def read_source_unit(
    source: DatasetFolder, unit: Unit, fingerprint: Fingerprint
) -> SourceUnit | tuple[DeadLetter, ...]:
    """Reads a unit of a source.

    Args:
        source: The dataset's folder.
        unit: The unit as planned.
        fingerprint: That of the source.

    Returns:
        The unit; or the dead letters of one that failed as a whole there.

    Raises:
        PermanentFault: `MISSING` or `DAMAGED`.
        TransientFault: The storage failed.
    """
    summary = _read_summary(source, unit, fingerprint)
    if summary.status == "failed":
        return summary.dead_letters
    size = source.size(unit.name)
    if size is None:
        raise PermanentFault(
            MISSING, f"{source.at(unit.name)} is not there: the source is not built to its end"
        )
    if size != summary.num_bytes:
        raise _damaged(source, unit.name, f"has {size} bytes, not {summary.num_bytes}")
    features = frozenset(features_since(fingerprint.version.minor))
    examples: list[StoredExample] = []
    with source.open(unit.name) as file:
        hashed = HashedFile(file)
        try:
            for payload in parse_shard(hashed, unit.name):
                if len(examples) == summary.examples:
                    raise _damaged(source, unit.name, f"has more than {summary.examples} examples")
                examples.append(StoredExample(payload, features))
        except PermanentFault as fault:
            if fault.reason not in ("corrupt_shard", "corrupt_example"):
                raise
            raise _damaged(source, unit.name, fault.detail) from fault
    if hashed.sha256.hexdigest() != summary.sha256:
        raise _damaged(source, unit.name, f"has SHA-256 {hashed.sha256.hexdigest()}, not {summary.sha256}")
    _require_planned(source, unit, summary, examples, fingerprint.years)
    return SourceUnit(summary, tuple(examples))


def _read_summary(source: DatasetFolder, unit: Unit, fingerprint: Fingerprint) -> UnitSummary:
    name = summary_name(unit.name)
    try:
        summary = read_summary(source, unit.name)
    except MalformedError as error:
        raise _damaged(source, name, f"cannot be read: {error}") from error
    except PermanentFault as fault:
        if fault.reason != "not_found":
            raise
        raise PermanentFault(
            MISSING, f"{source.at(name)} is not there: the source is not built to its end"
        ) from fault
    if summary.name != unit.name or summary.fingerprint != fingerprint.sha256:
        raise _damaged(source, name, "is of another unit, or of other settings than its dataset")
    return summary


def _require_planned(
    source: DatasetFolder,
    unit: Unit,
    summary: UnitSummary,
    examples: list[StoredExample],
    years: tuple[int, ...],
) -> None:
    """Checks that examples, rejections and dead letters are of the plan, and no cell-year is of two kinds."""
    planned = {(cell.cell_id, year) for cell in unit.cells for year in years}
    fates = [(it.cell_id, it.year) for it in examples]
    if fates != sorted(fates):
        raise _damaged(source, unit.name, "is not sorted by cell and year")
    fates += [cell_year for of_reason in summary.rejections.values() for cell_year in of_reason]
    fates += [(it.cell_id or 0, it.year or 0) for it in summary.dead_letters]
    if len(fates) != len(planned) or set(fates) != planned:
        raise _damaged(source, unit.name, "and its summary do not hold each planned cell-year once")


def _damaged(source: DatasetFolder, name: str, what: str) -> PermanentFault:
    return PermanentFault(DAMAGED, f"{source.at(name)} {what}. Mend the source: verify names its damage")
