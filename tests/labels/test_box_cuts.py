import numpy as np
import pytest
import shapely

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.labels import box_cuts
from beam_pipeline.labels.box_cuts import cut_to_boxes
from beam_pipeline.labels.cell_index import CellIndex
from beam_pipeline.labels.feature import Feature
from beam_pipeline.labels.ontology import DEFAULT_ONTOLOGY, Ontology
from beam_pipeline.labels.rasterize import rasterize

ONTOLOGY = Ontology.load(DEFAULT_ONTOLOGY.read_text())
WITHOUT_TILES = 10**9
HALF_TURN = np.array([180, 0])


def ring(lon: float, lat: float, radius: float, nodes: int, seed: int = 0) -> np.ndarray:
    """(nodes, 2) degrees: a ragged shore."""
    rng = np.random.default_rng(seed)
    angle = np.linspace(0, 2 * np.pi, nodes, endpoint=False)
    radii = radius * (0.7 + 0.2 * np.cos(3 * angle) + 0.05 * np.cos(40 * angle) + 0.02 * rng.random(nodes))
    return np.column_stack([lon + radii * np.cos(angle), lat + radii * np.sin(angle)])


def lake(lon: float, lat: float, nodes: int = 3000) -> shapely.MultiPolygon:
    """A lake with islands, one of them with a pond, and a pool beside it."""
    whole = shapely.Polygon(ring(lon, lat, 0.3, nodes))
    islands = [shapely.Polygon(ring(lon + 0.06 * i, lat, 0.02, 300, i + 1)) for i in (-1, 1)]
    pond = shapely.Polygon(ring(lon + 0.06, lat, 0.005, 100))
    pool = shapely.Polygon(ring(lon + 0.35, lat, 0.01, 100))
    return shapely.union_all([whole.difference(shapely.union_all(islands)), pond, pool])


def coast(lon: float, lat: float) -> shapely.LineString:
    """A line that crosses itself."""
    return shapely.LineString(np.vstack([ring(lon, lat, 0.3, 1500), ring(lon + 0.1, lat, 0.2, 800)]))


def wedge(lon: float, lat: float) -> shapely.Polygon:
    """Straight edges of a degree and more, and a ragged end."""
    end = ring(lon, lat, 0.05, 900)
    return shapely.union_all(
        [shapely.Polygon(end), shapely.Polygon([(lon, lat), (lon + 1, lat + 0.3), (lon + 1, lat)])]
    )


