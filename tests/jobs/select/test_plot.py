"""The map of a selection: what part of the world it shows, and that cells are seen on it."""

import io

import numpy as np
import pytest
from matplotlib import colors, image

from beam_pipeline.cells.cell import SPLITS
from beam_pipeline.jobs.select.plot import COLORS, draw_map
from beam_pipeline.report.world_map import map_extent


def points(*lonlat: tuple[float, float]) -> np.ndarray:
    return np.array(lonlat, np.float64).reshape(-1, 2)


@pytest.mark.parametrize(
    ("cells", "shown"),
    [
        # One cell, and a margin.
        ([(6.0, 50.0)], (5.95, 49.95, 6.05, 50.05)),
        # Six percent of what the cells take up.
        ([(0.0, 10.0), (20.0, 20.0), (5.0, 11.0)], (-1.2, 9.4, 21.2, 20.6)),
        # Two sides of the antimeridian are one place.
        ([(179.0, -17.0), (-179.0, -16.0)], (178.88, -17.06, 181.12, -15.94)),
        # A world with nothing in the Pacific is no such place.
        ([(-120.0, 0.0), (0.0, 70.0), (140.0, -40.0)], (-135.6, -46.6, 155.6, 76.6)),
        # The map ends where the world does.
        ([(-179.99, 89.9), (0.0, 0.0), (179.99, -89.9)], (-180.0, -90.0, 180.0, 90.0)),
    ],
)
def test_the_map_shows_where_the_cells_are(
    cells: list[tuple[float, float]], shown: tuple[float, float, float, float]
) -> None:
    np.testing.assert_allclose(map_extent(points(*cells)), shown, atol=1e-9)


def marks(picture: bytes, split: str) -> np.ndarray:
    """(N, 2) rows and columns of the pixels of a split's colour, as parts of the picture; the legend's too."""
    pixels = image.imread(io.BytesIO(picture))[..., :3]
    wanted = np.array(colors.to_rgb(COLORS[split]))
    return np.argwhere(np.abs(pixels - wanted).max(axis=2) < 0.01) / pixels.shape[:2]


def test_cells_beside_the_antimeridian_are_drawn_side_by_side() -> None:
    cells = {split: points() for split in SPLITS}
    cells["training"] = points((179.99, -17.0))
    cells["testing"] = points((-179.99, -17.0))
    picture = draw_map(cells)
    middles = [
        np.median(found[found[:, 0] < 0.7], axis=0)  # the legend lies below
        for found in (marks(picture, "training"), marks(picture, "testing"))
    ]
    assert 0 < middles[1][1] - middles[0][1] < 0.3
    assert abs(middles[1][0] - middles[0][0]) < 0.02


def test_cells_that_fill_a_map_nearly_touch() -> None:
    cells = {split: points() for split in SPLITS}
    step = 0.0173
    cells["training"] = points(*((column * step, row * step) for row in range(8) for column in range(8)))
    found = marks(draw_map(cells), "training")
    found = found[(np.abs(found - 0.5) < 0.15).all(axis=1)]
    covered = len(found) / (0.3**2 * 1920 * 1900)
    assert 0.4 < covered < 0.95
