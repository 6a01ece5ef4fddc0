"""Workers read the STAC GeoParquet that the launch saw."""

from pathlib import Path

import pytest

from beam_pipeline.imagery.catalog import find_scenes
from beam_pipeline.imagery.catalog_settings import CatalogSettings
from beam_pipeline.imagery.static_catalog import read_static
from beam_pipeline.jobs.build.launch import prepare_build
from beam_pipeline.jobs.build.options import parse_build_flags
from beam_pipeline.runtime.faults import PermanentFault
from beam_pipeline.sample_world import SampleWorld
from tests.imagery.stac_parquet import write_items
from tests.pipelines.conftest import flags


def test_workers_take_the_files_that_the_launch_saw_and_the_advice_holds(
    world: SampleWorld, tmp_path: Path
) -> None:
    found_on_disk = read_static(str(world.stac_catalog))[1]
    for item, file in found_on_disk:
        for asset in item["assets"].values():
            asset["href"] = str(Path(file).parent / asset["href"])
    items = [item for item, _ in found_on_disk]
    tile, year = items[0]["properties"]["grid:code"].removeprefix("MGRS-"), world.years[0]
    catalogue = tmp_path / "items.parquet"

    def launched(output: str) -> CatalogSettings:
        argv = [*flags(world, tmp_path / output), "--stac_url", str(catalogue)]
        return prepare_build(*parse_build_flags(argv)).settings.catalog

    write_items(catalogue, items)
    whole = catalogue.read_bytes()
    settings = launched("set")
    assert len(settings.footers) == 1
    found = find_scenes(settings, tile, year, 0)
    assert found.found
    write_items(catalogue, [item for item in items if item["id"] != found.scenes[0].item_id])
    with pytest.raises(PermanentFault, match=r"changed: .*items\.parquet is not as it was at launch"):
        find_scenes(settings, tile, year, 0)
    assert find_scenes(launched("other"), tile, year, 0).found == found.found - 1
    catalogue.write_bytes(whole)
    assert find_scenes(settings, tile, year, 0) == found
