"""Label images against answers that are got another way: shapely a pixel, numpy distances, gdal_rasterize."""

import itertools
import json
import math
import shutil
import subprocess
from collections import defaultdict

import numpy as np
import pytest
import rasterio
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.labels.dilation import dilate
from beam_pipeline.labels.extract import features_of_cells
from beam_pipeline.labels.feature import Dropped, Feature, Found, deduplicate
from beam_pipeline.labels.label_image import SIZE, UNLABELED
from beam_pipeline.labels.ontology import DEFAULT_ONTOLOGY, SEA_KEY, Ontology
from beam_pipeline.labels.ontology_json import KINDS
from beam_pipeline.labels.rasterize import label_cell, rasterize
from tests.shared_data import shared

ONTOLOGY = Ontology.load(DEFAULT_ONTOLOGY.read_text(encoding="utf-8"))
VALUE = {label.name: label.value for label in ONTOLOGY.labels}
CHIP = ChipWindow(32632, 539_460, 5_220_060)
SOUTH = ChipWindow(32733, 260_100, 6_399_940)  # 40 m off the multiples of 60, as all chips in the south
PAD = 5  # pixels of the reference beyond the chip: more than the widest dilation
GDAL_SLACK_M = 0.11  # GDAL takes a line within 0.01 px of a pixel's border as either side's


def feature(geometry, osm_id=1, **tags):
    wkb = geometry if isinstance(geometry, bytes) else shapely.to_wkb(geometry)
    return Feature("way", osm_id, tuple(sorted((k.replace("__", ":"), v) for k, v in tags.items())), wkb)


def draw(*features, chip=CHIP, none_labels=False, ontology=ONTOLOGY):
    return rasterize(features, chip, ontology, none_labels, sea_known=False)


def lit(image, name):
    """The pixels of a label, as (row, column) pairs."""
    channel = next(label.channel for label in ONTOLOGY.labels if label.name == name)
    return {tuple(at) for at in np.argwhere(image.pixels[..., channel] == VALUE[name]).tolist()}


def at(column, row, chip=CHIP):
    """The place in metres that is so many pixels right of and below the chip's upper left corner."""
    return chip.left + 10 * column, chip.top - 10 * row


def box(column, row, columns, rows, chip=CHIP):
    return shapely.box(*at(column, row + rows, chip), *at(column + columns, row, chip))


def line(*points, chip=CHIP):
    return shapely.LineString([at(*p, chip) for p in points])


# The reference: for each layer the pixels that are lit for sure and those that may be, pixel by pixel.


def grow(mask, radius_m):
    """Dilation by the definition: the distance of each pixel to each lit pixel."""
    rows, columns = np.nonzero(mask)
    y, x = np.indices(mask.shape)
    grown = np.zeros_like(mask)
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        near = slice(max(0, row - PAD), row + PAD + 1), slice(max(0, column - PAD), column + PAD + 1)
        grown[near] |= 10.0 * np.hypot(y[near] - row, x[near] - column) <= radius_m
    return grown


def sure_and_possible(geometry, chip, all_touched):
    side = SIZE + 2 * PAD
    x0, y0 = chip.left - 10 * PAD, chip.top + 10 * PAD
    left, bottom, right, top = geometry.bounds
    columns = np.arange(
        max(0, math.floor((left - x0) / 10) - 1), min(side, math.floor((right - x0) / 10) + 2)
    )
    rows = np.arange(max(0, math.floor((y0 - top) / 10) - 1), min(side, math.floor((y0 - bottom) / 10) + 2))
    sure, possible = np.zeros((side, side), bool), np.zeros((side, side), bool)
    if not len(columns) or not len(rows):
        return sure, possible
    x, y = np.meshgrid(x0 + 10.0 * columns + 5, y0 - 10.0 * rows - 5)
    here = np.ix_(rows, columns)
    shapely.prepare(geometry)
    if geometry.geom_type in ("Polygon", "MultiPolygon") and not all_touched:
        inside = shapely.contains_xy(geometry, x, y)
        near = shapely.dwithin(geometry.boundary, shapely.points(x, y), 1e-6)
        sure[here], possible[here] = inside & ~near, inside | near
    else:
        for half, target in ((5 - GDAL_SLACK_M, sure), (5 + GDAL_SLACK_M, possible)):
            target[here] = shapely.intersects(geometry, shapely.box(x - half, y - half, x + half, y + half))
    return sure, possible


