"""Regions at the edges of the map: rounding beyond it, and edges that cross the antimeridian."""

import json

import pytest

from beam_pipeline.cells.region import cells_in_region
from beam_pipeline.runtime.faults import InvalidInputError


def polygon(*rings: list[list[float]]) -> str:
    return json.dumps({"type": "MultiPolygon", "coordinates": [[[*ring, ring[0]]] for ring in rings]})


def box(west: float, east: float) -> list[list[float]]:
    return [[west, -17], [east, -17], [east, -16.8], [west, -16.8]]


def test_an_edge_across_the_antimeridian_is_refused_and_both_remedies_work() -> None:
    with pytest.raises(
        InvalidInputError, match=r"edge of more than 180 degrees, from 179\.8,-17 to -179\.8,-17"
    ):
        cells_in_region(polygon(box(179.8, -179.8)), None, 0)
    cut = cells_in_region(polygon(box(179.8, 180), box(-180, -179.8)), None, 0)
    assert cut == cells_in_region("179.8,-17,-179.8,-16.8", None, 0)
    assert 0 < len(cut.cells) + cut.without_tile < 1000


def test_an_edge_that_goes_the_long_way_says_so_by_a_point() -> None:
    wide = [[-100, 10], [100, 10], [100, 10.001], [-100, 10.001]]
    with pytest.raises(InvalidInputError, match="put a point on it"):
        cells_in_region(polygon(wide), 5, 0)
    told = [[-100, 10], [0, 10], [100, 10], [100, 10.1], [0, 10.1], [-100, 10.1]]
    assert cells_in_region(polygon(told), 5, 0) == cells_in_region("-100,10,100,10.1", 5, 0)


def test_the_rim_of_the_map_may_be_followed() -> None:
    rim = [[-180, 10], [180, 10], [180, 10.1], [-180, 10.1]]
    assert cells_in_region(polygon(rim), 5, 0) == cells_in_region("-180,10,180,10.1", 5, 0)


def test_rounding_beyond_the_map_is_passed_over() -> None:
    exact = cells_in_region("179.9,-17,180,-16.9", None, 0)
    assert exact.cells or exact.without_tile
    assert cells_in_region("179.9,-17,180.00000000000014,-16.9", None, 0) == exact
    ring = [[179.9, -17], [180.00000000000014, -17], [180.00000000000014, -16.9], [179.9, -16.9]]
    assert cells_in_region(polygon(ring), None, 0) == exact
    with pytest.raises(InvalidInputError, match="lie in -180 to 180"):
        cells_in_region("179.9,-17,180.001,-16.9", None, 0)
