"""Binds an output folder to one dataset: plan and fingerprint are written once, and compared ever after."""

import concurrent.futures
import contextlib
import uuid
from collections.abc import Iterator, Mapping

import pydantic

from beam_pipeline.dataset.commits import READS_AT_ONCE
from beam_pipeline.dataset.fingerprint import Extract, Fingerprint
from beam_pipeline.dataset.folder import FINGERPRINT_FILE, DatasetFolder, summary_name
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.parsing import MalformedError, parse_json
from beam_pipeline.runtime.regular_files import put_files_there
from beam_pipeline.runtime.storage_faults import with_retries
from beam_pipeline.runtime.whole_files import PARTIAL_SUFFIX

_CLAIM = "plan/launch-"
_WAY_OUT = "Choose another --output, give the settings that it was made with, or delete what is there"


def write_plan(folder: DatasetFolder, given: Fingerprint, texts: Mapping[str, str]) -> None:
    """Writes plan and fingerprint, or checks that what an earlier run left is of the same dataset.

    What follows from the fingerprint is written anew where it is missing or is not what it must be.

    Args:
        folder: The dataset's folder.
        given: The fingerprint of this run.
        texts: By name, the small files that go with it, the plan's units among them.

    Raises:
        InvalidInputError: The folder holds another dataset or a part of one, or is about to.
        Fault: The storage failed.
    """
    _check_regular(folder)
    check_begun(folder, given)
    with _claimed(folder, given.sha256):
        # Once more: what was written before our claim was there is seen now, what comes later will see the claim.
        planned = _read_fingerprint(folder)
        if planned is None:
            _check_all_units(folder, given.sha256)
        else:
            check_same_dataset(planned, given, folder.path)
            _check_a_unit(folder, given.sha256)
        for name, text in texts.items():
            if not folder.exists(name) or folder.read_bytes(name) != text.encode():
                folder.write_text(name, text)
        if planned is None:
            # Last: a folder with a fingerprint has a whole plan.
            folder.write_text(FINGERPRINT_FILE, given.to_json())


def check_begun(folder: DatasetFolder, given: Fingerprint) -> None:
    """Compares this run's fingerprint with that of the folder, where it has one.

    Raises:
        InvalidInputError: They differ, or the folder's is damaged.
        Fault: The storage failed.
    """
    planned = _read_fingerprint(folder)
    if planned is not None:
        check_same_dataset(planned, given, folder.path)


def _check_regular(folder: DatasetFolder) -> None:
    """Refuses to go on with files that lie elsewhere, and to write into folders that do.

    Raises:
        InvalidInputError: The folder holds links, pipes or the like where the dataset's files go.
    """
    irregular = folder.irregular()
    for name, kind in irregular.items():
        more = f", and {len(irregular) - 1} more like it" if len(irregular) > 1 else ""
        raise InvalidInputError(f"{folder.at(name)} is {kind}{more}. {put_files_there(kind)}")


def began_with(folder: DatasetFolder, extract: Extract) -> bool:
    """Tells whether a dataset was begun with an extract, which then is what the folder is to be gone on with.

    A folder with units and no readable fingerprint counts as one: `write_plan` says whose the units are.

    Args:
        folder: The dataset's folder; it may be missing.
        extract: Name, size and timestamp.

    Raises:
        Fault: The storage failed.
    """
    try:
        planned = _read_fingerprint(folder)
    except InvalidInputError:
        return True
    if planned is None:
        return bool(folder.summarised_units())
    return not isinstance(planned.osm, str) and extract in planned.osm


def check_same_dataset(planned: Fingerprint, given: Fingerprint, output: str) -> None:
    """Refuses to mix two datasets in one folder.

    Args:
        planned: The fingerprint that lies in the output folder.
        given: The fingerprint of this run.
        output: The output folder, for the message.

    Raises:
        InvalidInputError: They differ; the message names both versions of the data format, or else every
            difference.
    """
    there, now = planned.schema_version, given.schema_version
    if there != now:
        raise InvalidInputError(
            f"{output} holds a dataset of version {there} of the data format, and this program writes {now}: "
            "no dataset is of two versions. Choose another --output, or use the version of this program that began it."
        )
    differences = [
        f"  {field}: {there!r} there, {now!r} now"
        for field, (there, now) in planned.differences(given).items()
    ]
    if differences:
        raise InvalidInputError(
            f"{output} holds another dataset; a run goes on only with the settings it began with:",
            *differences,
            "Choose another --output, or give the settings that it began with.",
        )


