import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beam_pipeline.runtime.keyed_draw import MOST_VALUES, key_pair, keyed_draws, siphash

# Key and messages of the reference implementation: bytes 0, 1, 2, ...
KEY = tuple(int.from_bytes(bytes(range(start, start + 8)), "little") for start in (0, 8))
VECTORS = {
    0: "310e0edd47db6f72",
    1: "fd67dc93c539f874",
    7: "37d1018bf50002ab",
    8: "6224939a79f5f593",
    15: "e545be4961ca29a1",
    63: "724506eb4c328a95",
}
"""Source: https://github.com/veorq/SipHash, vectors.h, vectors_sip64, by the length of the message."""


def test_hashes_are_those_of_the_reference():
    hashed = siphash([bytes(range(length)) for length in VECTORS], KEY)
    assert [int(one).to_bytes(8, "little").hex() for one in hashed] == [*VECTORS.values()]
    assert siphash([], KEY).shape == (0,)


@given(st.lists(st.text(max_size=40), min_size=1, max_size=5), st.integers(1, MOST_VALUES), st.integers())
@settings(deadline=None, max_examples=30)
def test_draws_are_those_of_tensorflow(whom, num_values, seed):
    import tensorflow as tf

    from model_tf.data.keyed_draw import keyed_draw

    seed %= 2**60
    expected = keyed_draw(tf.constant([one.encode() for one in whom]), num_values, seed, "purpose", 7)
    np.testing.assert_array_equal(keyed_draws(whom, num_values, seed, "purpose", 7), expected)


def test_numbers_are_drawn_for_as_their_text():
    np.testing.assert_array_equal(
        keyed_draws([3, -1, 12345678], 100, 0, "x"), keyed_draws(["3", "-1", "12345678"], 100, 0, "x")
    )


def test_keys_are_apart():
    pairs = [key_pair(*key) for key in [(0, "a"), (1, "a"), (0, "b"), (0, "a", 1), (0, "a", "1")]]
    assert len({half for pair in pairs for half in pair}) == 10
    assert all(0 <= half <= MOST_VALUES for pair in pairs for half in pair)
    assert key_pair(0, "a") == pairs[0]


@pytest.mark.parametrize("num_values", [1, 2, 8])
def test_draws_are_even(num_values):
    counts = np.bincount(keyed_draws(range(8000), num_values, 0, "even"), minlength=num_values)
    assert len(counts) == num_values
    # 5 standard deviations
    assert np.abs(counts - 8000 / num_values).max() <= 5 * np.sqrt(8000 / num_values)
