"""The commit of a unit: its shard and summary are written aside, and renaming the shard is the commit."""

import contextlib
import dataclasses
import hashlib
from collections.abc import Iterable, Iterator

from beam_pipeline.dataset.summary import UnitSummary, failed_summary
from beam_pipeline.dataset.units import DeadLetter
from beam_pipeline.records.shards import frame, parse_shard_name, summary_path
from beam_pipeline.runtime.faults import Fault
from beam_pipeline.runtime.files import Files, aside_path, join


def committed_summary(files: Files, output: str, name: str, fingerprint: str) -> UnitSummary | None:
    """Returns the summary of a unit that is done: its shard lies under its own name, as long as it says.

    A shard of another size was damaged after its commit (a disk that lost power, a copy that broke off), or its
    summary is of a later attempt that did not get to its rename. One of other settings is none of this dataset.

    Args:
        files: The file system.
        output: The dataset's folder.
        name: The shard's file name.
        fingerprint: `fingerprint_sha256` of the dataset.

    Returns:
        The summary; None where the unit is to be done.
    """
    size = files.size(join(output, name))
    if size is None or not files.exists(summary_path(output, name)):
        return None
    try:
        summary = read_summary(files, output, name)
    except ValueError:
        return None  # damaged too
    done = summary.status == "written" and summary.num_bytes == size and summary.fingerprint == fingerprint
    return summary if done else None


def commit_unit(
    files: Files, output: str, name: str, payloads: Iterable[bytes], summary: UnitSummary
) -> UnitSummary:
    """Writes a unit's shard and summary; a unit without examples gets an empty shard.

    Two attempts at a unit may run at once: each writes under a name of its own, and the last rename replaces
    a shard by an equal one.

    Args:
        files: The file system.
        output: The dataset's folder.
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

    aside = aside_path(output)
    try:
        files.write_bytes(aside, framed())
        summary = dataclasses.replace(summary, sha256=digest.hexdigest(), num_bytes=num_bytes)
        files.write_text(summary_path(output, name), summary.to_json())
        files.rename(aside, join(output, name))
    except Exception:
        # On a full disk every attempt would leave its own behind.
        with contextlib.suppress(Fault):  # what happened first says more
            files.delete(aside)
        raise
    return summary


def read_summary(files: Files, output: str, name: str) -> UnitSummary:
    """Returns the summary of a unit that is done or failed.

    Raises:
        ValueError: It is damaged, or of another version.
        PermanentFault: "not_found".
    """
    return UnitSummary.from_json(files.read_text(summary_path(output, name)))


def record_failure(files: Files, output: str, letter: DeadLetter, fingerprint: str) -> UnitSummary:
    """Writes the summary of a unit that failed as a whole; it has no shard, so a later run tries it again.

    A unit that another attempt has committed stays done: a straggler's failure takes nothing away.

    Args:
        files: The file system.
        output: The dataset's folder.
        letter: What happened; names the unit.
        fingerprint: `fingerprint_sha256` of the dataset.

    Returns:
        The unit's summary.
    """
    done = committed_summary(files, output, letter.unit, fingerprint)
    if done is not None:
        return done
    split, _, _ = parse_shard_name(letter.unit)
    summary = failed_summary(letter, split, fingerprint)
    files.write_text(summary_path(output, letter.unit), summary.to_json())
    return summary