@contextlib.contextmanager
def _claimed(folder: DatasetFolder, sha256: str) -> Iterator[None]:
    """Holds a folder against launches of other settings.

    Object stores have no lock and no rename that fails where there is a file. So each launch first leaves a file
    of its own and then looks for those of others: of two at once, at least one sees the other's.
    """
    # uuid4 tells launches of the same settings apart, which do no harm; nothing that is kept depends on it.
    own = folder.at(f"{_CLAIM}{sha256}.{uuid.uuid4().hex}{PARTIAL_SUFFIX}")
    try:
        with_retries(lambda: folder.files.write_bytes(own, [b"\n"]))
        claims = folder.names(f"{_CLAIM}*{PARTIAL_SUFFIX}")
        others = [folder.at(name) for name in claims if f"{_CLAIM}{sha256}." not in name]
        if others:
            raise InvalidInputError(
                f"{folder.path} is being used by another launch, with other settings. Choose another --output; if "
                f"that launch is over, delete what it left and give the command again: {', '.join(others)}"
            )
        yield
    finally:
        folder.files.delete(own)


def _read_fingerprint(folder: DatasetFolder) -> Fingerprint | None:
    if not folder.exists(FINGERPRINT_FILE):
        return None
    try:
        return Fingerprint.from_json(folder.read_bytes(FINGERPRINT_FILE))
    except MalformedError as error:
        raise InvalidInputError(
            f"{folder.at(FINGERPRINT_FILE)} is damaged: {error}. Delete it and give the command again: the summaries "
            "of the shards say whether they are of the same settings"
        ) from error


class _Bound(pydantic.BaseModel):
    """The dataset that a summary says it is of; versions before 1.0 said nothing."""

    fingerprint: str = ""


_BOUND = pydantic.TypeAdapter(_Bound)


def _check_a_unit(folder: DatasetFolder, sha256: str) -> None:
    """Looks at one summary: workers look at all, and make anew what is not of this dataset.

    Where all are of others, or of a version whose summaries do not say, that would be the whole dataset.
    """
    for name in folder.summarised_units()[:1]:
        found = _fingerprint_of(folder, name)
        if found is not None and found != sha256:
            raise InvalidInputError(
                f"{folder.path} cannot be gone on with: {name} {_whose(found)}. {_WAY_OUT}"
            )


def _check_all_units(folder: DatasetFolder, sha256: str) -> None:
    """Without a fingerprint, each shard and each summary must prove that it is of this dataset."""
    names = folder.summarised_units()
    with concurrent.futures.ThreadPoolExecutor(READS_AT_ONCE) as pool:
        of_units = pool.map(lambda name: _fingerprint_of(folder, name), names)
        found = dict(zip(names, of_units, strict=True))
    wrong = [f"{name} {_whose(of)}" for name, of in found.items() if of != sha256]
    wrong += [f"{name} has no summary" for name in folder.shards() if name not in found]
    if wrong:
        more = f" and {len(wrong) - 1} more like it" if len(wrong) > 1 else ""
        raise InvalidInputError(
            f"There is no {folder.at(FINGERPRINT_FILE)}, and {wrong[0]}{more}. {_WAY_OUT}"
        )


def _whose(found: str | None) -> str:
    if found is None:
        return "has a damaged summary"
    return "is of other settings" if found else "has a summary of an earlier version of this program"


def _fingerprint_of(folder: DatasetFolder, name: str) -> str | None:
    """Returns the fingerprint of a unit; "" of one of an earlier version, None of a damaged one."""
    try:
        return parse_json(_BOUND, folder.read_bytes(summary_name(name))).fingerprint
    except MalformedError:
        return None
