import itertools
import math

import numpy as np
import pyproj
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.labels.cell_index import CellIndex
from beam_pipeline.labels.chip_boxes import lonlat_boxes
from beam_pipeline.labels.clipping import clip_margin, clip_to_chip
from beam_pipeline.labels.feature import Feature, Found, deduplicate

MARGIN = 50.0
VADUZ = ChipWindow(32632, 539_460, 5_220_060)
CHIPS = {
    "Liechtenstein": VADUZ,
    "south": ChipWindow(32733, 260_100, 10_000_000 - 60 * 60_000),
    "Svalbard": ChipWindow(32633, 510_000, 8_700_000),
    "83 north": ChipWindow(32625, 480_000, 9_250_020),
}
FIJI = ChipWindow(32701, 180_000 - 960, 10_000_000 - 60 * 31_000)  # about 400 m west of its middle lies 180 E


def feature(geometry, osm_id=1, osm_type="way", tags=(("building", "yes"),)):
    return Feature(osm_type, osm_id, tags, shapely.to_wkb(geometry))


def to_lonlat(geometry, epsg):
    """An independent way from metres to degrees: point by point, through a transformer of its own."""
    back = pyproj.Transformer.from_crs(f"EPSG:{epsg}", "EPSG:4326", always_xy=True)
    return shapely.transform(geometry, lambda xy: np.array([back.transform(x, y) for x, y in xy]))


def kept_box(chip, margin=MARGIN):
    left, bottom, right, top = chip.bounds
    return shapely.box(left - margin, bottom - margin, right + margin, top + margin)


def blob(rng, chip, reach):
    """A star-shaped polygon with a hole, somewhere around the chip, in metres."""
    x, y = chip.left + rng.uniform(-reach, 1920 + reach), chip.bottom + rng.uniform(-reach, 1920 + reach)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 12))
    radii = rng.uniform(0.4, 1.0, 12) * rng.uniform(5, reach)
    ring = np.column_stack([x + radii * np.cos(angles), y + radii * np.sin(angles)])
    shell = shapely.Polygon(ring)
    return shapely.Polygon(ring, [(shell.centroid.buffer(1)).exterior.coords]) if shell.is_valid else shell


@pytest.mark.parametrize("name", CHIPS)
def test_clip_gives_what_metres_give(name):
    chip = CHIPS[name]
    rng = np.random.default_rng(7)
    kept = 0
    for _ in range(60):
        metres = blob(rng, chip, 600.0)
        expected = shapely.intersection(shapely.make_valid(metres), kept_box(chip))
        clipped = clip_to_chip(feature(to_lonlat(metres, chip.epsg)), chip, MARGIN)
        if expected.area < 1e-3:
            assert clipped is None or shapely.from_wkb(clipped.geometry).area < 1e-2
            continue
        kept += 1
        geometry = shapely.from_wkb(clipped.geometry)
        assert geometry.is_valid
        assert geometry.geom_type in ("Polygon", "MultiPolygon")
        assert kept_box(chip).buffer(1e-6).covers(geometry)
        # What is cut in degrees first has edges that are straight in degrees: millimetres at these lengths.
        assert shapely.symmetric_difference(geometry, expected).area < 0.2
    assert kept > 20


def test_a_feature_that_holds_the_chip_becomes_the_box():
    huge = shapely.box(-20.0, 30.0, 40.0, 70.0)
    clipped = clip_to_chip(feature(huge), VADUZ, MARGIN)
    assert shapely.from_wkb(clipped.geometry).equals(kept_box(VADUZ))


def test_a_hole_as_large_as_the_chip_leaves_nothing():
    ring = shapely.Polygon(
        shapely.box(-20.0, 30.0, 40.0, 70.0).exterior.coords,
        [shapely.box(5.0, 45.0, 15.0, 50.0).exterior.coords],
    )
    assert clip_to_chip(feature(ring), VADUZ, MARGIN) is None