def reference(features, chip):
    """(192, 192, 3) of what must be drawn without the none table, and where that is beyond doubt."""
    side = SIZE + 2 * PAD
    layers = defaultdict(lambda: (np.zeros((side, side), bool), np.zeros((side, side), bool)))
    for one in features:
        geometry = shapely.make_valid(shapely.from_wkb(one.geometry))
        kind = KINDS[2 - shapely.get_dimensions(geometry)]
        for layer in ONTOLOGY.layers_of(kind, one.tags):
            found = sure_and_possible(geometry, chip, layer.all_touched)
            for mask, more in zip(layers[layer], found, strict=True):
                mask |= more
    pixels = np.full((SIZE, SIZE, 3), UNLABELED, np.uint8)
    certain = np.ones((SIZE, SIZE, 3), bool)
    inner = slice(PAD, PAD + SIZE)
    precedence = {label.value: (label.precedence, label.channel) for label in ONTOLOGY.labels}
    for layer in sorted(layers, key=lambda layer: precedence[layer.value]):
        sure, possible = (grow(m, layer.dilation_m)[inner, inner] for m in layers[layer])
        channel = precedence[layer.value][1]
        doubt = possible & ~sure
        doubt[pixels[..., channel] == layer.value] = False  # it is this label anyway
        certain[sure, channel] = True  # whatever was in doubt lies below
        certain[doubt, channel] = False
        pixels[sure, channel] = layer.value
    return pixels, certain


def check(features, chip, least_certain):
    drawn = rasterize(features, chip, ONTOLOGY, False, sea_known=False)
    expected, certain = reference(features, chip)
    wrong = np.argwhere((drawn.pixels != expected) & certain)
    assert not len(wrong), [(at.tolist(), drawn.pixels[tuple(at)], expected[tuple(at)]) for at in wrong[:5]]
    assert certain.mean() > least_certain
    return drawn


TAGS = [
    {"landuse": "forest"},
    {"natural": "water"},
    {"building": "house"},
    {"building": "warehouse"},
    {"highway": "trunk"},
    {"highway": "living_street"},
    {"waterway": "river"},
    {"leisure": "park"},
    {"man_made": "silo"},
    {"aeroway": "runway"},
]


def random_features(seed, chip, count):
    rng = np.random.default_rng(seed)
    found = []
    for i in range(count):
        centre = at(*rng.uniform(-8, SIZE + 8, 2), chip)
        spread = 10 ** rng.uniform(0, 2.7)
        points = np.array(centre) + rng.normal(0, spread, (rng.integers(3, 9), 2))
        tags = TAGS[rng.integers(len(TAGS))]
        kind = rng.integers(4)
        if kind == 0:
            geometry = shapely.LineString(points)
        elif kind == 1:
            geometry = shapely.Point(points[0])
        elif kind == 2:
            geometry = shapely.MultiPoint(points).convex_hull
            geometry = geometry.difference(geometry.centroid.buffer(spread / 3))
        else:
            geometry = shapely.Polygon(points)  # mostly crosses itself
        found.append(feature(geometry, i, **tags))
    return found


@pytest.mark.parametrize("chip", [CHIP, SOUTH], ids=["north", "south"])
@pytest.mark.parametrize("seed", range(4))
def test_made_up_features_against_shapely_and_numpy(seed, chip):
    features = random_features(seed, chip, 80)
    assert check(features, chip, 0.97).dropped == {}


