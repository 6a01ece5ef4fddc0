"""Binds an output folder to one dataset: plan and fingerprint are written once, and compared ever after."""

import concurrent.futures
import contextlib
import json
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from beam_pipeline.dataset import units as plan
from beam_pipeline.dataset.fingerprint import FINGERPRINT_FILE, check_same_fingerprint, fingerprint_sha256
from beam_pipeline.records.shards import DATASET_NAME, SUMMARIES_FOLDER, SUMMARY_SUFFIX, summary_path
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.files import PARTIAL_SUFFIX, Files, join

_CLAIM = "plan/launch-"
_READS_AT_ONCE = 16


def write_plan(files: Files, output: str, given: Mapping[str, Any], texts: Mapping[str, str]) -> None:
    """Writes plan and fingerprint, or checks that what an earlier run left is of the same dataset.

    What follows from the fingerprint is written anew where it is missing or is not what it must be.

    Args:
        files: The file system.
        output: The dataset's folder.
        given: The fingerprint of this run.
        texts: By name, the small files that go with it, the plan's units among them.

    Raises:
        InvalidInputError: The folder holds another dataset or a part of one, or is about to.
        Fault: The storage failed.
    """
    path = join(output, FINGERPRINT_FILE)
    sha256 = fingerprint_sha256(given)
    planned = _read_fingerprint(files, path)
    if planned is not None:
        check_same_fingerprint(planned, given, output)
    with _claimed(files, output, sha256):
        # Once more: what was written before our claim was there is seen now, what comes later will see the claim.
        planned = _read_fingerprint(files, path)
        if planned is None:
            _check_all_units(files, output, sha256)
        else:
            check_same_fingerprint(planned, given, output)
            _check_a_unit(files, output, sha256)
        for name, text in texts.items():
            _write_where_it_differs(files, join(output, name), text)
        if planned is None:
            # Last: a folder with a fingerprint has a whole plan.
            files.write_text(path, plan.json_text(given))


@contextlib.contextmanager
def _claimed(files: Files, output: str, sha256: str) -> Iterator[None]:
    """Holds a folder against launches of other settings.

    Object stores have no lock and no rename that fails where there is a file. So each launch first leaves a file
    of its own and then looks for those of others: of two at once, at least one sees the other's.
    """
    # uuid4 tells launches of the same settings apart, which do no harm; nothing that is kept depends on it.
    own = join(output, f"{_CLAIM}{sha256}.{uuid.uuid4().hex}{PARTIAL_SUFFIX}")
    try:
        files.write_bytes(own, [b"\n"])
        claims = files.glob(join(output, f"{_CLAIM}*{PARTIAL_SUFFIX}"))
        others = [path for path in claims if f"{_CLAIM}{sha256}." not in path]
        if others:
            raise InvalidInputError(
                f"{output} is being used by another launch, with other settings. Choose another --output; if that "
                f"launch is over, delete what it left and give the command again: {', '.join(others)}"
            )
        yield
    finally:
        files.delete(own)


def _read_fingerprint(files: Files, path: str) -> dict[str, Any] | None:
    if not files.exists(path):
        return None
    try:
        content = json.loads(files.read_text(path))
        if not isinstance(content, dict):
            raise ValueError("it is no JSON object")
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(
            f"{path} is damaged: {error}. Delete it and give the command again: the summaries of the shards say "
            "whether they are of the same settings"
        ) from error
    return content


def _check_a_unit(files: Files, output: str, sha256: str) -> None:
    """Looks at one summary: workers look at all, and make anew what is not of this dataset.

    Where all are of others, or of a version whose summaries do not say, that would be the whole dataset.
    """
    for name in _summarised(files, output)[:1]:
        found = _fingerprint_of(files, output, name)
        if found is not None and found != sha256:
            raise InvalidInputError(f"{output} cannot be gone on with: {name} {_whose(found)}. {_WAY_OUT}")


def _check_all_units(files: Files, output: str, sha256: str) -> None:
    """Without a fingerprint, each shard and each summary must prove that it is of this dataset."""
    path = join(output, FINGERPRINT_FILE)
    names = _summarised(files, output)
    with concurrent.futures.ThreadPoolExecutor(_READS_AT_ONCE) as pool:
        found = dict(
            zip(names, pool.map(lambda name: _fingerprint_of(files, output, name), names), strict=True)
        )
    shards = (path.rpartition("/")[2] for path in files.glob(join(output, f"{DATASET_NAME}-*")))
    wrong = [f"{name} {_whose(of)}" for name, of in found.items() if of != sha256]
    wrong += [f"{name} has no summary" for name in shards if name not in found]
    if wrong:
        more = f" and {len(wrong) - 1} more like it" if len(wrong) > 1 else ""
        raise InvalidInputError(f"There is no {path}, and {wrong[0]}{more}. {_WAY_OUT}")


_WAY_OUT = "Choose another --output, give the settings that it was made with, or delete what is there"


def _whose(found: str | None) -> str:
    if found is None:
        return "has a damaged summary"
    return "is of other settings" if found else "has a summary of an earlier version of this program"


def _summarised(files: Files, output: str) -> list[str]:
    """Returns the names of the units that have a summary."""
    paths = files.glob(join(output, SUMMARIES_FOLDER, f"*{SUMMARY_SUFFIX}"))
    return [path.rpartition("/")[2].removesuffix(SUMMARY_SUFFIX) for path in paths]


def _fingerprint_of(files: Files, output: str, name: str) -> str | None:
    """Returns the fingerprint of a unit; "" of one of an earlier version, None of a damaged one."""
    try:
        return str(json.loads(files.read_text(summary_path(output, name))).get("fingerprint", ""))
    except (ValueError, AttributeError, RecursionError):
        return None


def _write_where_it_differs(files: Files, path: str, text: str) -> None:
    if not files.exists(path) or files.read_bytes(path) != text.encode():
        files.write_text(path, text)