@pytest.mark.parametrize(
    ("metres", "expected"),
    [
        (shapely.Point(540_000, 5_221_000), "Point"),
        (shapely.LineString([(539_000, 5_221_000), (545_000, 5_221_000)]), "LineString"),
        (
            # In and out and in again.
            shapely.LineString(
                [(539_300, 5_221_000), (541_500, 5_221_000), (541_500, 5_221_900), (540_000, 5_221_900)]
            ),
            "MultiLineString",
        ),
        (shapely.Point(539_000, 5_221_000), None),
        (shapely.LineString([(530_000, 5_221_000), (539_000, 5_221_000)]), None),
    ],
)
def test_points_and_lines(metres, expected):
    # Edges are straight in degrees, not in metres: in short steps that is the same.
    lonlat = to_lonlat(shapely.segmentize(metres, 100.0), VADUZ.epsg)
    clipped = clip_to_chip(feature(lonlat), VADUZ, MARGIN)
    if expected is None:
        assert clipped is None
        return
    geometry = shapely.from_wkb(clipped.geometry)
    assert geometry.geom_type == expected
    assert geometry.hausdorff_distance(metres.intersection(kept_box(VADUZ))) < 0.05


def bow_tie(lon, lat, size):
    return shapely.Polygon([(lon, lat), (lon + size, lat + size), (lon + size, lat), (lon, lat + size)])


@pytest.mark.parametrize(
    ("geometry", "lives"),
    [
        (bow_tie(9.52, 47.14, 0.01), True),
        (
            shapely.MultiPolygon(
                [shapely.box(9.52, 47.14, 9.53, 47.15), shapely.box(9.525, 47.14, 9.535, 47.15)]
            ),
            True,
        ),
        (shapely.Polygon([(9.53, 47.14), (9.54, 47.14), (9.53, 47.14), (9.53, 47.14)]), False),
        (shapely.Polygon([(9.53, 47.14), (9.54, math.nan), (9.53, 47.15)]), False),
        (shapely.LineString([(9.53, 47.14), (9.53, 47.14)]), False),
        (shapely.LineString([(9.53, 47.14), (math.inf, 47.14)]), False),
        (shapely.LineString([(9.53, 47.14), (9.54, math.nan), (9.54, 47.14)]), False),
        (shapely.Polygon(), False),
        (shapely.Point(), False),
        (shapely.from_wkt("POLYGON Z ((9.53 47.14 1, 9.54 47.14 2, 9.54 47.15 3, 9.53 47.14 1))"), True),
    ],
)
def test_invalid_and_empty_geometries_break_nothing(geometry, lives):
    given_feature = feature(geometry)
    clipped = clip_to_chip(given_feature, VADUZ, MARGIN)
    assert (clipped is not None) == lives
    if clipped is not None:
        part = shapely.from_wkb(clipped.geometry)
        assert part.is_valid
        assert not part.has_z
        assert part.area > 0
    index = CellIndex({5: VADUZ}, MARGIN)
    assert index.clip([given_feature]) == Found([(5, clipped)] if lives else [])


def test_bytes_that_are_no_geometry_are_nothing():
    ring_of_two_points = bytes.fromhex("010300000001000000") + (2).to_bytes(4, "little") + bytes(32)
    for wkb in (b"", b"\x01\x02", ring_of_two_points):
        broken = Feature("way", 1, (), wkb)
        assert clip_to_chip(broken, VADUZ, MARGIN) is None
        assert CellIndex({5: VADUZ}, MARGIN).cells_of(broken) == []


def test_what_only_touches_the_box_is_nothing():
    left, bottom, right, _ = kept_box(VADUZ).bounds
    beside = to_lonlat(shapely.box(left - 500, bottom, left - 1e-4, bottom + 500), VADUZ.epsg)
    assert clip_to_chip(feature(beside), VADUZ, MARGIN) is None
    assert right > left


