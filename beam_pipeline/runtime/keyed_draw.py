"""Draws of whole numbers, keyed by (seed, what is drawn, for whom), many at a time.

`keyed_hash` makes the key, SipHash-2-4 keyed with it makes the draws: that is the keyed hash that TensorFlow has as an
operation, so the same numbers can be drawn inside its graphs (`model_tf/data/keyed_draw.py`).

Source of SipHash: J.-P. Aumasson, D. J. Bernstein, "SipHash: a fast short-input PRF", INDOCRYPT 2012.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from beam_pipeline.runtime.keyed_hash import keyed_hash

MOST_VALUES = 2**63 - 1
"""Of which one can be drawn: as many as a TensorFlow attribute holds."""

_WORD = 8  # bytes
_START = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)
_ROUNDS_A_WORD, _ROUNDS_AT_THE_END = 2, 4

_Words = npt.NDArray[np.uint64]


def keyed_draws(
    whom: Sequence[int | str], num_values: int, seed: int, purpose: str, *keys: int | str
) -> npt.NDArray[np.int64]:
    """Draws a number for each of many, which depends on the arguments only.

    Args:
        whom: N things for which it is drawn. 1 and "1" are the same.
        num_values: Number of values to draw from, at most `MOST_VALUES`, from which ties are as good as excluded.
        seed: The run's seed.
        purpose: What is drawn; different purposes are independent.
        *keys: What it is drawn for, the same for all.

    Returns:
        (N,) int64, 0 to num_values - 1 with equal chance.
    """
    hashed = siphash([str(one).encode() for one in whom], key_pair(seed, purpose, *keys))
    return (hashed % np.uint64(num_values)).astype(np.int64)


def key_pair(seed: int, purpose: str, *keys: int | str) -> tuple[int, int]:
    """Returns two uniform integers in [0, 2**63), the range that TensorFlow's attributes and seeds hold."""
    high, low = (keyed_hash(seed, purpose, *keys, half) & MOST_VALUES for half in (0, 1))
    return high, low


def siphash(texts: Sequence[bytes], key: tuple[int, int]) -> _Words:
    """Returns SipHash-2-4 of texts.

    Args:
        texts: N texts.
        key: Two numbers of 64 bits.

    Returns:
        (N,) uint64.
    """
    if not texts:
        return np.zeros(0, np.uint64)
    lengths = np.array([len(text) for text in texts])
    most_words = int(lengths.max()) // _WORD + 1
    # (N, words): the texts as little-endian words, filled up with zeros; the last byte of each last word is the length.
    words = np.array(texts, f"S{most_words * _WORD}").view("<u8").reshape(len(texts), most_words)
    last = lengths // _WORD
    words[np.arange(len(texts)), last] |= (lengths.astype(np.uint64) & np.uint64(0xFF)) << np.uint64(56)
    state = tuple(
        np.full(len(texts), start ^ key[index % 2], np.uint64) for index, start in enumerate(_START)
    )
    for index in range(most_words):
        word = words[:, index]
        mixed = _mix((*state[:3], state[3] ^ word), _ROUNDS_A_WORD)
        taken = index <= last
        state = tuple(
            np.where(taken, new, old) for new, old in zip((mixed[0] ^ word, *mixed[1:]), state, strict=True)
        )
    v0, v1, v2, v3 = _mix((*state[:2], state[2] ^ np.uint64(0xFF), state[3]), _ROUNDS_AT_THE_END)
    return v0 ^ v1 ^ v2 ^ v3


def _mix(state: tuple[_Words, ...], rounds: int) -> tuple[_Words, ...]:
    v0, v1, v2, v3 = state
    for _ in range(rounds):
        v0 = v0 + v1
        v1 = _rotate(v1, 13) ^ v0
        v0 = _rotate(v0, 32)
        v2 = v2 + v3
        v3 = _rotate(v3, 16) ^ v2
        v0 = v0 + v3
        v3 = _rotate(v3, 21) ^ v0
        v2 = v2 + v1
        v1 = _rotate(v1, 17) ^ v2
        v2 = _rotate(v2, 32)
    return v0, v1, v2, v3


def _rotate(words: _Words, bits: int) -> _Words:
    return (words << np.uint64(bits)) | (words >> np.uint64(64 - bits))
