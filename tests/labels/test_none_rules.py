"""Ground that is known to be nothing: against published label images, distances pixel by pixel, and made-up places."""

import json

import numpy as np
import pytest
import rasterio
import shapely

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.labels.feature import Feature
from beam_pipeline.labels.label_image import NONE, UNLABELED
from beam_pipeline.labels.none_rules import settle
from beam_pipeline.labels.ontology import SEA_KEY, SHIPPED, Ontology, shipped_ontology
from beam_pipeline.labels.rasterize import rasterize
from tests.shared_data import shared

PUBLISHED, STRICT = (Ontology.load(shipped_ontology(name)) for name in SHIPPED)
VALUE = {label.name: label.value for label in PUBLISHED.labels}
CHIP = ChipWindow(32632, 539_460, 5_220_060)
N, U = NONE, UNLABELED


def box(column, row, columns, rows):
    """A rectangle that begins so many pixels right of and below the chip's upper left corner."""
    left, top = CHIP.left + 10 * column, CHIP.top - 10 * row
    return shapely.box(left, top - 10 * rows, left + 10 * columns, top)


def line(*points):
    return shapely.LineString([(CHIP.left + 10 * x, CHIP.top - 10 * y) for x, y in points])


def draw(*shapes, ontology=PUBLISHED, sea_known=False, none_labels=True):
    """Draws (geometry, tags) pairs; returns (192, 192, 3)."""
    features = [
        Feature("way", i, tuple(sorted(tags.items())), shapely.to_wkb(geometry))
        for i, (geometry, tags) in enumerate(shapes, 1)
    ]
    return rasterize(features, CHIP, ontology, none_labels, sea_known=sea_known).pixels


# The published label images.


def settled_anew(name):
    """A published image, and what its labels alone give by the table."""
    with rasterio.open(shared("opensentinelmap_published", "osm_label_images_v10", f"{name}.png")) as image:
        published = np.moveaxis(image.read(), 0, 2)
    positive = np.where(published < NONE, published, UNLABELED)
    drawn = {value: (positive == value).any(axis=2) for value in VALUE.values()}
    # Some roads are dilated. Where they are not, the published third channel is known.
    drawn[VALUE["road"]] &= published[..., 2] != UNLABELED
    return published, settle(positive, drawn, PUBLISHED, sea_unknown=False)


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
@pytest.mark.parametrize(
    ("name", "off_roads"), [("unknown_tile/20282655", 0.999), ("11SQA/103956272", 0.987)]
)
def test_published_images_are_known_where_the_table_says(name, off_roads):
    published, ours = settled_anew(name)
    np.testing.assert_array_equal(ours[..., 0], published[..., 0])
    right = ours == published
    assert right[..., 1].mean() >= 0.996
    assert right[published[..., 1] != VALUE["road"], 2].mean() >= off_roads
    if name.endswith("20282655"):
        inner = slice(12, -12)  # what lies outside of the image reaches 10 pixels into it, and a bit
        assert right[inner, inner, 1].all()


# The rules, pixel by pixel.


def within(mask, radius):
    """Where a lit pixel is at most so many pixels away, by the definition."""
    places = np.argwhere(mask)
    y, x = np.indices(mask.shape)
    near = np.zeros(mask.shape, bool)
    for row, column in places:
        near |= (y - row) ** 2 + (x - column) ** 2 <= radius * radius
    return near


def test_the_published_rules_pixel_by_pixel():
    rng = np.random.default_rng(3)
    margin, side = 10, 60
    wide = side + 2 * margin
    drawn = {value: np.zeros((wide, wide), bool) for value in VALUE.values()}
    for value in drawn:
        for _ in range(2):
            row, column = rng.integers(0, wide, 2)
            drawn[value][row : row + 3, column : column + 4] = True
    inner = slice(margin, margin + side)
    pixels = np.full((side, side, 3), U, np.uint8)
    for label in sorted(PUBLISHED.labels, key=lambda label: label.precedence):
        grown = within(drawn[label.value], 3 if label.name in ("residential", "road") else 0)
        pixels[grown[inner, inner], label.channel] = label.value

    ours = settle(pixels, drawn, PUBLISHED, sea_unknown=False)

    no_water = within(np.logical_or.reduce(list(drawn.values())), 10)[inner, inner]
    open_land = [
        VALUE[n] for n in ("wooded", "agricultural", "desert_sand", "mountain_rock", "other_natural")
    ]
    no_building = np.isin(pixels[..., 0], open_land)
    no_building |= (drawn[VALUE["water"]] | drawn[VALUE["road"]])[inner, inner]
    no_building |= within(drawn[VALUE["building"]], 2)[inner, inner]
    expected = pixels.copy()
    expected[..., 1][no_water & (pixels[..., 1] == U)] = N
    expected[..., 2][no_building & (pixels[..., 2] == U)] = N
    np.testing.assert_array_equal(ours, expected)
    for channel in (1, 2):
        assert {N, U} <= set(np.unique(expected[..., channel]))
    assert N not in expected[..., 0]


