"""The one source of randomness: a keyed hash of (seed, what is drawn, for whom).

There is no global generator: what is drawn for a tile or a cell depends on nothing but the seed, the purpose
and the name of the thing, so it is the same whatever the order, the runner and the number of workers.
"""

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

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
    state = _state(seed)
    state.update("".join(map(_netstring, (purpose, *whom))).encode())
    return int.from_bytes(state.digest(), "big")


def keyed_hashes(seed: int, purpose: str, whom: Iterable[int]) -> npt.NDArray[np.uint64]:
    """Returns `keyed_hash(seed, purpose, one)` for each of many, about twice as fast.

    Args:
        seed: As in `keyed_hash`.
        purpose: As in `keyed_hash`.
        whom: N integers.

    Returns:
        (N,) uint64.
    """
    state = _state(seed)
    state.update(_netstring(purpose).encode())
    copy = state.copy
    digests = []
    for one in whom:
        hashed = copy()
        hashed.update(f"i{len(text := str(one))}:{text},".encode())
        digests.append(hashed.digest())
    return np.frombuffer(b"".join(digests), ">u8").astype(np.uint64)


def _state(seed: int) -> "hashlib.blake2b":
    return hashlib.blake2b(digest_size=_BITS // 8, key=str(seed).encode())


def _netstring(part: int | str) -> str:
    # Netstrings with a type mark make the key unambiguous: ("ab", "c") and ("a", "bc") differ.
    return f"{'i' if isinstance(part, int) else 's'}{len(str(part))}:{part},"


def keyed_fraction(seed: int, purpose: str, *whom: int | str) -> float:
    """Returns `keyed_hash` as a uniform float in [0, 1)."""
    # 53 bits, so that the float never rounds up to 1.
    return (keyed_hash(seed, purpose, *whom) >> (_BITS - 53)) / 2.0**53
