import time

import numpy as np
import pytest
import shapely

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.labels.cell_index import CellIndex
from beam_pipeline.labels.clipping import clip_to_chip
from beam_pipeline.labels.feature import Feature
from beam_pipeline.labels.ontology import DEFAULT_ONTOLOGY, Ontology
from beam_pipeline.labels.rasterize import rasterize
from beam_pipeline.labels.repair import make_valid
from beam_pipeline.labels.tangles import are_tangled, segments_of

CHIP = ChipWindow(32632, 539_460, 5_220_060)
LON, LAT = 9.5327, 47.1413  # the middle of CHIP
ONTOLOGY = Ontology.load(DEFAULT_ONTOLOGY.read_text())


def scribble(nodes: int, seed: int = 0) -> np.ndarray:
    """(nodes, 2) in degrees, all over the chip and beyond."""
    return np.array([LON, LAT]) + 0.04 * (np.random.default_rng(seed).random((nodes, 2)) - 0.5)


def circle(nodes: int, bow_ties: int) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, nodes, endpoint=False)
    ring = np.column_stack([np.cos(angle), np.sin(angle)])
    for i in np.linspace(0, nodes - 5, bow_ties).astype(int).tolist():
        ring[[i + 1, i + 2]] = ring[[i + 2, i + 1]]
    return ring


def spiral(nodes: int, turns: int) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi * turns, nodes)
    return np.linspace(0.1, 1, nodes)[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])