@pytest.mark.parametrize("chip", [FIJI, ChipWindow(32660, 833_940 - 33_000, 60 * 30_000)])
def test_antimeridian(chip):
    (box,) = lonlat_boxes([chip], MARGIN)
    half = to_lonlat(shapely.Point(chip.left + 960, chip.bottom + 960), chip.epsg)
    if not box[0] < -180.0 < box[2] and not box[0] < 180.0 < box[2]:
        # Moved so that the meridian of 180 degrees runs through the chip.
        shift = pyproj.Transformer.from_crs("EPSG:4326", f"EPSG:{chip.epsg}", always_xy=True)
        x, _ = shift.transform(math.copysign(180.0, half.x), half.y)
        chip = ChipWindow(chip.epsg, int(x - 600) // 60 * 60, chip.bottom)
    (box,) = lonlat_boxes([chip], MARGIN)
    assert box[0] < -180.0 or box[2] > 180.0
    lat = (box[1] + box[3]) / 2
    split = shapely.MultiPolygon(
        [
            shapely.box(179.9, lat - 0.003, 180.0, lat + 0.003),
            shapely.box(-180.0, lat - 0.003, -179.9, lat + 0.003),
        ]
    )
    jumping = shapely.Polygon(
        [(179.9, lat - 0.003), (-179.9, lat - 0.003), (-179.9, lat + 0.003), (179.9, lat + 0.003)],
        [[(179.999, lat - 0.001), (-179.999, lat - 0.001), (-179.999, lat + 0.001), (179.999, lat + 0.001)]],
    )
    forward = pyproj.Transformer.from_crs("EPSG:4326", f"EPSG:{chip.epsg}", always_xy=True)

    def expected(box):
        projected = shapely.transform(
            shapely.segmentize(box, 0.001), lambda ll: np.column_stack(forward.transform(ll[:, 0], ll[:, 1]))
        )
        return projected.intersection(kept_box(chip)).area

    whole = expected(shapely.box(179.9, lat - 0.003, 180.1, lat + 0.003))
    hole = expected(shapely.box(179.999, lat - 0.001, 180.001, lat + 0.001))
    index = CellIndex({3: chip, 4: VADUZ}, MARGIN)
    for geometry, area in ((split, whole), (jumping, whole - hole)):
        assert index.cells_of(feature(geometry)) == [3]
        ((cell_id, part),) = index.clip([feature(geometry)]).features
        assert cell_id == 3
        assert shapely.from_wkb(part.geometry).area == pytest.approx(area, rel=1e-5)
        assert part == clip_to_chip(feature(geometry), chip, MARGIN)
    road = feature(shapely.LineString([(179.9, lat), (-179.9, lat)]))
    assert shapely.from_wkb(clip_to_chip(road, chip, MARGIN).geometry).length == pytest.approx(
        2020.0, rel=2e-3
    )


def test_what_only_bends_around_a_cell_at_the_antimeridian_does_not_touch_it():
    (box,) = lonlat_boxes([FIJI], MARGIN)
    west, south, east, north = [box[0] - 1, box[1] - 1, box[2] + 1, box[3] + 1]
    beside = [
        (west, south),
        (east, south),
        (east, south + 0.1),
        (west + 0.1, south + 0.1),
        (west + 0.1, north),
    ]
    corner = [((lon + 180) % 360 - 180, lat) for lon, lat in [*beside, (west, north), (west, south)]]
    index = CellIndex({3: FIJI}, MARGIN)
    assert index.cells_of(feature(shapely.Polygon(corner))) == []
    assert index.clip([feature(shapely.Polygon(corner))]) == Found([])


def test_a_feature_around_the_pole_stays_what_it_is():
    antarctica = shapely.box(-180.0, -90.0, 180.0, -70.0)
    chip = ChipWindow(32733, 480_000, 10_000_000 - 60 * 140_000)
    assert CellIndex({1: chip, 2: VADUZ}, MARGIN).cells_of(feature(antarctica)) == [1]
    assert shapely.from_wkb(clip_to_chip(feature(antarctica), chip, MARGIN).geometry).equals(kept_box(chip))


def test_index_finds_what_metres_find():
    chips = {
        10 * row + column: ChipWindow(32632, 520_020 + 3000 * column, 5_210_040 + 2400 * row)
        for row, column in itertools.product(range(5), range(5))
    }
    rng = np.random.default_rng(3)
    metres = [blob(rng, ChipWindow(32632, 527_000, 5_216_000), 4000.0) for _ in range(40)]
    corners = rng.uniform((515_000, 5_206_000), (540_000, 5_226_000), (20, 3, 2))
    metres += [shapely.segmentize(shapely.LineString(three), 500.0) for three in corners]
    features = [feature(to_lonlat(m, 32632), osm_id=i) for i, m in enumerate(metres)]
    index = CellIndex(chips, MARGIN)
    clipped = index.clip(features).features
    for one, shape in zip(features, metres, strict=True):
        shape = shapely.make_valid(shape)
        surely = {cell for cell, chip in chips.items() if shape.intersects(kept_box(chip, MARGIN - 1))}
        perhaps = {cell for cell, chip in chips.items() if shape.intersects(kept_box(chip, MARGIN + 1))}
        found = [cell for cell, part in clipped if part.osm_id == one.osm_id]
        assert surely <= set(found) <= perhaps
        assert found == sorted(found)
        assert set(found) <= set(index.cells_of(one))
    for cell, part in clipped:
        assert part == clip_to_chip(features[part.osm_id], chips[cell], MARGIN)


def test_an_index_of_no_cells_finds_nothing():
    index = CellIndex({}, MARGIN)
    assert index.cells_of(feature(shapely.box(9, 47, 10, 48))) == []
    assert index.clip([feature(shapely.box(9, 47, 10, 48))]) == Found([])
    assert CellIndex({1: VADUZ}, MARGIN).clip([]) == Found([])


copies = st.builds(
    feature,
    st.builds(lambda w: shapely.box(0, 0, w, 1), st.integers(1, 3)),
    st.integers(1, 3),
    st.sampled_from(["node", "way", "relation"]),
    st.sampled_from([(), (("building", "house"),)]),
)


@settings(deadline=None)
@given(st.lists(copies, max_size=12), st.randoms(use_true_random=False))
def test_deduplicate_keeps_the_largest_whatever_the_order(features, random):
    kept = deduplicate(features)
    shuffled = list(features)
    random.shuffle(shuffled)
    assert deduplicate(shuffled) == kept
    order = {"node": 0, "way": 1, "relation": 2}
    keys = [(order[f.osm_type], f.osm_id) for f in kept]
    assert keys == sorted({(order[f.osm_type], f.osm_id) for f in features})
    for one in kept:
        same = [f for f in features if (f.osm_type, f.osm_id) == (one.osm_type, one.osm_id)]
        areas = [shapely.from_wkb(f.geometry).area for f in same]
        assert shapely.from_wkb(one.geometry).area == max(areas)


def test_margin_holds_the_dilated_raster():
    # For 21 m a raster is padded by 30 m, and a pixel at its edge is lit by what crosses that edge.
    assert clip_margin(21.0) >= 30.0 + 10.0
    assert clip_margin(0.0) >= 10.0


def test_a_cell_beyond_the_antimeridian_is_found_by_what_crosses_it():
    chip = ChipWindow(FIJI.epsg, FIJI.left + 6000, FIJI.bottom)
    (box,) = lonlat_boxes([chip], MARGIN)
    assert -180.0 < box[0] < box[2] < -179.9
    lat = (box[1] + box[3]) / 2
    jumping = feature(shapely.LineString([(179.99, lat), (box[2], lat)]))
    index = CellIndex({3: chip}, MARGIN)
    assert index.cells_of(jumping) == [3]
    assert [cell for cell, _ in index.clip([jumping]).features] == [3]
