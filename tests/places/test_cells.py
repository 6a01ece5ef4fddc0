"""The chip around a place: in which zone, on which lattice, how near its middle, and of which tile."""

import numpy as np
import pyproj
import pytest

from beam_pipeline.cells.cell import false_northing
from beam_pipeline.cells.mgrs_tiles import find_tile
from beam_pipeline.cells.splits import split_of_tile
from beam_pipeline.places.cells import PlannedPlaces, plan_places
from beam_pipeline.places.place_list import GivenPlace, PlaceList
from beam_pipeline.runtime.faults import InvalidInputError


def plan(*places: GivenPlace, with_dates: bool = False, **left_out: int) -> PlannedPlaces:
    return plan_places(PlaceList("table", places, left_out), 3, with_dates=with_dates)


def place(name: str, lon: float, lat: float, class_name: str = "wood", **more: object) -> GivenPlace:
    return GivenPlace(name, class_name, lon, lat, f"a.csv, {name}", **more)


def test_the_place_is_in_the_middle_of_a_chip_of_its_tile():
    """Against pyproj, over the Earth; snapping moves a chip by up to 30 m in each direction."""
    rng = np.random.default_rng(0)
    lons, lats = rng.uniform(-180, 180, 300), rng.uniform(-60, 75, 300)
    planned = plan(
        *(
            place(f"{i:03}", lon, lat)
            for i, (lon, lat) in enumerate(zip(lons.tolist(), lats.tolist(), strict=True))
        )
    )
    assert len(planned.cells) > 100
    assert len(planned.cells) + planned.counts.get("no_tile", 0) == 300
    for cell in planned.cells:
        chip = cell.chip
        to_utm = pyproj.Transformer.from_crs(4326, chip.epsg, always_xy=True)
        x, y = to_utm.transform(cell.place.longitude, cell.place.latitude)
        assert abs((chip.left + chip.right) / 2 - x) <= 30
        assert abs((chip.bottom + chip.top) / 2 - y) <= 30
        assert chip.left % 60 == (chip.bottom - false_northing(chip.epsg)) % 60 == 0
        assert find_tile(cell.tile).holds(chip)
        assert cell.split == split_of_tile(3, cell.tile)
        corners = [to_utm.transform(*p, direction="INVERSE") for p in (chip.bounds[:2], chip.bounds[2:])]
        for lon, lat in corners:
            assert cell.min_lat - 1e-9 <= lat <= cell.max_lat + 1e-9
            if cell.min_lon < cell.max_lon:
                assert cell.min_lon - 1e-9 <= lon <= cell.max_lon + 1e-9


def test_places_at_borders_of_tiles_and_zones_get_one_chip_each():
    """42 W parts zones 23 and 24. Squares of zone 32: from west to east L and M, from south to north V and A."""
    lon, lat = pyproj.Transformer.from_crs(32632, 4326, always_xy=True).transform(400_000, 5_500_000)
    planned = plan(
        *(place(f"zone {i}", -42 + i * 1e-2, 38.85) for i in range(-5, 5)),
        place("corner", -41.99, 38.8103),
        *(place(f"tile {i}{j}", lon + i * 1e-3, lat + j * 1e-3) for i in (-20, 20) for j in (-20, 20)),
    )
    assert len(planned.cells) == 15
    by_name = {cell.place.name: cell for cell in planned.cells}
    for i in range(-5, 5):
        assert by_name[f"zone {i}"].chip.epsg == (32623 if i < 0 else 32624)
        assert by_name[f"zone {i}"].tile == ("23SQD" if i < 0 else "24STJ")
    # It lies in square 24STH, whose tile ends within the chip; of those that hold it whole, 23SQD is nearest.
    assert by_name["corner"].tile == "23SQD"
    tiles = {(i, j): by_name[f"tile {i}{j}"].tile for i in (-20, 20) for j in (-20, 20)}
    assert tiles == {(-20, -20): "32ULV", (20, -20): "32UMV", (-20, 20): "32ULA", (20, 20): "32UMA"}
    for cell in planned.cells:
        assert find_tile(cell.tile).holds(cell.chip)


def test_places_beyond_sentinel_2_are_counted_and_named():
    planned = plan(place("far north", 10, 84.5), place("here", 10, 50), place("pole", 0, -90), false=2)
    assert [cell.place.name for cell in planned.cells] == ["here"]
    assert [it.name for it in planned.left_out["no_tile"]] == ["far north", "pole"]
    assert planned.counts == {"false": 2, "no_tile": 2}


def test_of_doubled_places_one_stays_and_of_contradictory_ones_none():
    planned = plan(
        place("a", 10, 50),
        place("b", 10, 50),
        place("c", 10 + 1e-9, 50),
        place("a", 10, 50),
        place("d", 11, 50),
        place("e", 11, 50, "town"),
        place("west", -180, 10),
        place("east", 180, 10),
    )
    assert [cell.place.name for cell in planned.cells] == ["a", "west"]
    assert planned.counts == {"doubled": 4, "two_classes": 2}
    assert [it.name for it in planned.left_out["two_classes"]] == ["d", "e"]


def test_one_name_of_two_places_is_refused():
    with pytest.raises(
        InvalidInputError, match=r"a\.csv, a: name must be that of one place.*'a', which a\.csv, a has"
    ):
        plan(place("a", 10, 50), place("a", 10, 51))
    with pytest.raises(InvalidInputError, match="name must be"):
        plan(place("a", 10, 50), place("a", 10, 50, "town"))


def test_a_list_of_which_nothing_is_left_is_refused():
    with pytest.raises(InvalidInputError, match=r"no place that can be used.*no_tile 1"):
        plan(place("a", 0, -85))
    with pytest.raises(InvalidInputError, match="it is empty"):
        plan()


def test_across_the_antimeridian_the_west_edge_is_east_of_the_other():
    (cell,) = plan(place("a", 180, 66)).cells
    assert 179.9 < cell.min_lon < 180
    assert -180 < cell.max_lon < -179.9


def test_splits_and_dates_are_those_of_the_list_where_it_says_some():
    places = (
        place("a", 10, 50, split="testing", date="2019-01-01"),
        place("b", 10.1, 50.1, split="training"),
    )
    cells = plan(*places, with_dates=True).cells
    assert [(cell.split, cell.place.date) for cell in cells] == [("testing", "2019-01-01"), ("training", "")]
    assert [cell.place.date for cell in plan(*places).cells] == ["", ""]


def test_the_order_of_the_list_changes_nothing():
    places = [place(f"{i}", i, i) for i in range(20)]
    assert plan(*places).cells == plan(*reversed(places)).cells
