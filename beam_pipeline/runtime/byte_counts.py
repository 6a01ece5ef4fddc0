"""Writes numbers of bytes for people."""

_UNITS = ("bytes", "kB", "MB", "GB")
_STEP = 1000


def shown_bytes(count: int) -> str:
    """Returns a number of bytes in the largest unit that leaves at least one of it, up to GB.

    Args:
        count: At least 0.

    Returns:
        E.g. "999 bytes", "3.4 MB", "104.1 GB".
    """
    power = 0
    while power + 1 < len(_UNITS) and count >= _STEP ** (power + 1):
        power += 1
    return f"{count:,} {_UNITS[0]}" if not power else f"{count / _STEP**power:,.1f} {_UNITS[power]}"
