"""select_cells end to end: what comes out, how it is drawn, and what bad input gets."""

import collections
import gzip
import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
import rasterio
from affine import Affine
from scipy import stats

from beam_pipeline import build_dataset
from beam_pipeline.cells import grid
from beam_pipeline.cells.cell import Cell
from beam_pipeline.cells.region import cells_in_region
from beam_pipeline.cells.table import COLUMNS, PUBLISHED_COLUMNS, read_cells_csv
from beam_pipeline.jobs.select.graph import build_graph
from beam_pipeline.jobs.select.launch import prepare_selection
from beam_pipeline.jobs.select.options import parse_selection_flags
from beam_pipeline.sample_world import SampleWorld
from beam_pipeline.select_cells import main
from tests.failing_disk import small_disk
from tests.maps.made_rasters import (
    LAND_COVER,
    NIGHT_LIGHTS,
    transform_of,
    window_around,
    write_netcdf,
    write_tif,
    write_window,
)
from tests.pipelines.conftest import CELLS
from tests.pipelines.test_dataflow import DATAFLOW
from tests.pipelines.test_resume import contents

# Around the corner of four tiles of two zones: 6 E and 50 N.
MIDDLE = 6.0, 49.5
LIGHTS = window_around(NIGHT_LIGHTS, *MIDDLE, columns=260, rows=240)
LAND = window_around(LAND_COVER, *MIDDLE, columns=420, rows=400)


def some_lights(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    shape = LIGHTS.rows, LIGHTS.columns
    return np.where(rng.random(shape) < 0.015, rng.uniform(0.2, 50, shape), 0).astype(np.float32)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    for year in (2019, 2020):
        write_window(folder / f"vnl_{year}.tif", some_lights(year), LIGHTS, blockysize=1)
    rng = np.random.default_rng(0)
    classes = np.where(rng.random((LAND.rows, LAND.columns)) < 0.05, 50, 210).astype(np.uint8)
    classes[100:150, 100:200] = 210  # a lake
    write_window(folder / "land.tif", classes, LAND, tiled=True, blockxsize=64, blockysize=64)
    write_netcdf(folder / "land.nc", classes, LAND, chunk=100)
    return folder


def flags(inputs: Path, output: Path, *more: str) -> list[str]:
    defaults = {"--night_lights": str(inputs / "vnl_*.tif"), "--land_cover": str(inputs / "land.tif")}
    given = {flag for flag in more if flag in defaults}
    kept = [part for flag, value in defaults.items() if flag not in given for part in (flag, value)]
    return [*kept, "--output", str(output), *more]


def select(inputs: Path, output: Path, *more: str) -> tuple[list[Cell], dict[str, Any]]:
    assert main(flags(inputs, output, *more)) == 0
    described = json.loads((output / "spatial_cell_info.json").read_text())
    return read_cells_csv(output / "spatial_cell_info.csv"), described


@pytest.fixture(scope="module")
def everything(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Cell], dict[str, Any]]:
    return select(inputs, tmp_path_factory.mktemp("all") / "out")


def ids_of(cells: list[Cell]) -> set[int]:
    return {cell.cell_id for cell in cells}


