"""Cells by region and by the published file make the same chips as our own file."""

import csv
import json
from pathlib import Path

import pytest

from beam_pipeline.build_dataset import main
from beam_pipeline.cells.table import PUBLISHED_COLUMNS
from beam_pipeline.sample_world import SampleWorld
from tests.pipelines.conftest import Built, build, flags


def without_cells(world: SampleWorld, output: Path) -> list[str]:
    return flags(world, output)[2:]


def test_a_region_is_sampled_by_the_seed(built: Built, world: SampleWorld, tmp_path: Path) -> None:
    few, more = tmp_path / "few", tmp_path / "more"
    for output, count in ((few, 3), (more, 6)):
        code = main([*without_cells(world, output), f"--area={world.region}", f"--max_cells={count}"])
        assert code == 0
    whole = {(e.cell.cell_id, e.year): e for e in built.examples()}
    of_few = {(e.cell.cell_id, e.year): e for e in Built(few, 0).examples()}
    of_more = {(e.cell.cell_id, e.year): e for e in Built(more, 0).examples()}
    assert of_few
    assert of_few.items() <= of_more.items()
    # Whatever else is built with it, an example is the same.
    both = of_more.keys() & whole.keys()
    assert both
    assert {key: of_more[key] for key in both} == {key: whole[key] for key in both}


def test_a_geojson_file_is_a_region(world: SampleWorld, tmp_path: Path) -> None:
    west, south, east, north = map(float, world.region.split(","))
    ring = [[west, south], [east, south], [east, north], [west, south]]
    path = tmp_path / "triangle.geojson"
    path.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    assert main([*without_cells(world, tmp_path / "set"), "--area", str(path), "--max_cells=2"]) == 0
    lines = (tmp_path / "set" / "spatial_cell_info.csv").read_text().splitlines()
    assert len(lines) == 3


@pytest.mark.slow
def test_the_published_columns_are_enough(built: Built, world: SampleWorld, tmp_path: Path) -> None:
    published = tmp_path / "spatial_cell_info.csv"
    with world.cells_csv.open() as source, published.open("w", newline="") as target:
        writer = csv.DictWriter(target, PUBLISHED_COLUMNS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(csv.DictReader(source))
    again = build(world, tmp_path / "set", "--cells", str(published))
    assert again.code == 0
    assert again.shards == built.shards