def star(points: int) -> np.ndarray:
    angle = 2 * np.pi * (points // 2) * np.arange(points) / points
    return np.column_stack([np.cos(angle), np.sin(angle)]) + 1e-3 * np.random.default_rng(0).random(
        (points, 2)
    )


def comb(teeth: int) -> np.ndarray:
    column = np.arange(teeth)
    return np.vstack([np.column_stack([column, (-1.0) ** column]), [(teeth, -5), (teeth, 0), (-1, 0)]])


def petals(number: int) -> np.ndarray:
    """Triangles that meet in a node: no two of them cross."""
    angle = 2 * np.pi * np.arange(number) / number
    tips = [np.column_stack([np.cos(a), np.sin(a)]) for a in (angle, angle + 0.3 / number)]
    return np.stack([np.zeros((number, 2)), *tips], axis=1).reshape(-1, 2)


def hatching(strokes: int) -> np.ndarray:
    """Diagonals whose envelopes all meet though none cross, and a bow tie at the end."""
    along = np.arange(strokes) * 1e-3
    there = np.column_stack([along, -along]) + 1
    back = np.column_stack([along, -along])
    odd = np.arange(strokes)[:, None] % 2 == 1
    ends = np.stack([np.where(odd, back, there), np.where(odd, there, back)])
    ring = ends.transpose(1, 0, 2).reshape(-1, 2)
    return np.vstack([ring, [(9, -9), (9, 3), (8, -9), (8, 3)]])


BROKEN = {
    "bow tie": np.array([(0, 0), (1, 1), (1, 0), (0, 1)]),
    "5,000 nodes, 5 crossings": circle(5000, 5),
    "10,000 nodes, 100 crossings": circle(10_000, 100),
    "spiral": spiral(2000, 100),
    "drawn twice": np.vstack([circle(900, 2), circle(900, 2)]),
    "drawn there and back": np.vstack([circle(900, 0), circle(900, 0)[::-1]]),
    "scribble of 60": scribble(60),
    "hatching": hatching(700),
    "petals": petals(30),
}


@pytest.mark.parametrize("ring", BROKEN.values(), ids=BROKEN.keys())
def test_what_is_broken_is_repaired_as_shapely_does(ring):
    polygon = shapely.Polygon(ring)
    assert not polygon.is_valid
    made, tangled = make_valid(np.array([polygon]))
    assert not tangled[0]
    assert shapely.to_wkb(made[0]) == shapely.to_wkb(shapely.make_valid(polygon))


def test_each_edge_counts_once_however_often_it_is_run_over():
    corners = [(0, 0), (4, 0), (4, 4), (0, 4)]
    turned = [corners[0], *corners[:0:-1]]
    # Around a square of 1 x 1 a second time, within: by even-odd it is a hole, by winding it would be filled.
    coil = [(0, 0), (4, 0), (4, 4), (0, 4), (0, 1), (3, 1), (3, 3), (1, 3), (1, 0)]
    for rings, area in (
        ([corners + corners], 16),
        ([corners + turned], 16),
        ([corners * 3], 16),
        ([[*corners, (0, 0), (4, 0), (4, 4)]], 16),  # twice around a half
        ([corners, corners], 16),  # two parts in one place
        ([corners, [(2, 0), (6, 0), (6, 4), (2, 4)]], 24),  # two parts with edges in common
        ([corners, [(2, 2), (6, 2), (6, 6), (2, 6)]], 16 + 16 - 2 * 4),  # two parts that cross: even-odd
        ([coil], 16 - 4 - 1),
    ):
        broken = shapely.MultiPolygon([shapely.Polygon(ring) for ring in rings])
        assert not broken.is_valid
        made, _ = make_valid(np.array([broken]))
        assert made[0].area == area


TANGLED = {
    "scribble": scribble(500),
    "scribble of 2,000": scribble(2000),
    "more nodes than OpenStreetMap allows": scribble(20_000),
    "star": star(71),
    "spiral": spiral(2000, 300),
    "long spiral": spiral(50_000, 200),
    "comb": comb(1900),
    "petals": petals(600),
}


@pytest.mark.parametrize("ring", TANGLED.values(), ids=TANGLED.keys())
def test_what_would_take_long_is_told_soon(ring):
    polygon = shapely.Polygon(ring)
    started = time.process_time()
    made, tangled = make_valid(np.array([polygon, shapely.Polygon(BROKEN["bow tie"])]))
    assert time.process_time() - started < 10
    assert list(tangled) == [True, False]
    assert made[0] is None
    assert made[1].area == pytest.approx(0.5)


def test_at_the_bound_a_repair_takes_about_a_second():
    # The worst shape known, with as many crossings as just go through.
    points = max(n for n in range(9, 80, 2) if not are_tangled(np.array([shapely.Polygon(star(n))]))[0])
    assert points > 40
    started = time.process_time()
    shapely.make_valid(shapely.Polygon(star(points)))
    assert time.process_time() - started < 10


def test_crossings_are_those_that_shapely_counts():
    for ring in (scribble(30), circle(60, 4), star(15), comb(12), np.vstack([scribble(12), scribble(12)])):
        polygon = shapely.Polygon(ring)
        starts, ends = segments_of(polygon)
        segments = shapely.linestrings(np.stack([starts, ends], axis=1))
        distinct = {frozenset(map(tuple, pair)) for pair in np.stack([starts, ends], axis=1).tolist()}
        assert len(distinct) == len(segments)
        crossings = sum(
            bool(one.intersects(other)) and not set(one.coords) & set(other.coords)
            for i, one in enumerate(segments)
            for other in segments[:i]
        )
        work = crossings * (len(segments) + 4 * crossings)
        for bound, tangled in ((work, False), (work - 1, True)):
            assert are_tangled(np.array([polygon]), most_work=bound)[0] == tangled


def test_holes_and_parts_count_too():
    square = shapely.box(-2, -2, 2, 2)
    with_hole = shapely.Polygon(square.exterior, [scribble(300)])
    parts = shapely.MultiPolygon([shapely.box(5, 5, 6, 6), shapely.Polygon(scribble(300))])
    mixed = shapely.GeometryCollection([shapely.Point(0, 0), parts])
    assert are_tangled(np.array([with_hole, parts, mixed, shapely.Polygon(BROKEN["bow tie"])])).tolist() == [
        True,
        True,
        True,
        False,
    ]


def as_feature(osm_id: int, geometry, **tags: str) -> Feature:
    return Feature("way", osm_id, tuple(tags.items()), shapely.to_wkb(geometry))


def test_tangles_are_left_out_and_counted_whatever_the_cells_and_their_company():
    area = as_feature(1, shapely.Polygon(scribble(300)), landuse="forest")
    line = as_feature(2, shapely.LineString(scribble(800)), highway="trunk")
    good = as_feature(3, shapely.box(LON, LAT, LON + 0.001, LAT + 0.001), landuse="forest")
    broken = as_feature(4, shapely.Polygon(scribble(60)), landuse="forest")
    doodle = as_feature(5, shapely.LineString(scribble(100)), highway="trunk")
    far = ChipWindow(32632, 700_020, 5_220_060)
    for chips, cells in (({7: CHIP}, [7]), ({7: CHIP, 9: far}, [7]), ({9: far}, []), ({}, [])):
        for company in ([area, line, good, broken, doodle], [doodle, line, broken, area, good]):
            found = CellIndex(chips, 50.0).clip(company)
            assert found.dropped.counts == {"tangled": 2}
            assert sorted((cell, one.osm_id) for cell, one in found.features) == [
                (c, i) for c in cells for i in (3, 4, 5)
            ]
            for _, one in found.features:
                (alone,) = (it for it in company if it.osm_id == one.osm_id)
                assert one == clip_to_chip(alone, CHIP, 50.0)
    assert clip_to_chip(area, CHIP, 50.0) is None


def test_what_is_tangled_only_in_metres_is_counted_by_the_drawing():
    # A straight edge in degrees is bent in metres: teeth that stop 1e-9 degrees short of it come to cross it.
    teeth = 3000
    lon = LON + np.linspace(-0.008, 0.008, 2 * teeth)
    lat = LAT + np.where(np.arange(2 * teeth) % 2, 1e-9, 1e-6)
    ring = np.vstack(
        [np.column_stack([lon, lat]), [(LON + 0.009, LAT + 0.005), (LON + 0.009, LAT), (LON - 0.009, LAT)]]
    )
    ring = np.vstack([ring, [(LON - 0.009, LAT + 0.005)]])
    polygon = shapely.Polygon(ring)
    assert polygon.is_valid
    found = CellIndex({7: CHIP}, 50.0).clip([as_feature(1, polygon, landuse="forest")])
    assert not found.dropped.counts
    ((_, part),) = found.features
    image = rasterize([part], CHIP, ONTOLOGY, none_labels=False, sea_known=False)
    assert image.dropped == {"tangled": 1}
    assert (image.pixels == 255).all()


def test_the_drawing_drops_tangles_and_draws_the_rest():
    middle = np.array([(CHIP.bounds[0] + CHIP.bounds[2]) / 2, (CHIP.bounds[1] + CHIP.bounds[3]) / 2])
    tangle = middle + 2000 * (np.random.default_rng(0).random((300, 2)) - 0.5)
    good = as_feature(1, shapely.Point(*middle).buffer(300), landuse="forest")
    image = rasterize(
        [good, as_feature(2, shapely.Polygon(tangle), landuse="forest")],
        CHIP,
        ONTOLOGY,
        False,
        sea_known=False,
    )
    assert image.dropped == {"tangled": 1}
    np.testing.assert_array_equal(
        image.pixels, rasterize([good], CHIP, ONTOLOGY, False, sea_known=False).pixels
    )