def test_the_list_is_what_build_dataset_takes(
    inputs: Path, tmp_path: Path, everything: tuple[list[Cell], dict[str, Any]]
) -> None:
    cells, described = select(inputs, tmp_path / "out", "--num_cells", "150", "--plot")
    text = (tmp_path / "out" / "spatial_cell_info.csv").read_text()
    header = text.splitlines()[0].split(",")
    assert tuple(header) == COLUMNS
    assert tuple(header[: len(PUBLISHED_COLUMNS)]) == PUBLISHED_COLUMNS
    assert [cell.cell_id for cell in cells] == sorted(ids_of(cells))
    assert len(cells) == 150
    # Tile, chip and bounds are those of the grid, whatever way a cell was found.
    region = cells_in_region("4,48,8,51", None, 0).cells
    assert set(cells) <= set(region)
    counts = described["counts"]
    assert counts["cells"] == grid.NUM_CELLS == counts["beyond_night_lights"] + counts["candidates"]
    assert (
        counts["candidates"]
        > counts["lit"]
        == sum(counts[name] for name in ("beyond_land_cover", "all_water", "not_all_water"))
    )
    assert counts["not_all_water"] == counts["usable"] + counts["without_tile"] + counts["beyond_sentinel2"]
    assert counts["usable"] == len(everything[0])
    assert counts["sampled"] == 150
    by_split = collections.Counter(cell.split for cell in cells)
    for split, numbers in described["splits"].items():
        assert numbers["cells"] == by_split[split]
        assert numbers["tiles"] == len({cell.tile for cell in cells if cell.split == split})
    assert described["continents"] == {"Europe": 150}
    assert (tmp_path / "out" / "spatial_cell_info.png").read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        f"spatial_cell_info.{kind}" for kind in ("csv", "json", "png")
    }


def test_years_are_united(
    inputs: Path, tmp_path: Path, everything: tuple[list[Cell], dict[str, Any]]
) -> None:
    of_years = [
        ids_of(select(inputs, tmp_path / year, "--night_lights", str(inputs / f"vnl_{year}.tif"))[0])
        for year in ("2019", "2020")
    ]
    assert of_years[0] - of_years[1]
    assert of_years[1] - of_years[0]
    assert of_years[0] | of_years[1] == ids_of(everything[0])


def test_the_netcdf_gives_the_same(
    inputs: Path, tmp_path: Path, everything: tuple[list[Cell], dict[str, Any]]
) -> None:
    cells, described = select(inputs, tmp_path / "out", "--land_cover", str(inputs / "land.nc"))
    assert cells == everything[0]
    assert described["counts"] == everything[1]["counts"]


@pytest.mark.parametrize(
    "how",
    [
        ["--rows_per_task", "1"],
        ["--rows_per_task", "37"],
        pytest.param(
            ["--direct_running_mode=multi_processing", "--direct_num_workers=2", "--rows_per_task", "64"],
            marks=pytest.mark.slow,
        ),
    ],
    ids=["row by row", "37 rows", "two processes"],
)
def test_the_same_however_the_work_is_split(inputs: Path, tmp_path: Path, how: list[str]) -> None:
    sampling = ["--num_cells", "120", "--max_tiles", "2", "--seed", "5"]
    for name, more in (("plain", []), ("split", how)):
        select(inputs, tmp_path / name, *sampling, *more)
    for file in ("spatial_cell_info.csv", "spatial_cell_info.json"):
        assert (tmp_path / "plain" / file).read_bytes() == (tmp_path / "split" / file).read_bytes()


def test_a_larger_sample_holds_the_smaller(
    inputs: Path, tmp_path: Path, everything: tuple[list[Cell], dict[str, Any]]
) -> None:
    by_number = [select(inputs, tmp_path / str(n), "--num_cells", str(n))[0] for n in (1, 100, 300)]
    by_share = [select(inputs, tmp_path / str(f), "--fraction", str(f))[0] for f in (0.2, 0.5)]
    assert [len(cells) for cells in by_number] == [1, 100, 300]
    for samples in (by_number, by_share):
        sets = [set(cells) for cells in (*samples, everything[0])]
        assert all(small < large for small, large in itertools.pairwise(sets))
    total = len(everything[0])
    for cells, share in zip(by_share, (0.2, 0.5), strict=True):
        low, high = stats.binom(total, share).ppf([1e-6, 1 - 1e-6])
        assert low <= len(cells) <= high
    other = select(inputs, tmp_path / "seed", "--num_cells", "100", "--seed", "1")[0]
    assert ids_of(other) != ids_of(by_number[1])