@pytest.fixture(scope="module")
def real_cells():
    """(name, chip, features) of the two fullest cells of each extract and an ordinary one."""
    found = []
    for name, epsg, west, south, columns, rows in [
        ("liechtenstein-2022", 32632, 535_020, 5_209_980, 14, 15),
        ("monaco-2023", 32632, 370_020, 4_841_940, 4, 4),
    ]:
        path = shared("osm", f"{name}.osm.pbf")
        chips = {
            column * 100 + row: ChipWindow(epsg, west + 1920 * column, south + 1920 * row)
            for column in range(columns)
            for row in range(rows)
        }
        of_cell = defaultdict(list)
        for cell_id, one in Found.all_of(features_of_cells(path, chips, ONTOLOGY)).features:
            of_cell[cell_id].append(one)
        by_size = sorted(of_cell, key=lambda cell_id: len(of_cell[cell_id]))
        for cell_id in (by_size[len(by_size) // 2], *by_size[-2:]):
            found.append((name, chips[cell_id], deduplicate(of_cell[cell_id])))
    return found


def test_real_features_against_shapely_and_numpy(real_cells):
    for _, chip, features in real_cells:
        image = check(features, chip, 0.95)
        assert image.dropped == {}
    assert sum(len(features) for *_, features in real_cells) > 3000


def test_against_gdal_rasterize(real_cells, tmp_path):
    program = shutil.which("gdal_rasterize")
    if program is None:
        pytest.skip("gdal_rasterize is not installed")
    for _, chip, features in real_cells:
        for tags, all_touched in (({"landuse": "forest"}, False), ({"highway": "*"}, True)):
            ((key, value),) = tags.items()
            shapes = [
                shapely.from_wkb(one.geometry)
                for one in features
                if (value == "*" and key in dict(one.tags)) or (key, value) in one.tags
            ]
            shapes = [s for s in shapes if s.geom_type.endswith("LineString" if all_touched else "Polygon")]
            if not shapes:
                continue
            tag = {"highway": "service"} if all_touched else tags
            drawn = draw(*(feature(s, i, **tag) for i, s in enumerate(shapes)), chip=chip)
            source = tmp_path / "shapes.json"
            crs = {"type": "name", "properties": {"name": f"urn:ogc:def:crs:EPSG::{chip.epsg}"}}
            rows = [{"type": "Feature", "properties": {}, "geometry": s.__geo_interface__} for s in shapes]
            source.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": rows}))
            target = tmp_path / "burnt.tif"
            target.unlink(missing_ok=True)
            flags = ["-at"] if all_touched else []
            extent = ["-te", *map(str, chip.bounds), "-tr", "10", "10", "-ot", "Byte", "-burn", "1"]
            subprocess.run([program, "-q", *flags, *extent, "-l", source.stem, source, target], check=True)
            with rasterio.open(target) as burnt:
                expected = burnt.read(1) == 1
            name = "road" if all_touched else "wooded"
            channel = 1 if all_touched else 0
            assert np.mean((drawn.pixels[..., channel] == VALUE[name]) != expected) < 0.001


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 24), st.integers(0, 30)), max_size=8),
    st.floats(0, 10.0 * PAD),
)
def test_dilation_is_by_the_distance_of_centres(places, radius_m):
    mask = np.zeros((25, 31), bool)
    for place in places:
        mask[place] = True
    before = mask.copy()
    np.testing.assert_array_equal(dilate(mask, radius_m), grow(mask, radius_m))
    np.testing.assert_array_equal(mask, before)


def test_dilation_reaches_from_edge_to_edge():
    mask = np.zeros((3, 9), bool)
    mask[1, 0] = True
    assert np.argwhere(dilate(mask, 80.0))[:, 1].max() == 8
    assert dilate(mask, 90.0).all()


def test_dilation_against_scipy():
    ndimage = pytest.importorskip("scipy.ndimage")
    mask = np.random.default_rng(0).random((60, 70)) < 0.01
    for radius_m in (0, 9, 10, 14.2, 25, 30, 100, 437):
        expected = ndimage.distance_transform_edt(~mask) * 10 <= radius_m
        np.testing.assert_array_equal(dilate(mask, radius_m), expected)
    assert not dilate(np.zeros((4, 4), bool), 100).any()
    assert dilate(np.ones((4, 4), bool), 400).all()


def test_polygons_by_centre_and_buildings_by_touch():
    shape = box(10.6, 20.6, 1.8, 1.8)  # holds the centre of one pixel, touches nine
    assert lit(draw(feature(shape, natural="wood")), "wooded") == {(21, 11)}
    touched = {(row, column) for row in (20, 21, 22) for column in (10, 11, 12)}
    assert lit(draw(feature(shape, building="yes")), "building") == touched


def test_a_line_lights_every_pixel_it_passes():
    road = feature(line((3.5, 5.2), (7.5, 5.4)), highway="residential")
    assert lit(draw(road), "road") == {(5, column) for column in range(3, 8)}
    river = feature(line((50.5, -3), (50.6, 195)), waterway="river")
    assert lit(draw(river), "water") == {(row, 50) for row in range(SIZE)}


def test_dilation_is_by_tag():
    course = line((-5, 90.5), (200, 90.5))
    assert {row for row, _ in lit(draw(feature(course, highway="residential")), "road")} == {90}
    assert {row for row, _ in lit(draw(feature(course, highway="trunk")), "road")} == {89, 90, 91}


def test_thirty_metres_around_a_house_is_residential():
    house = feature(box(100.2, 60.2, 0.6, 0.6), building="house")
    image = draw(house)
    near = {(row, col) for row in range(SIZE) for col in range(SIZE) if math.hypot(row - 60, col - 100) <= 3}
    assert lit(image, "residential") == near
    assert len(near) == 29
    assert lit(image, "building") == {(60, 100)}


