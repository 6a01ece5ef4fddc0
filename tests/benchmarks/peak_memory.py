"""The most memory that a process had."""

from pathlib import Path


def peak_bytes(process: int | str = "self") -> int:
    """Returns the most memory that a process had, in bytes.

    What `getrusage` calls `ru_maxrss` is no less than what the process that started this one held then.

    Args:
        process: Its number; by default this one.
    """
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024