def test_tiles_are_drawn_first(
    inputs: Path, tmp_path: Path, everything: tuple[list[Cell], dict[str, Any]]
) -> None:
    tiles = {cell.tile for cell in everything[0]}
    assert len(tiles) >= 4
    of_tiles = [select(inputs, tmp_path / str(n), "--max_tiles", str(n))[0] for n in (1, 2, len(tiles))]
    drawn = [{cell.tile for cell in cells} for cells in of_tiles]
    assert [len(names) for names in drawn] == [1, 2, len(tiles)]
    assert drawn[0] < drawn[1]
    for cells, names in zip(of_tiles, drawn, strict=True):
        assert cells == [cell for cell in everything[0] if cell.tile in names]


def test_a_region_limits_the_list(
    inputs: Path, tmp_path: Path, everything: tuple[list[Cell], dict[str, Any]]
) -> None:
    box = "5.9,49.2,6.2,49.6"
    ring = [[5.9, 49.2], [6.2, 49.2], [6.2, 49.6], [5.9, 49.6], [5.9, 49.2]]
    (tmp_path / "box.json").write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    inside = ids_of(list(cells_in_region(box, None, 0).cells))
    for name, area in (("bbox", box), ("polygon", str(tmp_path / "box.json"))):
        cells, described = select(inputs, tmp_path / name, "--area", area)
        assert cells == [cell for cell in everything[0] if cell.cell_id in inside]
        assert described["counts"]["cells"] == described["counts"]["candidates"] == len(inside)


def test_gz_is_expanded_once(
    inputs: Path, tmp_path: Path, everything: tuple[list[Cell], dict[str, Any]]
) -> None:
    for year in (2019, 2020):
        content = (inputs / f"vnl_{year}.tif").read_bytes()
        (tmp_path / f"vnl_{year}.average_masked.tif.gz").write_bytes(gzip.compress(content))
    cache = tmp_path / "cache"
    more = ["--night_lights", str(tmp_path / "vnl_*.tif.gz"), "--expanded_dir", str(cache)]
    assert select(inputs, tmp_path / "out", *more)[0] == everything[0]
    kept = {path: path.stat().st_mtime_ns for path in cache.iterdir()}
    assert len(kept) == 2
    assert select(inputs, tmp_path / "again", *more)[0] == everything[0]
    assert {path: path.stat().st_mtime_ns for path in cache.iterdir()} == kept


