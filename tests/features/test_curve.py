import numpy as np

from beam_pipeline.features.curve import ORDER, along_curve


def places_of(first_x, first_y, side):
    """The curve's places of a square of side x side of its smallest squares, row by row."""
    x, y = np.meshgrid(np.arange(first_x, first_x + side), np.arange(first_y, first_y + side))
    middles = (np.stack([x.ravel(), y.ravel()]) + 0.5) / 2**ORDER
    return along_curve(middles[0] * 360 - 180, middles[1] * 180 - 90), x.ravel(), y.ravel()


def test_the_curve_goes_from_square_to_neighbouring_square():
    for corner in ((0, 0), (8192, 8192), (4096, 12288)):
        found, x, y = places_of(*corner, 64)
        assert sorted(found) == list(range(found.min(), found.min() + 64 * 64))
        order = np.argsort(found)
        steps = np.abs(np.diff(x[order])) + np.abs(np.diff(y[order]))
        assert (steps == 1).all()


def test_the_worlds_edges_lie_on_it():
    found = along_curve(
        np.array([-180.0, 180.0, 181.0, -179.0, 0.0]), np.array([-90.0, 90.0, 0.0, 0.0, 95.0])
    )
    assert ((found >= 0) & (found < 4**ORDER)).all()
    assert found[2] == found[3]
