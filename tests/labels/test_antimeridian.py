import numpy as np
import pytest
import shapely

from beam_pipeline.labels.antimeridian import make_continuous


def continuous(geometry):
    return make_continuous(np.array([geometry, None], dtype=object))[0]


def test_what_jumps_goes_on_beyond_180_degrees():
    line = shapely.LineString([(179, 1), (-179, 2), (-178, 3)])
    assert continuous(line).equals(shapely.LineString([(179, 1), (181, 2), (182, 3)]))
    hole = [(179.5, 1), (-179.5, 1), (-179.5, 2), (179.5, 2)]
    ring = shapely.Polygon([(179, 0), (-179, 0), (-179, 3), (179, 3)], [hole])
    assert continuous(ring).equals(shapely.box(179, 0, 181, 3).difference(shapely.box(179.5, 1, 180.5, 2)))


@pytest.mark.parametrize(
    "geometry",
    [
        shapely.Polygon([((lon + 180) % 360 - 180, -75) for lon in range(-10, 350, 20)]),  # around the pole
        shapely.box(-180, -90, 180, -70),
        shapely.LineString([(lon, 5) for lon in range(-170, 180, 20)]),  # as long as it says
        shapely.box(9, 47, 10, 48),
        shapely.LineString([(-180, 1), (180, 1)]),  # continuous it would be of no length
    ],
)
def test_what_does_not_cross_stays(geometry):
    assert continuous(geometry).equals_exact(geometry, 0.0)


@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_what_cannot_be_drawn_is_nothing():
    for geometry in (shapely.Point(), shapely.LineString([(1, 1), (np.inf, 2)]), None):
        assert continuous(geometry) is None
    assert not continuous(shapely.Point(1, 2, 3)).has_z