# Made-up places.


def test_the_published_table():
    pixels = draw(
        (box(0, 0, 10, 10), {"landuse": "forest"}),
        (box(40, 0, 10, 10), {"landuse": "residential"}),
        (box(80, 0, 10, 10), {"natural": "water"}),
        (line((120, 5.5), (130, 5.5)), {"highway": "trunk"}),
        (box(160.2, 5.2, 0.6, 0.6), {"building": "yes"}),
    )
    assert pixels[5, 5].tolist() == [VALUE["wooded"], N, N]
    assert pixels[5, 45].tolist() == [VALUE["residential"], N, U]
    assert pixels[5, 85].tolist() == [U, VALUE["water"], N]
    assert pixels[5, 125].tolist() == [U, VALUE["road"], N]
    assert pixels[4, 125].tolist() == [U, VALUE["road"], U]  # road by dilation: a house may stand there
    assert pixels[5, 160].tolist() == [U, N, VALUE["building"]]
    assert [pixels[5, 160 + d, 2] for d in (1, 2, 3)] == [N, N, U]
    assert [pixels[5, 160 + d, 1] for d in (9, 10, 11)] == [N, N, U]
    assert pixels[6 + 5, 9 + 5].tolist() == [U, N, U]
    assert pixels[150, 150].tolist() == [U, U, U]


def test_a_distance_is_counted_from_what_is_drawn_before_it_grows():
    pixels = draw((box(100.2, 60.2, 0.6, 0.6), {"building": "house"}))
    assert pixels[60, 103].tolist() == [
        VALUE["residential"],
        N,
        U,
    ]  # residential by dilation settles no building
    assert [pixels[60, 100 + d, 1] for d in (10, 11)] == [N, U]


def test_another_land_use_on_top_takes_what_the_one_below_settles():
    forest = (box(0, 0, 40, 40), {"landuse": "forest"})
    pixels = draw(forest, (box(0, 0, 20, 40), {"landuse": "residential"}))
    assert pixels[20, 10].tolist() == [VALUE["residential"], N, U]
    assert pixels[20, 30].tolist() == [VALUE["wooded"], N, N]
    # A road of one pixel lies on the water; the two beside it are dilation, and water below.
    pixels = draw(
        (box(0, 0, 40, 40), {"natural": "water"}), (line((0, 9.5), (40, 9.5)), {"highway": "trunk"})
    )
    assert pixels[8:11, 20, 1:].tolist() == [[VALUE["road"], N]] * 3


@pytest.mark.parametrize(("column", "reaches"), [(-10, 1), (-11, 0)])
def test_what_lies_outside_the_chip_settles_pixels_in_it(column, reaches):
    pixels = draw((box(column + 0.2, 50.2, 0.6, 0.6), {"building": "yes"}))
    assert (pixels == N).sum() == reaches
    assert (pixels[50, 0, 1] == N) == bool(reaches)


@pytest.mark.parametrize("ontology", [PUBLISHED, STRICT], ids=SHIPPED)
def test_nothing_is_settled_without_the_table_or_without_a_map(ontology):
    forest = (box(0, 0, 40, 40), {"landuse": "forest"})
    assert N not in draw(forest, ontology=ontology, none_labels=False)
    assert N in draw(forest, ontology=ontology)
    assert (draw(ontology=ontology) == U).all()


BUILT_UP = ["residential", "industrial", "commercial", "airport", "military"]


@pytest.mark.parametrize("name", BUILT_UP)
def test_the_strict_table_settles_built_up_land_where_a_twentieth_of_it_is_building(name):
    tags = {"airport": {"aeroway": "aerodrome"}}.get(name, {"landuse": name})
    land = (box(0, 0, 40, 20), tags)
    hall = {"building": "church"}
    for houses, known in ((39, U), (40, N)):  # of 800 pixels
        pixels = draw(land, (box(0.1, 0.1, houses - 0.2, 0.8), hall), ontology=STRICT)
        assert pixels[10, 10].tolist() == [VALUE[name], N, known]
    elsewhere = draw(land, (box(100, 100, 40, 20), hall), ontology=STRICT)
    assert elsewhere[10, 10].tolist() == [VALUE[name], N, U]


def test_the_strict_table():
    pixels = draw(
        (box(0, 0, 10, 10), {"landuse": "forest"}),
        (box(40, 0, 10, 10), {"leisure": "park"}),
        (box(80, 0, 10, 10), {"natural": "water"}),
        (line((120, 5.5), (130, 5.5)), {"highway": "trunk"}),
        (box(160.2, 5.2, 0.6, 0.6), {"building": "yes"}),
        ontology=STRICT,
    )
    assert pixels[5, 5].tolist() == [VALUE["wooded"], N, N]
    assert pixels[5, 45].tolist() == [VALUE["recreation"], N, N]
    assert pixels[5, 85].tolist() == [N, VALUE["water"], N]
    assert pixels[5, 125].tolist() == [U, VALUE["road"], N]
    assert pixels[4, 125].tolist() == [U, VALUE["road"], U]
    assert pixels[5, 160].tolist() == [U, N, VALUE["building"]]
    assert pixels[5, 161].tolist() == pixels[5, 11].tolist() == [U, U, U]


