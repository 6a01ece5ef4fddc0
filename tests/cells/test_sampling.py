"""The sample is uniform, exact in number, nested, and the same however the cells come."""

import numpy as np
import pytest
from scipy import stats

from beam_pipeline.cells import grid
from beam_pipeline.cells.mgrs_tiles import all_tiles
from beam_pipeline.cells.region import cells_from_ids
from beam_pipeline.cells.sampling import EVERY_CELL, Cut, cell_hashes, draw_tiles, fraction_cut, smallest
from beam_pipeline.runtime.keyed_hash import keyed_hash, keyed_hashes

N = 60_000
DRAWN = 15_000


@pytest.fixture(scope="module")
def ids() -> np.ndarray:
    """Cells from 60 S to 70 N, a uniform part of them: no two blocks of them are alike in number by design."""
    first, last = grid.lonlat_to_id([-180.0, 179.999], [-60.0, 70.0]).tolist()
    return np.sort(np.random.default_rng(0).choice(np.arange(first, last), N, replace=False))


def test_many_hashes_are_those_of_one_by_one() -> None:
    whom = [0, 7, 10, 138_328_575, -3]
    assert keyed_hashes(5, "cell", whom).tolist() == [keyed_hash(5, "cell", one) for one in whom]
    assert cell_hashes(5, np.array([7, 10])).tolist() == [keyed_hash(5, "cell", 7), keyed_hash(5, "cell", 10)]
    assert len(keyed_hashes(5, "cell", [])) == 0


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_sample_is_uniform_over_blocks(ids: np.ndarray, seed: int) -> None:
    _, drawn = smallest(cell_hashes(seed, ids), ids, DRAWN)
    assert len(drawn) == DRAWN
    lon, lat = grid.id_to_center(ids)
    taken = np.isin(ids, drawn)
    # Blocks of 10 degrees, and of neighbouring ids, whose keys differ in their last digits only.
    for blocks in (
        (np.floor(lon / 10) * 100 + np.floor(lat / 10)).astype(int),
        ids % 97,
        np.arange(N) // 500,
    ):
        _, block = np.unique(blocks, return_inverse=True)
        size = np.bincount(block)
        expected = size * DRAWN / N
        observed = np.bincount(block[taken], minlength=len(size))
        large = expected >= 5
        # Without replacement the variance is (1 - DRAWN/N) of that with it.
        chi_square = ((observed - expected)[large] ** 2 / expected[large]).sum() / (1 - DRAWN / N)
        low, high = stats.chi2(large.sum() - 1).ppf([1e-4, 1 - 1e-4])
        assert low < chi_square < high


def test_samples_are_exact_and_nested(ids: np.ndarray) -> None:
    hashes = cell_hashes(3, ids)
    order = sorted(zip(hashes.tolist(), ids.tolist(), strict=True))
    for most in (1, 2, 999, N - 1, N, N + 1):
        kept = smallest(hashes, ids, most)
        assert sorted(zip(*(part.tolist() for part in kept), strict=True)) == order[:most]
        assert Cut.behind(*kept) == Cut(*order[:most][-1])


def test_hashes_that_are_equal_are_told_apart_by_id() -> None:
    hashes = np.array([5, 5, 5, 1, 5, 5, 9], np.uint64)
    ids = np.array([40, 10, 30, 99, 20, 50, 0])
    for most in range(1, 8):
        kept_hashes, kept = smallest(hashes, ids, most)
        assert sorted(kept.tolist()) == sorted([99, 10, 20, 30, 40, 50, 0][:most])
        cut = Cut.behind(kept_hashes, kept)
        assert sorted(ids[cut.takes(hashes, ids)].tolist()) == sorted(kept.tolist())


def test_the_largest_hash_is_within_every_cell() -> None:
    hashes = np.array([0, 2**64 - 1], np.uint64)
    ids = np.array([0, grid.NUM_CELLS - 1])
    assert EVERY_CELL.takes(hashes, ids).all()
    assert fraction_cut(1.0).takes(hashes, ids).all()
    assert fraction_cut(0.5).takes(hashes, ids).tolist() == [True, False]


def test_a_fraction_takes_the_hashes_below_it() -> None:
    hashes = np.array([2**63 - 1, 2**63, 2**63], np.uint64)
    assert fraction_cut(0.5).takes(hashes, np.array([7, 0, 1])).tolist() == [True, False, False]


def test_tiles_drawn_are_nested() -> None:
    names = [tile.name for tile in all_tiles()][::100]
    few, more = draw_tiles(4, names, 50), draw_tiles(4, reversed(names), 200)
    assert len(set(more)) == 200
    assert more[:50] == few
    assert draw_tiles(4, names, len(names) + 1) == draw_tiles(4, names, len(names))
    assert set(draw_tiles(5, names, 50)) != set(few)


def test_splits_by_tile(ids: np.ndarray) -> None:
    cells = cells_from_ids(ids, 0).cells
    split_of: dict[str, set[str]] = {}
    for cell in cells:
        split_of.setdefault(cell.tile, set()).add(cell.split)
    assert len(split_of) > 5000
    # No tile is in two splits.
    assert all(len(splits) == 1 for splits in split_of.values())
    for split, share in (("training", 0.8), ("validation", 0.1), ("testing", 0.1)):
        count = sum(splits == {split} for splits in split_of.values())
        low, high = stats.binom(len(split_of), share).ppf([1e-4, 1 - 1e-4])
        assert low <= count <= high
