"""The one source of randomness: a keyed hash of (seed, what is drawn, for whom).

There is no global generator: what is drawn for a tile or a cell depends on nothing but the seed, the purpose
and the name of the thing, so it is the same whatever the order, the runner and the number of workers.
"""

import hashlib

_BITS = 64


def keyed_hash(seed: int, purpose: str, *whom: int | str) -> int:
    """Returns a uniform 64-bit integer that depends on the arguments only.

    Args:
        seed: The run's seed, of at most 64 characters as a number in decimal.
        purpose: What is drawn, e.g. "split" or "month order"; different purposes are independent.
        *whom: For whom it is drawn, e.g. a tile name and a year. 1 and "1" are different keys.

    Returns:
        An integer in [0, 2**64).
    """
    # Netstrings with a type mark make the key unambiguous: ("ab", "c") and ("a", "bc") differ.
    parts = (purpose, *whom)
    key = "".join(f"{'i' if isinstance(part, int) else 's'}{len(str(part))}:{part}," for part in parts)
    digest = hashlib.blake2b(key.encode(), digest_size=_BITS // 8, key=str(seed).encode()).digest()
    return int.from_bytes(digest, "big")


def keyed_fraction(seed: int, purpose: str, *whom: int | str) -> float:
    """Returns `keyed_hash` as a uniform float in [0, 1)."""
    # 53 bits, so that the float never rounds up to 1.
    return (keyed_hash(seed, purpose, *whom) >> (_BITS - 53)) / 2.0**53