@pytest.mark.parametrize(
    ("column", "row", "expected"),
    [
        (-3, 50, {(50, 0)}),
        (-4, 50, set()),
        (SIZE + 2, 50, {(50, SIZE - 1)}),
        (SIZE + 3, 50, set()),
        (50, -3, {(0, 50)}),
        (50, SIZE + 2, {(SIZE - 1, 50)}),
        (-2, -2, {(0, 0)}),
        (-3, -3, set()),
    ],
)
def test_what_lies_outside_the_chip_dilates_into_it(column, row, expected):
    image = draw(feature(box(column + 0.2, row + 0.2, 0.6, 0.6), building="house"))
    assert lit(image, "residential") == expected
    assert lit(image, "building") == set()


def test_the_cut_of_a_feature_outside_the_reach_makes_no_difference():
    whole = feature(box(-400, 30, 700, 9.3), building="house")
    cut = feature(box(-3, 30, SIZE + 6, 9.3), building="house")
    np.testing.assert_array_equal(draw(whole).pixels, draw(cut).pixels)


def test_a_bridge_over_water_is_road_and_a_building_is_in_its_own_channel():
    lake = feature(box(20, 20, 60, 60), 1, natural="water")
    bridge = feature(line((10, 50.5), (100, 50.5)), 2, highway="primary", bridge="yes")
    boathouse = feature(box(30, 49, 4, 4), 3, building="boathouse")
    for order in ([lake, bridge, boathouse], [boathouse, bridge, lake]):
        pixels = draw(*order).pixels
        assert pixels[50, 40, 1] == VALUE["road"]
        assert pixels[52, 40, 1] == VALUE["water"]
        assert pixels[50, 31].tolist() == [UNLABELED, VALUE["road"], VALUE["building"]]


def test_precedence_in_land_use():
    everything = [
        feature(box(0, 0, 50, 50), i, **{key: value})
        for i, (key, value) in enumerate(
            [("natural", "bare_rock"), ("landuse", "forest"), ("landuse", "residential"), ("leisure", "park")]
        )
    ]
    for most, name in enumerate(("mountain_rock", "wooded", "residential", "recreation"), start=1):
        assert draw(*everything[:most]).pixels[25, 25, 0] == VALUE[name]


def test_the_label_of_a_cell_says_all_that_was_dropped():
    features = [feature(box(0, 0, 9, 9), landuse="forest"), feature(b"", 2, landuse="forest")]
    found = Found(features, Dropped({"tangled": 2, "unreadable": 1}))
    label = label_cell(7, CHIP, found, ONTOLOGY, none_labels=True, sea_known=False)
    assert (label.cell_id, label.failure) == (7, None)
    assert label.dropped == {"tangled": 2, "unreadable": 2}
    image = draw(*features, none_labels=True)
    assert image.dropped == {"unreadable": 1}
    np.testing.assert_array_equal(label.unpack(), image.pixels)
    bare = label_cell(7, CHIP, Found(features), ONTOLOGY, none_labels=False, sea_known=False)
    np.testing.assert_array_equal(bare.unpack(), draw(*features).pixels)


def test_neither_order_nor_copies_matter():
    features = random_features(11, CHIP, 120)
    expected = draw(*features, none_labels=True)
    for seed in range(3):
        mixed = [features[i] for i in np.random.default_rng(seed).permutation(len(features))]
        np.testing.assert_array_equal(draw(*mixed, *mixed[:40], none_labels=True).pixels, expected.pixels)


def test_overlapping_polygons_leave_no_hole():
    one, other = box(10, 10, 20, 20), box(20, 20, 20, 20)
    together = draw(feature(one, 1, landuse="forest"), feature(other, 2, landuse="forest"))
    assert len(lit(together, "wooded")) == 400 + 400 - 100
    both = shapely.MultiPolygon([one, other])  # invalid: its parts overlap
    assert len(lit(draw(feature(both, landuse="forest")), "wooded")) in (700, 600)


def test_holes_stay_open():
    ring = box(10, 10, 30, 30).difference(box(15, 15, 10, 10))
    assert len(lit(draw(feature(ring, landuse="forest")), "wooded")) == 800


