"""Turns what a file system raises into our two kinds of fault, and tries again what may pass."""

import contextlib
import errno
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from beam_pipeline.runtime.faults import Fault, PermanentFault, TransientFault
from beam_pipeline.runtime.retries import RetryPolicy

_CLIENTS = ("google", "botocore", "azure")
"""Packages of the cloud clients under Beam's file systems."""

_NO_USE_TRYING = frozenset(
    (
        *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG),  # full
        *(errno.EACCES, errno.EPERM, errno.EROFS),  # not allowed
        *(errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ENAMETOOLONG, errno.ELOOP),
    )
)
_NOT_ALLOWED = (401, 403)

RETRIES = RetryPolicy(attempts=5, base_s=0.25, cap_s=2.0)
"""Of clients that try again by themselves, this is more of the same; a local disk and NFS do not."""

_T = TypeVar("_T")


def with_retries(function: Callable[[], _T]) -> _T:
    """Calls what uses the storage until it returns, fails for good, or the few tries are used up.

    Args:
        function: Raises `TransientFault` where another try may help; a whole operation, so that it can be
            begun anew.

    Returns:
        What `function` returned.
    """
    return RETRIES.call(function)


@contextlib.contextmanager
def storage_faults(action: str, path: str) -> Iterator[None]:
    """Turns what a file system raises in the block into a `Fault`, which says what was done with which file.

    Args:
        action: E.g. "read".
        path: The file.

    Raises:
        PermanentFault: "not_found", or "storage" where no other try would help.
        TransientFault: "storage".
    """
    try:
        yield
    except Fault:
        raise  # from whoever makes the chunks that are written
    except Exception as error:
        statuses, numbers = _statuses_and_numbers(error)
        detail = f"cannot {action} {path}: {error}"
        if errno.ENOENT in numbers or 404 in statuses:
            raise PermanentFault("not_found", detail) from error
        if numbers & _NO_USE_TRYING or statuses & {*_NOT_ALLOWED}:
            raise PermanentFault("storage", detail) from error
        # Some of theirs have none: google.api_core's RetryError, google.auth's, botocore's.
        of_a_client = type(error).__module__.partition(".")[0] in _CLIENTS
        if not isinstance(error, OSError) and not hasattr(error, "code") and not of_a_client:
            raise
        raise TransientFault("storage", detail) from error


def _statuses_and_numbers(error: Exception) -> tuple[set[int], set[int]]:
    """Returns the HTTP statuses and the errno values in an error and in those that it is made of.

    Beam wraps errors, several in one. Cloud clients raise classes of their own, with the HTTP status in `code`.
    Of a rename or a deletion on gs:// Beam keeps the bare status.
    """
    statuses: set[int] = set()
    numbers: set[int] = set()
    causes: list[Any] = [error]
    for cause in causes:  # grows
        if isinstance(cause, int):
            statuses.add(cause)
        elif isinstance(cause, Exception):
            if isinstance(cause, OSError) and cause.errno is not None:
                numbers.add(cause.errno)
            causes += [
                getattr(cause, "code", None),
                *(getattr(cause, "exception_details", None) or {}).values(),
            ]
            causes += [it for it in cause.args[:1] if isinstance(it, Exception)]
    return statuses, numbers
