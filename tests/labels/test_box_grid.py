import numpy as np
import pytest
import shapely

from beam_pipeline.labels.box_grid import BoxGrid


@pytest.mark.parametrize("place", [(0, 0), (179.9, 89.9), (-180.1, -90)])
def test_pairs_are_those_of_a_tree(place: tuple[float, float]) -> None:
    draw = np.random.default_rng(0)

    def boxes(count: int, most: float) -> np.ndarray:
        # On a grid, so that many have an edge or a corner in common.
        low = (draw.uniform(-1, 1, (count, 2)) + place).round(2)
        return np.hstack([low, low + draw.uniform(0, most, (count, 2)).round(2)])

    fixed, small = boxes(400, 0.3), boxes(500, 0.04)
    rows, found = BoxGrid(fixed).query(small)
    one, other = shapely.STRtree(shapely.box(*fixed.T)).query(shapely.box(*small.T))
    assert len(one) > 100
    assert set(zip(rows.tolist(), found.tolist(), strict=True)) == set(
        zip(one.tolist(), other.tolist(), strict=True)
    )


def test_nothing_meets_nothing() -> None:
    none, one = np.empty((0, 4)), np.array([[0.0, 0.0, 1.0, 1.0]])
    for fixed, small in ((none, one), (one, none), (none, none)):
        assert [len(found) for found in BoxGrid(fixed).query(small)] == [0, 0]