def boxes_around(lon: float, lat: float, number: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    corners = np.array([lon, lat]) + rng.uniform(-0.35, 0.35, (number, 2))
    return np.hstack([corners, corners + rng.uniform(0.01, 0.2, (number, 2))])


@pytest.mark.parametrize(("lon", "lat"), [(9.5, 47.0), (0.0, 0.0), (-179.99, -16.0), (180.01, 66.0)])
@pytest.mark.parametrize("shape", [lake, coast, wedge])
def test_what_comes_of_tiles_is_what_comes_of_the_whole(shape, lon: float, lat: float) -> None:
    whole = shape(lon, lat)
    assert whole.is_valid
    dimension = shapely.get_dimensions(whole)
    boxes = boxes_around(lon, lat, 150)
    parts = cut_to_boxes(np.array([None, whole]), np.ones(len(boxes), np.int64), boxes)
    something = 0
    for part, box in zip(parts, boxes.tolist(), strict=True):
        expected = shapely.intersection(whole, shapely.box(*box))
        if shapely.get_dimensions(expected) < dimension or expected.is_empty:
            assert part is None
            continue
        something += 1
        assert shapely.get_dimensions(part) == dimension
        # 1e-12 square degrees are 0.01 m2, 1e-9 degrees 0.1 mm.
        measure, off = (shapely.area, 1e-12) if dimension == 2 else (shapely.length, 1e-9)
        assert abs(measure(part) - measure(expected)) < off
        assert shapely.hausdorff_distance(part, expected) < 1e-9
    assert something > 25


def test_each_box_gets_its_own_geometry_and_the_same_in_any_company() -> None:
    geometries = np.array([lake(9.5, 47.0), None, shapely.box(9.4, 46.9, 9.6, 47.1), coast(9.5, 47.0)])
    boxes = boxes_around(9.5, 47.0, 80, seed=1)
    owners = np.arange(80, dtype=np.int64) % 4
    parts = cut_to_boxes(geometries, owners, boxes)
    for row in range(80):
        (alone,) = cut_to_boxes(geometries, owners[row : row + 1], boxes[row : row + 1])
        assert shapely.to_wkb(parts[row]) == shapely.to_wkb(alone)
    assert all(part is None for part in parts[1::4])


def features(lon: float, lat: float) -> list[Feature]:
    """As a source has them: from -180 to 180 degrees."""
    shapes = [
        (lake(lon, lat), (("natural", "water"),)),
        (wedge(lon - 0.08, lat - 0.05), (("landuse", "forest"),)),
        (coast(lon + 0.03, lat + 0.01), (("highway", "trunk"),)),
    ]
    wrapped = [shapely.transform(shape, lambda at: (at + HALF_TURN) % 360 - HALF_TURN) for shape, _ in shapes]
    return [
        Feature("way", i, tags, shapely.to_wkb(shape))
        for i, (shape, (_, tags)) in enumerate(zip(wrapped, shapes, strict=True))
    ]


@pytest.mark.parametrize(
    ("chip", "lon", "lat"),
    [
        (ChipWindow(32632, 528_000, 5_214_000), 9.5327, 47.1413),
        # The meridian of 180 degrees runs through the chips.
        (ChipWindow(32660, 816_000, 60 * 30_540), 180.02, 16.6),
    ],
)
def test_labels_are_the_same_to_the_pixel(
    monkeypatch: pytest.MonkeyPatch, chip: ChipWindow, lon: float, lat: float
) -> None:
    chips = {
        i: ChipWindow(chip.epsg, chip.left + 1920 * (i % 6), chip.bottom + 1920 * (i // 6)) for i in range(36)
    }
    index = CellIndex(chips, 120.0)
    tiled = index.clip(features(lon, lat)).features
    monkeypatch.setattr(box_cuts, "MOST_UNTILED", WITHOUT_TILES)
    whole = index.clip(features(lon, lat)).features
    assert [(cell, one.osm_id) for cell, one in tiled] == [(cell, one.osm_id) for cell, one in whole]
    drawn = 0
    for cell, one_chip in chips.items():
        first, second = (
            rasterize(
                [one for of_cell, one in clipped if of_cell == cell],
                one_chip,
                ONTOLOGY,
                none_labels=False,
                sea_known=False,
            ).pixels
            for clipped in (tiled, whole)
        )
        np.testing.assert_array_equal(first, second)
        drawn += len(np.unique(first)) > 2
    assert drawn > 15


def test_the_work_does_not_grow_with_the_number_of_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = lake(9.5, 47.0, 20_000)
    nodes = int(shapely.get_num_coordinates(whole))
    corners = np.stack(np.meshgrid(np.arange(9.2, 9.8, 0.02), np.arange(46.7, 47.3, 0.02)), axis=-1).reshape(
        -1, 2
    )
    boxes = np.hstack([corners, corners + 0.025])
    cut_nodes = []
    intersection = shapely.intersection

    def counting(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        cut_nodes.append(int(shapely.get_num_coordinates(one).sum()))
        return intersection(one, other)

    monkeypatch.setattr(shapely, "intersection", counting)
    cut_to_boxes(np.array([whole]), np.zeros(len(boxes), np.int64), boxes)
    assert len(boxes) > 800
    assert sum(cut_nodes) < 0.1 * nodes * len(boxes)
