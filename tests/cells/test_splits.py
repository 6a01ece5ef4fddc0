import collections

from beam_pipeline.cells.cell import SPLITS
from beam_pipeline.cells.mgrs_tiles import all_tiles
from beam_pipeline.cells.splits import split_of_tile


def test_tiles_are_split_80_10_10() -> None:
    names = [tile.name for tile in all_tiles()]
    for seed in (0, 1):
        counts = collections.Counter(split_of_tile(seed, name) for name in names)
        shares = [counts[split] / len(names) for split in SPLITS]
        # 4 standard deviations of 56,686 draws.
        assert all(abs(share - wanted) < 0.007 for share, wanted in zip(shares, (0.8, 0.1, 0.1), strict=True))


def test_the_split_of_a_tile_is_for_good() -> None:
    """Written down once: datasets that are built later must not train on what others test on."""
    of_seed_0 = {"33TWN": "testing", "24STH": "validation", "56HLH": "training", "01KAB": "training"}
    of_seed_1 = {"33TWN": "training", "24STH": "training", "51PTS": "validation", "01KAB": "training"}
    assert {name: split_of_tile(0, name) for name in of_seed_0} == of_seed_0
    assert {name: split_of_tile(1, name) for name in of_seed_1} == of_seed_1


def test_another_seed_is_another_split() -> None:
    names = [tile.name for tile in all_tiles()]
    same = sum(split_of_tile(0, name) == split_of_tile(1, name) for name in names) / len(names)
    # As often as two draws of their own: 0.8² + 0.1² + 0.1², within 4 standard deviations.
    assert abs(same - 0.66) < 0.008
