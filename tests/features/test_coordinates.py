import random

import numpy as np
import pyarrow as pa
import pytest
import shapely

from beam_pipeline.features.coordinates import OFF_BY, compact, restore


def on_grid(count, seed=0):
    """(count, 2) degrees all over the world, as libosmium gives them: a whole number, divided."""
    steps = np.random.default_rng(seed).integers(
        [-1_800_000_000, -900_000_000], [1_800_000_001, 900_000_001], (count, 2)
    )
    steps[:4] = [(0, 0), (-1_800_000_000, 900_000_000), (1, -1), (1_800_000_000, -900_000_000)]
    return steps / 1e7


def wkb(geometries):
    return pa.array(shapely.to_wkb(np.array(geometries, dtype=object), byte_order=1).tolist(), pa.binary())


def every_kind(places):
    box = shapely.box(0.1, 0.1, 0.9, 0.9)
    return [
        *map(shapely.Point, places[:50]),
        *map(shapely.LineString, places[50:350].reshape(-1, 6, 2)),
        *map(shapely.Polygon, places[350:650].reshape(-1, 6, 2)),
        shapely.MultiPolygon(
            [box - shapely.box(0.2, 0.2, 0.3, 0.3) - shapely.box(0.5, 0.5, 0.7, 0.7), shapely.box(2, 2, 3, 3)]
        ),
        shapely.Polygon(box.exterior, [shapely.box(0.3, 0.3, 0.4, 0.4).exterior]),
        shapely.MultiPoint(places[:7]),
        shapely.MultiLineString([places[:3], places[3:8]]),
        shapely.LineString(),
        shapely.Polygon(),
        shapely.MultiPolygon(),
    ]


def test_openstreetmaps_coordinates_come_back_to_the_last_bit():
    whole = wkb(every_kind(on_grid(2000)))
    packed = compact(whole)
    assert restore(packed).equals(whole)
    there, here = (shapely.get_coordinates(shapely.from_wkb(it.to_pylist())) for it in (whole, packed))
    assert 0 < np.abs(there - here).max() <= OFF_BY
    assert (here * 2**24 % 1 == 0).all()  # the last bits are zero: that is what compresses


def test_what_is_not_of_the_grid_stays_as_it_is():
    places = np.random.default_rng(1).uniform(-180, 180, (500, 2))
    lines = wkb(list(map(shapely.LineString, places.reshape(-1, 10, 2))))
    assert compact(lines).equals(lines)
    assert restore(lines).equals(lines)


def test_what_is_a_multiple_of_a_power_of_two_by_chance_moves_by_its_last_bit():
    place = 9.5 + 2.0**-24
    (back,) = shapely.from_wkb(restore(compact(wkb([shapely.Point(place, 47.0)]))).to_pylist())
    assert back.x == np.nextafter(place, np.inf)
    assert back.y == 47.0


def test_a_slice_is_changed_like_a_whole():
    whole = wkb(every_kind(on_grid(2000)))
    part = whole.slice(40, 80)
    assert compact(part).equals(compact(whole).slice(40, 80))
    assert compact(whole.slice(3, 0)).equals(pa.array([], pa.binary()))


def test_what_is_no_geometry_is_refused():
    for bad in (b"", b"\x01\x01\x00\x00", b"\x00" + bytes(20), b"\x01\x07\x00\x00\x00" + bytes(16), None):
        with pytest.raises(ValueError, match="a geometry"):
            compact(pa.array([bad], pa.binary()))
    for geometry in every_kind(on_grid(2000))[::10]:
        text = shapely.to_wkb(geometry, byte_order=1)
        for other in (text[:-1], text + b"\x00"):
            with pytest.raises(ValueError, match="a geometry"):
                restore(pa.array([other], pa.binary()))


def test_damaged_geometries_are_changed_or_refused():
    draw = random.Random(0)
    whole = [shapely.to_wkb(geometry, byte_order=1) for geometry in every_kind(on_grid(2000))]
    refused = 0
    for _ in range(2000):
        damaged = bytearray(draw.choice(whole))
        damaged[draw.randrange(min(len(damaged), 30))] = draw.choice((0, 1, 3, 6, 7, 255))
        try:
            assert len(restore(pa.array([bytes(damaged)], pa.binary()))[0].as_py()) == len(damaged)
        except ValueError:
            refused += 1
    assert 100 < refused < 1900
