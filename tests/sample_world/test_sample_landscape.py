"""The made-up place: where it lies, what is there, and that every tile shows the same ground."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import shapely

from beam_pipeline.cells.region import cells_in_region
from beam_pipeline.cells.splits import split_of_tile
from beam_pipeline.imagery.image import BANDS
from beam_pipeline.labels.extract import features_of_cells
from beam_pipeline.labels.feature import Feature, Found, deduplicate
from beam_pipeline.labels.ontology import DEFAULT_ONTOLOGY, Ontology
from beam_pipeline.labels.rasterize import rasterize
from beam_pipeline.sample_world import ground, landscape, layout, materials, noise, place
from beam_pipeline.sample_world.extract import write_extract
from beam_pipeline.sample_world.landscape import Landscape, MappedFeature

TILES = {"23SQD": "training", "24STJ": "training", "23SQC": "testing", "24STH": "validation"}

HINTS = {  # one tag of each category, from the published dataset's description; not our ontology
    "wooded": [("landuse", "forest"), ("natural", "wood")],
    "agricultural": [("landuse", "farmland")],
    "residential": [("landuse", "residential")],
    "industrial": [("landuse", "industrial")],
    "commercial": [("landuse", "retail"), ("landuse", "commercial")],
    "recreation": [("leisure", "park"), ("leisure", "golf_course")],
    "airport": [("aeroway", "aerodrome")],
    "quarry": [("landuse", "quarry")],
    "military": [("landuse", "military")],
    "desert_sand": [("natural", "sand"), ("natural", "beach")],
    "mountain_rock": [("natural", "bare_rock")],
    "other_natural": [("natural", "scrub"), ("natural", "wetland"), ("natural", "grassland")],
    "water": [("natural", "water")],
    "road": [("highway", "trunk"), ("highway", "residential")],
    "building": [("building", "house")],
}


@pytest.fixture(scope="module")
def scene() -> Landscape:
    return layout.build_landscape(place.area_bounds(50), 0)


def with_tag(features: Iterable[MappedFeature], key: str, value: str) -> list[MappedFeature]:
    return [feature for feature in features if feature.tags.get(key) == value]


def test_tiles_of_all_splits_meet_there() -> None:
    assert {tile: split_of_tile(0, tile) for tile in TILES} == TILES


@pytest.mark.parametrize("cells", [16, 50, 600])
def test_all_splits_have_cells(cells: int) -> None:
    found = cells_in_region(place.area_region(cells), None, 0)
    assert found.without_tile == 0
    assert 0.75 * cells < len(found.cells) < 1.35 * cells
    tiles = {cell.tile for cell in found.cells}
    assert tiles == set(TILES)
    assert {cell.chip.epsg for cell in found.cells} == {32623, 32624}
    training = [cell for cell in found.cells if cell.split == "training"]
    assert 0.5 < len(training) / len(found.cells) < 0.85


def test_every_category_is_drawn_in_the_labels(scene: Landscape, tmp_path: Path) -> None:
    write_extract(tmp_path / "map.osm.pbf", scene.features)
    ontology = Ontology.load(DEFAULT_ONTOLOGY.read_text())
    chips = {cell.cell_id: cell.chip for cell in cells_in_region(place.area_region(50), None, 0).cells}
    features: dict[int, list[Feature]] = {cell_id: [] for cell_id in chips}
    found = Found.all_of(features_of_cells(tmp_path / "map.osm.pbf", chips, ontology))
    for cell_id, feature in found.features:
        features[cell_id].append(feature)
    counts = np.zeros(256, np.int64)
    for cell_id, chip in chips.items():
        image = rasterize(deduplicate(features[cell_id]), chip, ontology, True, sea_known=False)
        assert not image.dropped
        counts += np.bincount(image.pixels.ravel(), minlength=256)
    assert (counts[:15] > 300).all(), counts[:15]
    assert counts[255] > 0.1 * counts.sum()  # part of the land is not mapped


@pytest.mark.parametrize("category", HINTS)
def test_every_category_is_mapped(scene: Landscape, category: str) -> None:
    assert any(with_tag(scene.features, *hint) for hint in HINTS[category])


def test_rare_themes_lie_in_every_group() -> None:
    for group in ((0, 0), (-1, 2), (5, -7)):
        themes = layout.themes_of_group(*group, 0)
        assert len(themes) == layout.GROUP**2
        assert len({theme.__name__ for theme in themes.values()}) == 18


def test_roads_of_many_classes_cross_the_tile_borders_and_rivers(scene: Landscape) -> None:
    roads = [feature for feature in scene.features if "highway" in feature.tags]
    kinds = {feature.tags["highway"] for feature in roads}
    assert kinds >= {
        "motorway",
        "trunk",
        "primary",
        "secondary",
        "tertiary",
        "residential",
        "track",
        "service",
    }
    zone_border = shapely.LineString([(0, -20_000), (0, 20_000)])
    assert any(feature.geometry.intersects(zone_border) for feature in roads)
    rivers = shapely.union_all([f.geometry for f in with_tag(scene.features, "water", "river")])
    bridges = with_tag(scene.features, "bridge", "yes")
    assert any(bridge.geometry.crosses(rivers) for bridge in bridges)
    centre_lines = with_tag(scene.features, "waterway", "river")
    assert all(rivers.buffer(1).contains(line.geometry) for line in centre_lines)


def test_geometries_are_valid_and_some_have_holes(scene: Landscape) -> None:
    geometries = np.array([feature.geometry for feature in scene.features])
    assert shapely.is_valid(geometries).mean() > 0.999
    polygons = geometries[shapely.get_type_id(geometries) == 3]
    assert shapely.get_num_interior_rings(polygons).max() >= 2
    assert not shapely.is_empty(geometries).any()


def test_part_of_the_land_is_not_mapped(scene: Landscape) -> None:
    keys = {"landuse", "natural", "leisure", "aeroway", "military", "amenity"}
    areas = [
        f.geometry for f in scene.features if keys & set(f.tags) and f.geometry.geom_type != "LineString"
    ]
    area = shapely.box(*place.area_bounds(50))
    share = shapely.union_all(shapely.make_valid(areas)).intersection(area).area / area.area
    assert 0.55 < share < 0.92


def test_mapped_houses_stand_on_painted_ones(scene: Landscape) -> None:
    roofs = {
        materials.material_number(name) // materials.VARIANTS
        for name in ("tile_roof", "slate_roof", "metal_roof")
    }
    painted = scene.surfaces[np.isin(scene.materials // materials.VARIANTS, list(roofs))]
    tree = shapely.STRtree(painted)
    houses = np.array([f.geometry for f in with_tag(scene.features, "building", "house")])
    hit = np.unique(tree.query(shapely.centroid(houses), predicate="intersects")[0])
    assert len(hit) / len(houses) > 0.85  # the others are the mappers' mistakes


def test_a_larger_world_shows_the_same_place(scene: Landscape) -> None:
    left, bottom, right, top = place.area_bounds(4)
    small = layout.build_landscape((left, bottom, right, top), 0)
    box = shapely.box(left, bottom, right, top)
    names = [
        {
            (f.geometry.wkb, *sorted(f.tags.items()))
            for f in of.features
            if f.geometry.envelope.intersects(box)
        }
        for of in (small, scene)
    ]
    assert names[0] == names[1]


def test_another_seed_is_another_place(scene: Landscape) -> None:
    other = layout.build_landscape(place.area_bounds(4), 1)
    assert not {f.geometry.wkb for f in other.features} & {f.geometry.wkb for f in scene.features}


def test_the_plane_and_the_zones_agree() -> None:
    points = np.random.default_rng(0).uniform(-25_000, 25_000, (500, 2))
    for epsg in (32623, 32624):
        back = place.utm_to_plane(place.plane_to_utm(points, epsg), epsg)
        np.testing.assert_allclose(back, points, atol=1e-4)
    origin = place.plane_to_lonlat(np.zeros((1, 2)))[0]
    np.testing.assert_allclose(origin, (place.ORIGIN_LON, place.ORIGIN_LAT), atol=1e-9)


def square(epsg: int, centre: tuple[float, float], tile: str, cells: int = 16) -> ground.Grid:
    """Returns a grid of `cells` x `cells` pixels of 60 m around a point of the plane."""
    x, y = place.plane_to_utm(np.array([centre]), epsg)[0]
    left, top = (int(v // 60 * 60) for v in (x - 30 * cells, y + 30 * cells))
    return ground.Grid(tile, epsg, left, top, cells, cells)


def test_mixed_pixels_hold_the_share_of_their_area() -> None:
    grid = square(32623, (0.0, 0.0), "23SQD", 4)
    shape = shapely.Polygon(
        [(grid.left + x, grid.top - y) for x, y in ((33, 41), (190, 60), (150, 201), (44, 180))]
    )
    plane = shapely.transform(shape, lambda points: place.utm_to_plane(points, 32623))
    number = materials.material_number("asphalt", 3)
    scene = landscape.Landscape(np.array([plane], dtype=object), np.array([number], np.uint16), ())
    made = ground.make_ground(scene, grid, 0)
    values = np.zeros(materials.COUNT, np.float32)
    values[number] = 1
    for gsd, tolerance in ((10, 0.25), (20, 0.12), (60, 0.03)):
        rows, columns = grid.shape(gsd)
        left, top = np.meshgrid(grid.left + gsd * np.arange(columns), grid.top - gsd * np.arange(rows))
        pixels = shapely.box(left, top - gsd, left + gsd, top)
        expected = shapely.area(shapely.intersection(pixels, shape)) / gsd**2
        mixed = made.mixtures[gsd].of(values)
        np.testing.assert_allclose(mixed, expected, atol=tolerance)
        assert abs(mixed.mean() - expected.mean()) < 0.005


def test_two_zones_show_the_same_ground_to_the_pixel(scene: Landscape) -> None:
    centre = (100.0, 2200.0)
    images, grids = [], []
    red = np.ascontiguousarray(materials.reflectances(200)[:, BANDS.index("B04")])
    for epsg, tile in ((32623, "23SQD"), (32624, "24STJ")):
        grid = square(epsg, centre, tile, 24)
        made = ground.make_ground(scene, grid, 0)
        images.append(made.mixtures[10].of(red) * made.roughness[10])
        grids.append(grid)
    points = np.random.default_rng(1).uniform(-400, 400, (4000, 2)) + centre

    def sample(index: int, shift: tuple[float, float]) -> np.ndarray:
        grid = grids[index]
        utm = place.plane_to_utm(points + shift, grid.epsg)
        return images[index][
            ((grid.top - utm[:, 1]) // 10).astype(int), ((utm[:, 0] - grid.left) // 10).astype(int)
        ]

    here = sample(0, (0, 0))
    agreement = {
        (dx, dy): np.corrcoef(here, sample(1, (dx, dy)))[0, 1] for dx in (-10, 0, 10) for dy in (-10, 0, 10)
    }
    assert max(agreement, key=lambda shift: agreement[shift]) == (0, 0)
    assert agreement[0, 0] > 0.85


def test_surfaces_have_plausible_reflectances() -> None:
    def ndvi(name: str, day: int) -> float:
        spectrum = materials.reflectances(day)[materials.material_number(name)]
        red, near = float(spectrum[BANDS.index("B04")]), float(spectrum[BANDS.index("B08")])
        return (near - red) / (near + red)

    for day in (1, 100, 200, 300, 366):
        table = materials.reflectances(day)
        assert table.min() >= 0
        assert table.max() < 0.7
    assert ndvi("broadleaf", 200) > 0.75
    assert ndvi("broadleaf", 20) < 0.5
    assert ndvi("conifer", 20) > 0.7
    assert ndvi("wheat", 125) > 0.7
    assert ndvi("wheat", 195) < 0.3
    assert ndvi("maize", 210) > 0.7
    assert ndvi("maize", 100) < 0.3
    assert ndvi("lake", 200) < 0
    for name in ("asphalt", "concrete", "sand", "quarry", "metal_roof"):
        assert ndvi(name, 200) < 0.3


def test_noise_depends_on_the_place_alone() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.uniform(-9000, 9000, (2, 400))
    whole = noise.fractal_noise(7, x, y, 700.0, 4)
    pieces = np.concatenate([noise.fractal_noise(7, x[k::3], y[k::3], 700.0, 4) for k in range(3)])
    order = np.concatenate([np.arange(400)[k::3] for k in range(3)])
    np.testing.assert_array_equal(whole[order], pieces)
    assert np.abs(whole - noise.fractal_noise(8, x, y, 700.0, 4)).mean() > 0.2
    near = noise.fractal_noise(7, x + 0.5, y, 700.0, 4)
    assert np.abs(whole - near).max() < 0.05


def test_sensor_noise_is_white_and_keyed() -> None:
    image = noise.sensor_noise(5, (600, 500))
    assert abs(image.mean()) < 0.01
    assert abs(image.std() - 1) < 0.01
    assert abs(np.corrcoef(image[:, 1:].ravel(), image[:, :-1].ravel())[0, 1]) < 0.01
    np.testing.assert_array_equal(image, noise.sensor_noise(5, (600, 500)))
    assert not np.array_equal(image, noise.sensor_noise(6, (600, 500)))