@pytest.mark.parametrize("damage", ["cut", "flipped", "no gzip"])
def test_a_broken_gz_leaves_nothing(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    content = bytearray(gzip.compress((inputs / "vnl_2019.tif").read_bytes()))
    if damage == "cut":
        content = content[: len(content) // 2]
    elif damage == "flipped":
        content[-6] ^= 255  # in the check sum
    else:
        content = bytearray(b"II*\0" * 100)
    path = tmp_path / "vnl.tif.gz"
    path.write_bytes(content)
    more = ["--night_lights", str(path), "--expanded_dir", str(tmp_path / "cache")]
    assert main(flags(inputs, tmp_path / "out", *more)) == 2
    assert f"Received: {path}" in capsys.readouterr().err
    assert not list((tmp_path / "cache").glob("*")) if (tmp_path / "cache").exists() else True


def bad_raster(inputs: Path, folder: Path, what: str) -> tuple[list[str], str]:
    """Writes a raster with one thing wrong; returns the flags and what the error must say."""
    lights, place = some_lights(0), transform_of(LIGHTS)
    path = folder / "bad.tif"
    flag, says = "--night_lights", "Expected: "
    if what == "CRS":
        write_tif(path, lights, place, crs="EPSG:3857")
    elif what == "no CRS":
        write_tif(path, lights, place, crs=None)
        what = "CRS"
    elif what == "dtype":
        write_tif(path, lights.astype(np.float64), place)
    elif what == "half a pixel off":
        write_tif(path, lights, place @ Affine.translation(0.5, 0.5))
        what = "grid"
    elif what == "another step":
        write_tif(path, lights, place @ Affine.scale(2))
        what = "grid"
    elif what == "beyond 75 N":
        write_tif(path, lights, Affine(place.a, 0, place.c, 0, place.e, place.f + 30))
        what = "grid"
    elif what == "bands":
        with rasterio.open(inputs / "vnl_2019.tif") as file:
            profile = {**file.profile, "count": 2}
        with rasterio.open(path, "w", **profile) as file:
            file.write(np.stack([lights, lights]))
        what = "number of bands"
    elif what == "dark":
        write_tif(path, np.where(lights > 0, np.float32(np.nan), np.float32(-1)), place)
        says = "none of all 240 rows"
    elif what == "another window":
        write_tif(path, lights[:-1], place)
        return ["--night_lights", f"{inputs / 'vnl_2019.tif'},{path}"], "the same window"
    elif what == "land-cover dtype":
        write_tif(path, np.full((LAND.rows, LAND.columns), 210, np.int16), transform_of(LAND))
        flag, what = "--land_cover", "dtype"
    elif what == "no water":
        write_tif(path, np.full((LAND.rows, LAND.columns), 50, np.uint8), transform_of(LAND))
        flag, says = "--land_cover", "class 210"
    elif what.endswith(" beside"):
        write_tif(path, lights, place)
        if what.startswith("gz"):
            packed = path.with_suffix(".tif.gz")
            packed.write_bytes(gzip.compress(path.read_bytes()))
            more = ["--expanded_dir", str(folder / "expanded")]
            path, beside = packed, Path(f"{path}.aux.xml")
        else:
            more, beside = [], Path(f"{path}.msk" if what.startswith("mask") else f"{path}.aux.xml")
        beside.write_text("<PAMDataset><SRS>EPSG:4267</SRS></PAMDataset>")
        return [flag, str(path), *more], "lies a mask" if what.startswith("mask") else "colours: SRS"
    elif what == "no raster":
        path.write_text("nothing of the kind")
        says = "cannot be opened"
    return [flag, str(path)], says if says != "Expected: " else f"another {what}. Expected: "


@pytest.mark.parametrize(
    "what",
    [
        *("CRS", "no CRS", "dtype", "half a pixel off", "another step", "beyond 75 N", "bands", "dark"),
        *("another window", "land-cover dtype", "no water", "no raster"),
        *("mask beside", "notes beside", "gz's notes beside"),
    ],
)
def test_bad_rasters_are_refused_before_launch(
    inputs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    monkeypatch.setattr("beam_pipeline.jobs.select.run.run_selection", lambda *_: pytest.fail("was launched"))
    more, says = bad_raster(inputs, tmp_path, what)
    assert main(flags(inputs, tmp_path / "out", *more)) == 2
    error = capsys.readouterr().err
    assert says in error
    assert "bad.tif" in error
    assert "Received: " in error


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--num_cells", "0"], "--num_cells"),
        (["--num_cells", "5", "--fraction", "0.5"], "--num_cells and --fraction"),
        (["--fraction", "1.5"], "--fraction"),
        (["--seed", "9" * 65], "--seed"),
        (["--runner", "Nope"], "--runner"),
        (["--num_cells", "100000"], "larger than the number of cells that the night lights reach"),
        (
            ["--num_cells", "50", "--area", "6.0,49.5,6.05,49.55"],
            "the night lights reach in the region, 6. Received: 50",
        ),
        (["--night_lights", ","], "--night_lights is missing"),
        (["--night_lights", "no/such_*.tif"], "--night_lights matches no file"),
        (["--land_cover", "no/such.tif"], "--land_cover matches no file"),
        (["--area", "1,2,3"], "bounding box"),
        (["--area", "no/such.geojson"], "--area cannot be read"),
        (["--cells", "a.csv"], "Unknown flags: --cells"),
        (["--region", "1,2,3,4"], "an area is --area"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_flags_are_checked_before_launch(
    inputs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    more: list[str],
    says: str,
) -> None:
    monkeypatch.setattr("beam_pipeline.jobs.select.run.run_selection", lambda *_: pytest.fail("was launched"))
    assert main(flags(inputs, tmp_path / "out", *more)) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("what", ["night lights", "land cover"])
def test_a_raster_that_breaks_in_the_midst_is_named(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    select(inputs, tmp_path / "out", "--num_cells", "5")
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    flag, source = (
        ("--night_lights", "vnl_2019.tif") if what == "night lights" else ("--land_cover", "land.tif")
    )
    broken = tmp_path / "broken.tif"
    content = bytearray((inputs / source).read_bytes())
    # The looks before the launch find what they look for in the first rows that they read, far from here.
    with rasterio.open(inputs / source) as file:
        rows, columns = file.block_shapes[0]
        block = f"{file.width // 2 // columns}_{file.height * 4 // 5 // rows}"
        offset, size = (
            int(file.get_tag_item(f"BLOCK_{name}_{block}", "TIFF", 1)) for name in ("OFFSET", "SIZE")
        )
    content[offset : offset + size] = b"\xff" * size
    broken.write_bytes(content)
    assert main(flags(inputs, tmp_path / "out", flag, str(broken), "--rows_per_task", "16")) == 1
    error = capsys.readouterr().err
    assert "no list was written: Rows " in error
    assert f"of {broken} cannot be read: " in error
    # An earlier list stays, and no piece of a new one.
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_a_raster_that_is_changed_after_the_launch_is_named(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from beam_pipeline.jobs.select import run

    lights = tmp_path / "lights.tif"
    shutil.copy(inputs / "vnl_2019.tif", lights)

    def change_and_run(pipeline: Any, settings: Any) -> Any:
        write_window(lights, some_lights(2019), LIGHTS, blockysize=1, nodata=7)
        return run_selection(pipeline, settings)

    run_selection = run.run_selection
    monkeypatch.setattr(run, "run_selection", change_and_run)
    assert main(flags(inputs, tmp_path / "out", "--night_lights", str(lights))) == 1
    error = capsys.readouterr().err
    assert f"no list was written: {lights} has changed since it was looked at" in error
    assert not list((tmp_path / "out").glob("*.csv"))


def test_an_unwritable_output_is_refused(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    assert main(flags(inputs, tmp_path / "file" / "out")) == 2
    assert "--output cannot be written to" in capsys.readouterr().err


@pytest.mark.parametrize("why", ["too many", "none left", "none reached"])
def test_too_few_cells_write_no_list(
    inputs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    everything: tuple[list[Cell], dict[str, Any]],
    why: str,
) -> None:
    output = tmp_path / "out"
    more = ["--area", "6.9,49.9,6.91,49.91" if why == "none left" else "100,10,101,11"]
    if why == "too many":
        more = ["--num_cells", str(len(everything[0]) + 1)]
    select(inputs, output, "--num_cells", "5")
    before = (output / "spatial_cell_info.csv").read_bytes()
    assert main(flags(inputs, output, *more)) == 2
    error = capsys.readouterr().err
    problem = json.loads((output / "selection_problem.json").read_text())
    assert problem["problem"] in error
    assert problem["counts"]["candidates"] >= 0
    # An earlier list stays as it was, and the next good run takes the problem away.
    assert (output / "spatial_cell_info.csv").read_bytes() == before
    select(inputs, output, "--num_cells", "5")
    assert not (output / "selection_problem.json").exists()


def test_the_sample_goes_the_whole_way(whole_world: SampleWorld, tmp_path: Path) -> None:
    output = tmp_path / "set"
    assert build_dataset.main(["--sample", "--sample_cells", str(CELLS), "--output", str(output)]) == 0
    cells, described = (
        read_cells_csv(output / "spatial_cell_info.csv"),
        json.loads((output / "spatial_cell_info.json").read_text()),
    )
    whole = read_cells_csv(whole_world.cells_csv)
    # Woods are dark: some cells of the place are not chosen.
    assert set(cells) < set(whole)
    assert described["counts"]["candidates"] == len(whole)
    assert described["counts"]["sampled"] == len(cells)
    dataset = json.loads((output / "dataset.json").read_text())
    assert sum(split["cells"] for split in dataset["splits"].values()) <= len(cells)
    assert dataset["complete"]
    # The same cells come of select_cells itself.
    flags = [
        *(
            "--night_lights",
            ",".join(map(str, whole_world.night_lights)),
            "--land_cover",
            str(whole_world.land_cover),
        ),
        *(
            "--expanded_dir",
            str(tmp_path),
            f"--area={whole_world.region}",
            "--output",
            str(tmp_path / "cells"),
        ),
    ]
    assert main(flags) == 0
    for name in ("spatial_cell_info.csv", "spatial_cell_info.json"):
        assert (tmp_path / "cells" / name).read_bytes() == (output / name).read_bytes()


def test_the_graph_translates_for_dataflow(inputs: Path, tmp_path: Path) -> None:
    # Looked at on this machine, because an offline one cannot look at a bucket.
    given, options = parse_selection_flags(flags(inputs, tmp_path, "--num_cells", "9", "--max_tiles", "2"))
    settings = prepare_selection(given, options, None)
    _, options = parse_selection_flags([*flags(inputs, tmp_path), *DATAFLOW])
    pipeline = beam.Pipeline(options=options)
    build_graph(pipeline, settings)
    proto = pipeline.run().job.proto_pipeline
    names = {transform.unique_name for transform in proto.components.transforms.values()}
    assert {
        "CountCells",
        "FindLitCells",
        "DropUnusable",
        "DrawCells",
        "WriteParts",
        "CloseSelection",
    } <= names
    assert len(proto.SerializeToString()) < 1_000_000


def test_what_a_cluster_cannot_do_is_refused(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*flags(inputs, tmp_path / "out", "--plot"), *DATAFLOW]) == 2
    assert "--plot" in capsys.readouterr().err
    (tmp_path / "vnl.tif.gz").write_bytes(b"")
    packed = ("--night_lights", str(tmp_path / "vnl.tif.gz"))
    assert (
        main(
            [*flags(inputs, tmp_path / "out", *packed), "--runner=SparkRunner", "--environment_type=EXTERNAL"]
        )
        == 2
    )
    assert "--expanded_dir is missing" in capsys.readouterr().err


@pytest.mark.parametrize("local", ["--output", "--night_lights", "--land_cover", "--expanded_dir"])
def test_dataflow_finds_nothing_that_lies_here(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], local: str
) -> None:
    here = dict(zip(*[iter(flags(inputs, tmp_path / "out"))] * 2, strict=True))
    here["--expanded_dir"] = str(tmp_path)
    given = [part for flag in here for part in (flag, here[flag] if flag == local else "gs://bucket/a.tif")]
    assert main([*given, *DATAFLOW]) == 2
    assert f"{local} lies on this machine, where no Dataflow worker finds it" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["full", "read-only"])
def test_a_small_disk_ends_a_selection_with_a_sentence(
    how: str, inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with small_disk(tmp_path / "disk", "1m") as disk:
        output = disk.folder / "out"
        more = ("--num_cells", "150")
        select(inputs, output, *more)
        before = contents(output)
        disk.fail(how)
        capsys.readouterr()
        code = main(flags(inputs, output, *more, "--seed", "1"))
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith("error: ")
        # A folder that cannot be written to is found before anything is computed.
        assert code == (2 if how == "read-only" else 1)
        if how == "read-only":
            assert contents(output) == before
        disk.remount("rw,size=50m")
        select(inputs, output, *more, "--seed", "1")
        assert contents(output) != before
