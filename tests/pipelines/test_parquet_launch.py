"""What the launch saw of STAC GeoParquet is what the workers read."""

from pathlib import Path

import pytest

from beam_pipeline.imagery.catalog import find_scenes
from beam_pipeline.imagery.static_catalog import read_static
from beam_pipeline.jobs.build.launch import prepare_build
from beam_pipeline.jobs.build.options import parse_build_flags
from beam_pipeline.runtime.faults import PermanentFault
from beam_pipeline.sample_world import SampleWorld
from tests.imagery.stac_parquet import write_items
from tests.pipelines.conftest import flags


def test_workers_take_the_files_that_the_launch_saw(world: SampleWorld, tmp_path: Path) -> None:
    items = [item for item, _ in read_static(str(world.stac_catalog))[1]]
    path = write_items(tmp_path / "items.parquet", items)
    argv = [*flags(world, tmp_path / "set"), "--stac_url", path]
    settings = prepare_build(*parse_build_flags(argv)).catalog
    assert len(settings.footers) == 1
    tile, year = items[0]["properties"]["grid:code"].removeprefix("MGRS-"), world.years[0]
    assert find_scenes(settings, tile, year, 0).found
    write_items(tmp_path / "items.parquet", items[1:])
    with pytest.raises(PermanentFault, match=r"changed: .*items\.parquet is not as it was at launch"):
        find_scenes(settings, tile, year, 0)
