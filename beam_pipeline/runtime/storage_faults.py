"""Turns what file systems and the clouds' clients under them raise into our two kinds of fault, and tries again."""

import contextlib
import errno
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from beam_pipeline.runtime.faults import Fault, PermanentFault, TransientFault
from beam_pipeline.runtime.retries import RetryPolicy

FULL = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
"""Of a disk without room."""

_CLIENTS = ("google", "botocore", "azure")
"""Packages of the cloud clients under Beam's file systems."""

_NO_USE_TRYING = FULL | {
    *(errno.EACCES, errno.EPERM, errno.EROFS),  # not allowed
    *(errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ENAMETOOLONG, errno.ELOOP),
}
_NOT_ALLOWED = frozenset((401, 403))

_RIGHTS = {
    "gs://": "roles/storage.objectAdmin of the bucket",
    "s3://": "s3:ListBucket of the bucket, and s3:GetObject, s3:PutObject and s3:DeleteObject of its objects",
}
"""That allow all that a job does. Who only reads needs the reading ones."""


_GAVE_UP = "RetryError"
"""Of google.api_core, after 120 seconds. Source: google.cloud.storage.retry.DEFAULT_RETRY"""

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
    return RETRIES.call(function, _stop_where_a_client_gave_up)


def _stop_where_a_client_gave_up(fault: TransientFault) -> None:
    """Raises the fault where a cloud's client has tried again by itself for as long as it does, which is minutes."""
    cause = fault.__cause__
    if isinstance(cause, Exception) and type(_look_into(cause)[2]).__name__ == _GAVE_UP:
        raise fault


@contextlib.contextmanager
def storage_faults(action: str, path: str) -> Iterator[None]:
    """Turns what a file system raises into a fault of reason "storage", or "not_found".

    Args:
        action: What is done, e.g. "read".
        path: Local or a URL.

    Raises:
        PermanentFault: Another try would not help; where a permission is missing, the detail names it.
        TransientFault: Another try may help.
        Exception: What is no fault of a storage passes as it is.
    """
    try:
        yield
    except Fault:
        raise  # from whoever makes the chunks that are written
    except Exception as error:
        statuses, numbers, first = _look_into(error)
        # Some have the status beside the text.
        text = " ".join(map(str, first.args[:2])) if len(first.args) > 1 else str(first)
        detail = f"cannot {action} {path}: {text if statuses else error}"
        if errno.ENOENT in numbers or 404 in statuses:
            raise PermanentFault("not_found", detail) from error
        if statuses & _NOT_ALLOWED:
            raise PermanentFault("storage", f"{detail.rstrip('. ')}. {_remedy(path)}".rstrip()) from error
        if numbers & _NO_USE_TRYING:
            raise PermanentFault("storage", detail) from error
        # Some of theirs have none: google.api_core's RetryError, google.auth's, botocore's.
        of_a_client = type(error).__module__.partition(".")[0] in _CLIENTS
        if not isinstance(error, OSError) and not hasattr(error, "code") and not of_a_client:
            raise
        raise TransientFault("storage", detail) from error


def _remedy(path: str) -> str:
    rights = next((rights for scheme, rights in _RIGHTS.items() if path.startswith(scheme)), "")
    return f"The account that asks needs {rights}" if rights else ""


def _look_into(error: Exception) -> tuple[set[int], set[int], Exception]:
    """Returns the HTTP statuses and the errno values in an error and in those that it is made of, and the innermost.

    Beam wraps errors, several in one. Cloud clients raise classes of their own, with the HTTP status in `code`; of an
    upload Google's has it in the response.
    Of a rename or a deletion on gs:// Beam keeps the bare status.
    """
    statuses: set[int] = set()
    numbers: set[int] = set()
    causes: list[Any] = [error]
    innermost = error
    for cause in causes:  # grows
        if isinstance(cause, int):
            statuses.add(cause)
        elif isinstance(cause, Exception):
            innermost = cause
            if isinstance(cause, OSError) and cause.errno is not None:
                numbers.add(cause.errno)
            causes += [
                getattr(cause, "code", None),
                getattr(getattr(cause, "response", None), "status_code", None),
                *(getattr(cause, "exception_details", None) or {}).values(),
            ]
            causes += [it for it in cause.args[:1] if isinstance(it, Exception)]
    return statuses, numbers, innermost
