import math

from beam_pipeline.runtime.keyed_hash import keyed_fraction, keyed_hash


def test_known_values_never_change() -> None:
    # Datasets are reproduced from seeds: a change of these values is a change of every dataset.
    assert keyed_hash(0, "split", "32TMS") == 0xB0E964BC9367E43B
    assert keyed_hash(1, "month order", "32TMS", 2020) == 0x43083B8C18D57C3C


def test_keys_are_unambiguous() -> None:
    keys = [(0, "a", "bc"), (0, "ab", "c"), (0, "a", "b", "c"), (0, "abc")]
    keys += [(0, "a", 1), (0, "a", "1"), (1, "a", 1)]
    assert len({keyed_hash(*key) for key in keys}) == len(keys)


def test_fraction_is_uniform() -> None:
    n = 20_000
    fractions = [keyed_fraction(7, "uniformity", i) for i in range(n)]
    assert all(0.0 <= f < 1.0 for f in fractions)
    counts = [0] * 20
    for f in fractions:
        counts[math.floor(f * 20)] += 1
    chi_square = sum((c - n / 20) ** 2 / (n / 20) for c in counts)
    assert chi_square < 43.8  # 99.9 % quantile of chi-square with 19 degrees of freedom