def test_a_town_of_which_one_house_is_mapped_is_not_without_buildings():
    town = (box(0, 0, 180, 180), {"landuse": "residential"})
    church = (box(50, 50, 4, 6), {"building": "church"})
    for ontology, around in ((PUBLISHED, 2), (STRICT, 0)):
        known = draw(town, church, ontology=ontology)[..., 2] == N
        assert known.sum() == (within(draw(church)[..., 2] == VALUE["building"], around)).sum() - 24


# At the coast.

SHORE = (line((-30, 100), (300, 100)), {"natural": "coastline"})
DANGER = (box(20, 110, 60, 60), {"military": "danger_area"})
LAND = [
    (box(0, 0, 50, 90), {"landuse": "forest"}),
    (line((0, 95.5), (192, 95.5)), {"highway": "primary"}),
    (box(100.2, 60.2, 0.6, 0.6), {"building": "yes"}),
]


def test_at_the_coast_no_water_is_known_on_land_use_only():
    plain, coastal, known = draw(*LAND), draw(*LAND, SHORE), draw(*LAND, SHORE, sea_known=True)
    np.testing.assert_array_equal(known, plain)
    assert (plain[..., 1] == N)[105, 60]  # 100 m around the road is sea
    no_water = coastal[..., 1] == N
    forest = plain[..., 0] == VALUE["wooded"]
    np.testing.assert_array_equal(no_water, forest & (plain[..., 1] != VALUE["road"]))
    np.testing.assert_array_equal(coastal[..., [0, 2]], plain[..., [0, 2]])
    strict = draw(*LAND, SHORE, ontology=STRICT)
    np.testing.assert_array_equal(strict[..., 1], coastal[..., 1])


@pytest.mark.parametrize(("row", "near"), [(-9, True), (-11, False)])
def test_the_sea_next_to_the_chip_counts_as_far_as_land_does(row, near):
    pixels = draw(*LAND, (line((-30, row), (300, row)), {"natural": "coastline"}))
    assert (pixels[85, 60, 1] == U) == near


@pytest.mark.parametrize(
    "tags",
    [
        {"military": "danger_area"},
        {"military": "danger_area", "landuse": "military"},
        {"natural": "wetland", "wetland": "tidalflat"},
        {"natural": "wetland", "wetland": "saltmarsh", "tidal": "yes"},
        {"natural": "sand", "tidal": "yes"},
        {"leisure": "park", "boundary": "protected_area"},
        {"leisure": "park", "maritime": "yes"},
        {"landuse": "military", "seamark:type": "restricted_area"},
        {"man_made": "pier"},
    ],
)
@pytest.mark.parametrize("shore", [[], [SHORE]], ids=["at sea", "at the coast"])
def test_what_may_lie_over_the_sea_settles_nothing(tags, shore):
    for sea_known in (False, True):
        pixels = draw((box(20, 110, 60, 60), tags), *shore, sea_known=sea_known)
        assert (pixels[..., 0] != U).sum() == 3600  # it is drawn
        assert N not in pixels


def test_other_land_there_settles_itself():
    pixels = draw(SHORE, DANGER, (box(20, 110, 10, 10), {"natural": "beach"}))
    assert (pixels[..., 1] == N).sum() == 100
    beach = draw((box(20, 110, 60, 60), {"natural": "sand", "tidal": "no"}))
    assert beach[140, 50].tolist() == [VALUE["desert_sand"], N, N]
    river = draw((box(0, 0, 40, 40), {"natural": "water", "tidal": "yes"}))
    assert river[20, 20].tolist() == [U, VALUE["water"], N]


def test_the_sea_settles_as_water_does():
    sea = Feature("sea", 1, ((SEA_KEY, "sea"),), shapely.to_wkb(box(0, 100, 192, 92)))
    pixels = rasterize([sea], CHIP, PUBLISHED, True, sea_known=True).pixels
    assert pixels[150, 50].tolist() == [U, VALUE["water"], N]
    assert [pixels[row, 50, 1] for row in (90, 89)] == [N, U]


def test_an_ontology_that_does_not_draw_the_sea_has_no_coast():
    document = json.loads(shipped_ontology("published"))
    del document["channels"][1]["labels"]["water"][SEA_KEY]
    ontology = Ontology.load(json.dumps(document))
    assert ontology.sea_channel is None
    np.testing.assert_array_equal(draw(*LAND, SHORE, ontology=ontology), draw(*LAND))
    # Another value of the key is no sea.
    document["channels"][0]["labels"]["wooded"][SEA_KEY] = ["land"]
    assert Ontology.load(json.dumps(document)).sea_channel is None
