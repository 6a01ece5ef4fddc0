"""Labels from a store are those from its extract, byte for byte."""

import collections

import pytest

from beam_pipeline.cells.region import cells_in_region
from beam_pipeline.features.identity import StoreRequest
from beam_pipeline.features.parting import part_extract
from beam_pipeline.features.reading import features_of_unit
from beam_pipeline.labels.extract import check_extract, features_of_cells
from beam_pipeline.labels.feature import Found, deduplicate
from beam_pipeline.labels.ontology import DEFAULT_ONTOLOGY, Ontology
from beam_pipeline.labels.rasterize import rasterize
from beam_pipeline.labels.store_keys import keys_for
from beam_pipeline.sample_world import layout, place
from beam_pipeline.sample_world.extract import write_extract
from tests.benchmarks.read_extract import chips_over
from tests.features.made import opened
from tests.shared_data import shared

CELLS = 16
ONTOLOGY = Ontology.load(DEFAULT_ONTOLOGY.read_text())


def by_cell(parts):
    features = collections.defaultdict(list)
    for cell_id, feature in Found.all_of(parts).features:
        features[cell_id].append(feature)
    return {cell_id: deduplicate(of_cell) for cell_id, of_cell in sorted(features.items())}


def assert_same_labels(path, cells, folder, images=4):
    """Compares the features of all cells and the images of some."""
    chips = {cell_id: chip for of_tile in cells.values() for cell_id, chip in of_tile.items()}
    expected = by_cell(features_of_cells(path, chips, ONTOLOGY))
    record = part_extract(path, StoreRequest(cells, keys_for(ONTOLOGY)), folder)
    found = {}
    for tile, of_tile in cells.items():
        found |= by_cell(features_of_unit(opened(folder / f"{tile}.parquet", record), of_tile, ONTOLOGY))
    assert dict(sorted(found.items())) == expected
    assert len(expected) >= images
    for cell_id in list(expected)[:: max(1, len(expected) // images)]:
        drawn = [
            rasterize(each[cell_id], chips[cell_id], ONTOLOGY, True, sea_known=False)
            for each in (expected, found)
        ]
        assert drawn[0].pixels.tobytes() == drawn[1].pixels.tobytes()
    return record


@pytest.mark.parametrize("name", ["monaco-2023", "liechtenstein-2022"])
def test_a_small_country_with_cells_all_over(name, tmp_path):
    path = shared("osm", f"{name}.osm.pbf")
    record = assert_same_labels(path, {"32TNT": chips_over(check_extract(path).bounds)}, tmp_path)
    assert record.tiles["32TNT"].bytes <= 1.5 * path.stat().st_size


def test_the_sample(tmp_path):
    cells = collections.defaultdict(dict)
    for cell in cells_in_region(place.area_region(CELLS), None, 0).cells:
        cells[cell.tile][cell.cell_id] = cell.chip
    write_extract(tmp_path / "map.osm.pbf", layout.build_landscape(place.area_bounds(CELLS), 0).features)
    assert len(cells) > 1
    assert_same_labels(tmp_path / "map.osm.pbf", dict(cells), tmp_path)
