"""The commit of a unit: its shard and summary are written aside, and renaming the shard is the commit.

A shard under its own name is therefore whole and has its summary.
"""

import concurrent.futures
import contextlib
import dataclasses
import functools
import hashlib
from collections.abc import Iterable, Iterator, Sequence

from beam_pipeline.dataset.folder import DatasetFolder, summary_name
from beam_pipeline.dataset.outcomes import DeadLetter
from beam_pipeline.dataset.summary import UnitSummary, failed_summary
from beam_pipeline.dataset.units import Unit
from beam_pipeline.records.shards import frame, parse_shard_name
from beam_pipeline.runtime.faults import Fault
from beam_pipeline.runtime.files import aside_path
from beam_pipeline.runtime.parsing import MalformedError

READS_AT_ONCE = 16
"""Files that are read at the same time, such as summaries: an object store answers each slowly."""


def read_summary(folder: DatasetFolder, name: str) -> UnitSummary:
    """Returns the summary of a unit that is done or failed.

    Raises:
        MalformedError: It is damaged, or of another version.
        PermanentFault: "not_found".
    """
    return UnitSummary.from_json(folder.read_bytes(summary_name(name)))


def read_summaries(folder: DatasetFolder, units: Iterable[Unit]) -> Iterator[UnitSummary]:
    """Reads the summaries of the units that are done or failed.

    Args:
        folder: The dataset's folder.
        units: The plan.

    Yields:
        Summaries in the plan's order. One that says "written" but has no shard (its attempt was killed in
        between) is left out, as is a unit that was never tried.
    """
    shards, summarised = set(folder.shards()), set(folder.summarised_units())
    there = [unit.name for unit in units if unit.name in summarised]
    with concurrent.futures.ThreadPoolExecutor(READS_AT_ONCE) as pool:
        # Few at a time: the pool would read on, whatever waits to be taken.
        for start in range(0, len(there), READS_AT_ONCE):
            names = there[start : start + READS_AT_ONCE]
            for summary in pool.map(functools.partial(read_summary, folder), names):
                if summary.status == "failed" or summary.name in shards:
                    yield summary


def committed_summary(folder: DatasetFolder, name: str, fingerprint: str) -> UnitSummary | None:
    """Returns the summary of a unit that is done: its shard lies under its own name, as long as it says.

    A shard of another size was damaged after its commit (a disk that lost power, a copy that broke off), or its
    summary is of a later attempt that did not get to its rename. One of other settings is none of this dataset.

    Args:
        folder: The dataset's folder.
        name: The shard's file name.
        fingerprint: SHA-256 of the dataset's fingerprint.

    Returns:
        The summary; None where the unit is to be done.
    """
    size = folder.size(name)
    if size is None or not folder.exists(summary_name(name)):
        return None
    try:
        summary = read_summary(folder, name)
    except MalformedError:
        return None  # damaged too
    done = summary.status == "written" and summary.num_bytes == size and summary.fingerprint == fingerprint
    return summary if done else None


def all_committed(folder: DatasetFolder, units: Sequence[Unit], fingerprint: str) -> bool:
    """Tells whether every unit of a plan is done, as `committed_summary` finds it.

    Args:
        folder: The dataset's folder.
        units: The plan.
        fingerprint: SHA-256 of the dataset's fingerprint.
    """
    if not {unit.name for unit in units} <= set(folder.shards()):
        return False  # one listing, not three looks a unit
    with concurrent.futures.ThreadPoolExecutor(READS_AT_ONCE) as pool:
        summaries = pool.map(lambda unit: committed_summary(folder, unit.name, fingerprint), units)
        return all(summary is not None for summary in summaries)


def commit_unit(
    folder: DatasetFolder, name: str, payloads: Iterable[bytes], summary: UnitSummary
) -> UnitSummary:
    """Writes a unit's shard and summary; a unit without examples gets an empty shard.

    Two attempts at a unit may run at once: each writes under a name of its own, and the last rename replaces
    a shard by an equal one.

    Args:
        folder: The dataset's folder.
        name: The shard's file name.
        payloads: The serialised examples, in order.
        summary: The unit's summary; its hash and size are filled in here.

    Returns:
        The summary as written.
    """
    digest = hashlib.sha256()
    num_bytes = 0

    def framed() -> Iterator[bytes]:
        nonlocal num_bytes
        for payload in payloads:
            record = frame(payload)
            digest.update(record)
            num_bytes += len(record)
            yield record

    files, aside = folder.files, aside_path(folder.path)
    try:
        files.write_bytes(aside, framed())
        summary = dataclasses.replace(summary, sha256=digest.hexdigest(), num_bytes=num_bytes)
        folder.write_text(summary_name(name), summary.to_json())
        files.rename(aside, folder.at(name))
    except Exception:
        # On a full disk every attempt would leave its own behind.
        with contextlib.suppress(Fault):  # what happened first says more
            files.delete(aside)
        raise
    return summary


def record_failure(folder: DatasetFolder, letter: DeadLetter, fingerprint: str) -> UnitSummary:
    """Writes the summary of a unit that failed as a whole; it has no shard, so a later run tries it again.

    A unit that another attempt has committed stays done: a straggler's failure takes nothing away.

    Args:
        folder: The dataset's folder.
        letter: What happened; names the unit.
        fingerprint: SHA-256 of the dataset's fingerprint.

    Returns:
        The unit's summary.
    """
    done = committed_summary(folder, letter.unit, fingerprint)
    if done is not None:
        return done
    split, _, _ = parse_shard_name(letter.unit)
    summary = failed_summary(letter, split, fingerprint)
    folder.write_text(summary_name(letter.unit), summary.to_json())
    return summary