@pytest.mark.filterwarnings("ignore:invalid value encountered in (linearrings|linestrings)")
def test_bad_geometries_are_dropped_and_counted_or_repaired():
    good = feature(box(0, 0, 10, 10), 1, landuse="forest")
    nan, inf = float("nan"), float("inf")
    x, y = at(5, 5)
    bad = {
        "unreadable": [b"", b"\x01\x03", b"no geometry", shapely.to_wkb(box(0, 0, 1, 1))[:-5]],
        "empty": [
            shapely.Polygon(),
            shapely.MultiPolygon(),
            shapely.GeometryCollection(),
            shapely.LineString(),
        ],
        "not_finite": [
            shapely.Polygon([(x, y), (x + 90, y), (x + 90, nan), (x, y)]),
            shapely.Polygon([(x, y), (x + 90, y), (inf, y + 90), (x, y)]),
            shapely.LineString([(x, y), (nan, nan)]),
        ],
        "degenerate": [
            shapely.Polygon([(x, y), (x + 90, y), (x, y)]),
            shapely.Polygon([(x, y), (x, y), (x, y), (x, y)]),
            shapely.LineString([(x, y), (x, y)]),
        ],
    }
    features = [
        feature(g, i, landuse="forest", highway="service")
        for i, g in enumerate(itertools.chain(*bad.values()), start=2)
    ]
    image = draw(good, *features)
    assert image.dropped == {reason: len(geometries) for reason, geometries in bad.items()}
    np.testing.assert_array_equal(image.pixels, draw(good).pixels)

    bowtie = shapely.Polygon([at(50, 50), at(70, 70), at(70, 50), at(50, 70)])
    image = draw(feature(bowtie, landuse="forest"))
    assert image.dropped == {}
    assert abs(len(lit(image, "wooded")) - 200) <= 20


def test_of_a_collection_the_highest_dimension_is_drawn():
    mixed = shapely.GeometryCollection(
        [
            box(10, 10, 5, 5),
            line((0, 100.5), (50, 100.5)),
            shapely.GeometryCollection([shapely.MultiPolygon([box(30, 30, 5, 5)]), shapely.Point(at(0, 0))]),
        ]
    )
    image = draw(feature(mixed, highway="pedestrian"))
    assert image.dropped == {}
    assert len(lit(image, "road")) == 50


def test_heights_are_ignored():
    flat = box(10, 10, 5, 5)
    raised = shapely.force_3d(flat, 440.0)
    np.testing.assert_array_equal(
        draw(feature(raised, landuse="forest")).pixels, draw(feature(flat, landuse="forest")).pixels
    )


def test_what_is_not_drawn_is_not_counted():
    image = draw(
        feature(shapely.Point(at(5, 5)), highway="crossing"), feature(box(0, 0, 9, 9), railway="yes")
    )
    assert image.dropped == {}
    assert (image.pixels == UNLABELED).all()


@pytest.mark.parametrize("none_labels", [False, True])
def test_nothing_mapped_is_unknown_everywhere(none_labels):
    image = draw(none_labels=none_labels)
    assert image.pixels.shape == (SIZE, SIZE, 3)
    assert image.pixels.dtype == np.uint8
    assert (image.pixels == UNLABELED).all()


@pytest.mark.parametrize(
    ("course", "coastal"),
    [
        (((-5, 90.5), (200, 90.5)), True),
        (((191.5, 191.5), (300, 300)), True),
        (((-5, -2), (200, -2)), False),  # in the margin only
    ],
)
def test_a_chip_is_coastal_where_a_coastline_passes_it(course, coastal):
    shore = feature(line(*course), natural="coastline")
    assert draw(shore).coastal is coastal
    assert (
        draw(feature(line(*course), highway="residential"), feature(b"", natural="coastline")).coastal
        is False
    )
    label = label_cell(7, CHIP, Found([shore]), ONTOLOGY, none_labels=True, sea_known=True)
    assert label.coastal is coastal
    assert (label.unpack() == UNLABELED).all()  # the line itself is not drawn


def test_an_island_in_the_chip_is_coast():
    assert draw(feature(box(50, 50, 9, 9).boundary, natural="coastline")).coastal
    assert not draw(feature(box(50, 50, 9, 9), natural="coastline")).coastal  # an area is no coastline


def test_the_sea_is_water():
    sea = Feature("sea", 1, ((SEA_KEY, "sea"),), shapely.to_wkb(box(0, 0, 20, 30)))
    assert lit(draw(sea), "water") == {(row, column) for row in range(30) for column in range(20)}
    assert deduplicate([sea, feature(box(0, 0, 1, 1), 9, natural="water")])[-1] == sea
