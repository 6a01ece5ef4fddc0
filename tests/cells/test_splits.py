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


def test_another_seed_is_another_split() -> None:
    names = [tile.name for tile in all_tiles()[::50]]
    assert [split_of_tile(0, name) for name in names] == [split_of_tile(0, name) for name in names]
    assert [split_of_tile(0, name) for name in names] != [split_of_tile(1, name) for name in names]
