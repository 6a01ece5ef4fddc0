"""Tells a disk that fails from a fault of the program, in whatever words a library passes it on."""

import errno
import os
import re
from collections.abc import Iterator

from beam_pipeline.runtime.faults import Fault

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NUMBERS = (
    *_FULL,
    *(errno.EROFS, errno.EACCES, errno.EPERM),  # not allowed
    *(errno.EIO, errno.ESTALE, errno.ENODEV),  # gone
    *(errno.EMFILE, errno.ENFILE),  # too many open files
)
_WRONG_KIND = (errno.EISDIR, errno.ENOTDIR, errno.EEXIST)
_WORDS = re.compile("|".join(re.escape(os.strerror(number)) for number in _NUMBERS))
"""The words of an errno, which TensorFlow and HDF5 pass on in errors of classes of their own."""

_FAULT = re.compile(r"Fault: (storage: .*?)(?: \[while running .*)?$", re.MULTILINE)
"""A fault in the words of Beam's runners, who keep the text of what a stage raised, and not its class."""


def is_full(error: BaseException) -> bool:
    """Tells whether an error is of a disk that is full, as one that could be written to becomes."""
    words = [os.strerror(number) for number in _FULL]
    return any(word in str(each) for each in _chain(error) for word in words)


def wrong_kind(error: BaseException) -> str | None:
    """Returns what an error says of a file in a folder's place, or the reverse.

    Args:
        error: As `storage_failure`.

    Returns:
        A line; None where the error is of another kind.
    """
    if any(isinstance(each, OSError) and each.errno in _WRONG_KIND for each in _chain(error)):
        return str(error)
    return None


def storage_failure(error: BaseException) -> str | None:
    """Returns what an error says of a disk that is full, read-only or gone.

    Args:
        error: Of any library; what it was raised from and what it was raised behind count too.

    Returns:
        A line; None where the error is of another kind.
    """
    return next((found for each in _chain(error) if (found := _of_one(each))), None)


def _of_one(error: BaseException) -> str | None:
    if isinstance(error, Fault):
        return str(error) if error.reason == "storage" else None
    if isinstance(error, OSError) and error.errno in _NUMBERS:
        return str(error)
    text = str(error)
    if fault := _FAULT.search(text):
        return fault[1]
    return next((line.strip() for line in text.splitlines() if _WORDS.search(line)), None)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
