"""Asks the real Earth Search. Opt in with -m online."""

import numpy as np
import pytest

from beam_pipeline.cells.mgrs_tiles import find_tile
from beam_pipeline.cells.region import cells_in_region
from beam_pipeline.imagery.catalog import check_catalog, find_scenes
from beam_pipeline.imagery.catalog_settings import CatalogSettings
from beam_pipeline.imagery.chips import FilterSettings, select_images
from beam_pipeline.imagery.cog import SceneReader
from beam_pipeline.jobs.build.access import EARTH_SEARCH_URL

pytestmark = pytest.mark.online

TILE = "32TNT"  # Liechtenstein


@pytest.mark.parametrize("collection", ["sentinel-2-l2a", "sentinel-2-c1-l2a"])
def test_a_year_of_a_tile_is_found(collection: str) -> None:
    assert check_catalog(CatalogSettings(EARTH_SEARCH_URL, collection)).kind == "api"
    found = find_scenes(CatalogSettings(EARTH_SEARCH_URL, collection), TILE, 2020, 0)
    # A tile is seen every 5 days or more often.
    assert len(found.scenes) >= 60
    assert len({scene.item_id for scene in found.scenes}) == len(found.scenes)
    assert {scene.tile for scene in found.scenes} == {TILE}


def test_a_real_chip_is_read() -> None:
    found = cells_in_region("9.50,47.10,9.56,47.16", None, 0)
    chip = next(cell.chip for cell in found.cells if find_tile(TILE).holds(cell.chip))
    scenes = find_scenes(CatalogSettings(EARTH_SEARCH_URL, "sentinel-2-l2a"), TILE, 2020, 0).scenes
    with SceneReader() as reader:
        (answer,) = select_images(reader, scenes, [chip], FilterSettings())
    assert answer.failure is None
    first, second = answer.images
    assert first.date < second.date
    for image in answer.images:
        assert np.median(image.gsd_10) > 0
