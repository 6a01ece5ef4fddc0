"""Plans beside what builds really ask, and `--dry_run`, which asks for nothing to be done."""

import re
from pathlib import Path

import pytest
import rasterio
from apache_beam.options import pipeline_options as beam_options

from beam_pipeline.build_dataset import main as build_dataset
from beam_pipeline.cells.table import read_cells_csv
from beam_pipeline.cli import main as command
from beam_pipeline.dataset.units import parse_units
from beam_pipeline.imagery.scenes import SceneList
from beam_pipeline.jobs.build.options import parse_build_flags
from beam_pipeline.jobs.plan.estimate import HEADER_BYTES, LAUNCH_REQUESTS
from beam_pipeline.jobs.plan.reads import Work, walk
from beam_pipeline.plan_cost import main as plan_cost
from beam_pipeline.sample_world import SampleWorld
from beam_pipeline.select_cells import main as select_cells
from tests.pipelines.conftest import Built, flags
from tests.pipelines.hosts import serving

A_YEAR = "[0-9]" * 4


def files_under(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def number_of(text: str, name: str) -> float:
    (line,) = (line for line in text.splitlines() if line.startswith(name + "  "))
    return float(line.removeprefix(name).split()[0].replace(",", ""))


@pytest.fixture(scope="module")
def few(world: SampleWorld, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    cells = tmp_path_factory.mktemp("few") / "cells.csv"
    header, *rows = world.cells_csv.read_text().splitlines(keepends=True)
    # One has a single clear date that year, of which no example tells.
    cells.write_text(header + "".join(row for row in rows[2:8] if not row.startswith("112404024")))
    return ["--cells", str(cells), "--years", str(world.years[-1])]


def test_a_plan_counts_what_a_build_asks(few: list[str], world: SampleWorld, tmp_path: Path) -> None:
    """Given the weather that the sample has: each image of an example was clear, all other dates were not."""
    with serving(world) as hosts:
        done = hosts.build(world, tmp_path / "set", *few)
        asked = [request.path for request in hosts.files.requests]
        api_asked = len(hosts.api.requests)
    assert done.code == 0
    root = world.stac_catalog.parent
    examples = {example.cell.cell_id: example for example in done.examples()}
    units = parse_units((done.folder / "plan/units.jsonl").read_bytes())
    planned = Work()
    for unit in units:
        (listed,) = done.folder.glob(f"scenes/{unit.tile}_{A_YEAR}.json")
        scenes = SceneList.from_json(listed.read_bytes()).scenes
        taken = [{image.item_id for image in examples[cell.cell_id].images} for cell in unit.cells]
        dates = [[scene.item_id in of_cell for of_cell in taken] for scene in scenes]
        # The sample's rasters are the middle of a tile, and packed in blocks of 512.
        with rasterio.open(root / hosts.paths[scenes[0].item_id, "red"]) as raster:
            left, top = raster.transform.c, raster.transform.f
        places = [(int(cell.chip.left - left), int(top - cell.chip.top)) for cell in unit.cells]
        planned += walk(places, dates, 512)
    assert planned.images == sum(len(example.images) for example in examples.values()) > 0
    opened = set(asked)
    # Beyond the plan are the first image that the launch reads, and looks at scenes whose offset is in doubt.
    assert planned.opened <= len(opened) <= planned.opened + 4
    # The sample's smallest files come whole with their header.
    whole = sum((root / path.lstrip("/")).stat().st_size <= HEADER_BYTES for path in opened)
    assert planned.requests - whole <= len(asked) <= 1.06 * (planned.requests - whole)
    assert api_asked == len({unit.tile for unit in units}) + LAUNCH_REQUESTS


def test_the_sample_is_planned_as_it_is_built(
    built: Built, world: SampleWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    cells, years = read_cells_csv(world.cells_csv), world.years
    dataset = built.dataset
    images = sum(split["images"] for split in dataset["splits"].values())
    clear = images / (images + sum(dataset["scene_rejections"].values()))
    years_flag = f"--years={','.join(map(str, years))}"
    asked = ["--cells", str(world.cells_csv), years_flag, "--cells_per_shard=2", f"--clear_fraction={clear}"]
    assert plan_cost(asked) == 0
    said = capsys.readouterr().out
    assert (
        number_of(said, "cells") == len(cells) == sum(s["cells_planned"] for s in dataset["splits"].values())
    )
    assert number_of(said, "units (shards)") == len(built.shards)
    # Each tile and year was searched once, and its list kept.
    assert number_of(said, "tile-years (searches)") == len(
        list((built.folder / "scenes").glob(f"*_{A_YEAR}.json"))
    )
    assert number_of(said, "images") == pytest.approx(images, rel=0.15)
    assert built.run["stages"]["find_scenes"]["milliseconds"]["count"] == number_of(
        said, "tile-years (searches)"
    )


def test_the_papers_dataset_is_planned(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["plan", "--paper", "--years=2019", "--workers=8", "--price_nat_gb=0"]) == 0
    said = capsys.readouterr().out
    assert number_of(said, "cells") == 137_045
    assert number_of(said, "tile-years (searches)") == 13_170
    assert "445 GB" in said
    assert re.search(r"More than \d+ workers buy nothing at 500 requests a second for files", said)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "Give the cells by one of --cells CSV, --area BBOX|GEOJSON and --paper"),
        (["--paper", "--area=1,2,3,4"], "Give the cells by one of"),
        (["--paper", "--workers=0"], "--workers must lie in 1 to 4000. Received: 0"),
        (["--paper", "--price_nat_gb=nan"], "--price_nat_gb must lie in"),
        (["--paper", "--clear_fraction=1.2"], "--clear_fraction must lie in 0.01 to 0.99. Received: 1.2"),
        (["--paper", "--years=1999"], "--years must ascend"),
        (["--cells=nowhere.csv"], "--cells cannot be read"),
    ],
)
def test_a_plan_of_nonsense_is_refused(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plan_cost(argv) == 2
    assert message in capsys.readouterr().err


def test_a_dry_run_prints_the_plan_and_writes_nothing(
    few: list[str], world: SampleWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "set"
    for dry in ("--dry_run", "--dry_run=true"):
        assert build_dataset([*flags(world, output), *few, dry]) == 0
        said = capsys.readouterr().out
        assert number_of(said, "cells") == 5
        assert "--dry_run: nothing was launched" in said
        assert list(tmp_path.iterdir()) == []


def test_a_dry_run_of_a_folder_that_is_begun_plans_what_is_left(
    built: Built, world: SampleWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files_under(built.folder)
    assert build_dataset([*flags(world, built.folder), "--dry_run"]) == 0
    said = capsys.readouterr().out
    units = len(built.shards)
    assert f"{units} of {units} shards are there: the plan is of the others." in said
    assert "the work" not in said
    assert files_under(built.folder) == before


def test_a_dry_run_refuses_what_a_launch_refuses(
    world: SampleWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build_dataset([*flags(world, tmp_path / "set"), "--dry_run", "--osm=nowhere.osm.pbf"]) == 2
    assert "--osm matches no file" in capsys.readouterr().err
    assert build_dataset([*flags(world, tmp_path / "set"), "--dry_run=perhaps"]) == 2
    assert "true or false is meant. Received: perhaps" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_beams_flag_of_the_name_is_set_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Should anything be launched all the same, Dataflow is not asked; and Beam can read the command line."""
    monkeypatch.setattr("sys.argv", ["opensentinelmap", "build", "--dry_run", "--output", "gs://b/set"])
    for word, expected in (("--dry_run", True), ("--dry_run=True", True), ("--dry_run=false", False)):
        given, options = parse_build_flags([word])
        assert given.dry_run is expected
        assert bool(options.view_as(beam_options.TestOptions).dry_run) is expected
    assert beam_options.PipelineOptions().view_as(beam_options.TestOptions).dry_run == "true"


def test_a_dry_run_of_a_selection_reads_headers_only(
    world: SampleWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--night_lights", ",".join(map(str, world.night_lights)), "--land_cover", str(world.land_cover)]
    asked += ["--output", str(tmp_path / "cells"), "--dry_run"]
    assert select_cells(asked) == 0
    said = capsys.readouterr().out
    assert str(world.land_cover) in said
    assert "77 x 64" in said
    assert list(tmp_path.iterdir()) == []
    assert select_cells([*asked, "--land_cover=nowhere.tif"]) == 2
    assert "--land_cover matches no file" in capsys.readouterr().err
