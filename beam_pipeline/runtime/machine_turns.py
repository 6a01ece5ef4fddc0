"""Lets only so many processes and threads of this machine do something at once."""

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Iterator

_POLL_S = 0.5


@contextlib.contextmanager
def machine_turn(name: str, at_once: int) -> Iterator[None]:
    """Waits until fewer than so many others on this machine are in such a block, and enters it.

    Others are those of this user with the same folder of temporary files, which holds the locks. The kernel frees
    the lock of a process that died.

    Args:
        name: What is done, a part of a file name.
        at_once: How many may do it, 1 or more.

    Yields:
        Nothing.

    Raises:
        OSError: A lock cannot be made.
    """
    folder = tempfile.gettempdir()
    paths = [
        os.path.join(folder, f"opensentinelmap-{os.getuid()}-{name}-{turn}.lock") for turn in range(at_once)
    ]
    with contextlib.ExitStack() as stack:
        files = []
        for path in paths:
            # A link that someone else has put there is not followed.
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            stack.callback(os.close, file)
            files.append(file)
        while not any(map(_is_locked_now, files)):
            time.sleep(_POLL_S)
        yield


def _is_locked_now(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
