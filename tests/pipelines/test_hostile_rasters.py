"""Images that name others, read by worker processes that no command of ours began."""

import os
from collections.abc import Callable
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.imagery.cog import SceneReader
from beam_pipeline.runtime.gdal_drivers import KEPT, gdal_options
from beam_pipeline.sample_world import SampleWorld
from tests.imagery.range_server import ServerProcess
from tests.pipelines.conftest import build
from tests.pipelines.damage import Catalogue
from tests.security.test_rasters import name_overviews

TWO_PROCESSES = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")
TILE, YEAR = "23SQC", 2021


@pytest.mark.slow
def test_two_processes_ask_no_other_host(
    world_copy: Callable[[], SampleWorld], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = world_copy()
    catalogue = Catalogue(hostile)
    (tmp_path / "inner").mkdir()
    with ServerProcess(tmp_path / "inner", 0) as inner:
        url = f"{inner.base}inner.tif"
        for item in catalogue.ids(TILE, YEAR):
            for band in ("B02", "SCL", "B12"):
                name_overviews(catalogue.raster(item, band), f"/vsicurl/{url}")
        hostile.cells_csv.write_text(of_tile(hostile.cells_csv.read_text()))
        built = build(hostile, tmp_path / "set", *TWO_PROCESSES)
        assert not inner.take_requests()
    assert built.code == 0
    assert {example.year for example in built.examples()} == {2022}
    # Each of them was opened, and refused for this.
    refused = [line for line in capsys.readouterr().out.splitlines() if "refers_elsewhere: " in line]
    assert refused
    assert all(f"It names: /vsicurl/{url}" in line for line in refused)
    assert built.run["stages"]["read_chips"]["rejected_no_clear_date"] == 2


def of_tile(cells: str) -> str:
    header, *rows = cells.splitlines(keepends=True)
    return header + "".join(row for row in rows if TILE in row)


@pytest.mark.slow
def test_two_processes_have_the_drivers_that_are_needed_and_no_other() -> None:
    options = PipelineOptions([*TWO_PROCESSES, "--runner=DirectRunner"])
    with beam.Pipeline(options=options) as pipeline:
        _ = pipeline | beam.Create([os.getpid()]) | beam.Reshuffle() | beam.Map(require_few_drivers)


def require_few_drivers(launcher: int) -> None:
    """Fails where more drivers are there; runs in a worker."""
    assert SceneReader  # as the stages do, it is imported before anything is opened
    with gdal_options() as env:
        found = env.drivers().keys()
    assert os.getpid() != launcher
    assert found == KEPT, found
