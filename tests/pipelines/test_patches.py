"""Patches of labelled places of the sample world, from a table to a dataset; against what rasterio reads."""

import csv
import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pyproj
import pytest

from beam_pipeline.cells.chips import choose_chips
from beam_pipeline.export_dataset import main as export_dataset
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.make_report import main as make_report
from beam_pipeline.preview import main as preview
from beam_pipeline.readers.pair_reader import open_split
from beam_pipeline.records.example import decode, encode
from beam_pipeline.records.shards import frame, read_shard
from beam_pipeline.relabel import main as relabel
from beam_pipeline.report.contact_sheet import contact_sheet
from beam_pipeline.resample_patches import main as resample_patches
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.keyed_hash import keyed_hash
from beam_pipeline.sample_world import SampleWorld
from beam_pipeline.verify import main as verify
from model_tf import train
from model_tf.downstream_tasks.resampled import read_resampled
from tests.model_tf.made_dataset import made_cell_years, write_dataset
from tests.pipelines.conftest import Built
from tests.pipelines.patches_of_sample import (
    BANDS,
    SEED,
    Filters,
    Look,
    looks,
    make_patches,
    patches_flags,
    read,
    scene_of,
)


def of_table(world: SampleWorld, table: Path, output: Path, *more: str) -> Built:
    return make_patches(world, output, "--places", str(table), *more)


def test_every_place_has_a_patch_with_its_class_in_its_middle(made_patches: Built, place_table: Path) -> None:
    assert made_patches.code == 0
    with place_table.open() as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    examples = made_patches.examples()
    assert {it.cell.place.name for it in examples} == {*rows} - {"again", "north"}
    for example in examples:
        cell = example.cell
        row = rows[cell.place.name]
        assert cell.place.class_name == row["class"]
        assert len(example.images) == 1
        x, y = pyproj.Transformer.from_crs(4326, cell.chip.epsg, always_xy=True).transform(
            float(row["lon"]), float(row["lat"])
        )
        assert abs(cell.chip.left + 960 - x) <= 30
        assert abs(cell.chip.bottom + 960 - y) <= 30
        assert (example.label == 255).all()
    tiles = {(it.cell.tile, it.cell.chip.epsg) for it in examples}
    assert tiles == {("23SQC", 32623), ("23SQD", 32623), ("24STH", 32624), ("24STJ", 32624)}


def test_pixels_are_those_of_the_scene(made_patches: Built) -> None:
    for example in made_patches.examples()[::4]:
        (image,) = example.images
        assets = scene_of(made_patches, example)["assets"]
        for grid, bands in BANDS.items():
            for index, band in enumerate(bands):
                expected = read(assets[band], example.cell.chip.bounds)
                assert np.array_equal(getattr(image, grid)[..., index], expected)
        assert np.array_equal(image.scl, read(assets["SCL"], example.cell.chip.bounds))


def test_a_random_date_is_the_first_clear_one_in_keyed_order(made_patches: Built) -> None:
    examples = made_patches.examples()
    for example in examples:
        scenes = looks(made_patches, example.cell.tile, example.cell.chip)
        name = example.cell.place.name
        order = sorted(scenes, key=lambda year: keyed_hash(SEED, "year of a place", name, year))
        first = next(it for year in order for it in scenes[year] if it.clear)
        assert example.images[0].item_id == first.item_id
    assert {it.year for it in examples} == {2021, 2022}


@pytest.mark.slow
def test_the_nearest_date_is_nearer_than_any_other_clear_one(
    world: SampleWorld, place_table: Path, tmp_path: Path
) -> None:
    own = of_table(world, place_table, tmp_path / "own", "--near", "own")
    assert own.code == 0
    for example in own.examples():
        wanted = np.datetime64(f"{example.cell.place.date}T12:00")

        def distance(look: Look, wanted: np.datetime64 = wanted) -> np.timedelta64:
            return abs(np.datetime64(look.datetime.rstrip("Z")) - wanted)

        of_years = looks(own, example.cell.tile, example.cell.chip).values()
        clear = [it for of_year in of_years for it in of_year if it.clear]
        assert example.images[0].item_id == min(clear, key=distance).item_id


def test_counts_are_told_and_verified(made_patches: Built, capsys: pytest.CaptureFixture[str]) -> None:
    places = made_patches.dataset["fingerprint"]["places"]
    assert places == {
        "source": "table",
        "classes": ["bright", "dark"],
        "nearest": False,
        "left_out": {"doubled": 1, "no_tile": 1},
    }
    assert made_patches.dataset["grid"]["name"] == "places"
    assert made_patches.dataset["rejections"] == {"patch_of_another_year": 12}
    assert "labels" not in made_patches.dataset["licences"]
    licences = (made_patches.folder / "LICENSES.md").read_text()
    assert "OpenStreetMap contributors" not in licences + (made_patches.folder / "CITATION.cff").read_text()
    assert "Copernicus" in licences
    assert verify([str(made_patches.folder)]) == 0
    said = dict(line.rsplit(maxsplit=1) for line in capsys.readouterr().out.splitlines() if line[:2] == "  ")
    assert {name.strip(): said[name] for name in said}["rejected"] == "12"


def test_places_without_a_clear_date_are_rejections(
    world: SampleWorld, place_table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header, *lines = place_table.read_text().splitlines(keepends=True)
    places = {line.partition(",")[0]: line for line in lines[:2]}  # of one tile
    few = tmp_path / "few.csv"
    few.write_text(header + "".join(places.values()))
    filters = Filters(bad_fraction=0.0, min_reflectance=0.035)
    strict = of_table(world, few, tmp_path / "set", "--max_bad_fraction=0", "--max_min_reflectance=0.035")
    said = capsys.readouterr().out
    assert strict.code == 0
    points = np.array([line.split(",")[2:4] for line in places.values()], np.float64)
    chosen = choose_chips(*points.T.tolist())
    with_date = {
        name
        for row, name in enumerate(places)
        if any(
            look.clear
            for of_year in looks(strict, chosen.tile_name(row), chosen.chip(row), filters).values()
            for look in of_year
        )
    }
    assert 0 < len(with_date) < len(places)
    assert {it.cell.place.name for it in strict.examples()} == with_date
    written, without = len(with_date), len(places) - len(with_date)
    assert f"places: {len(places)}, with a patch {written}, without {without}" in said
    # A place has two years: both are without a date, or one has the patch.
    assert strict.dataset["rejections"] == {"no_clear_date": 2 * without, "patch_of_another_year": written}
    assert strict.dataset["dead_letters"]["count"] == 0


def test_a_run_goes_on_and_gives_the_same_bytes(
    world: SampleWorld, made_patches: Built, place_table: Path, tmp_path: Path
) -> None:
    again = tmp_path / "set"
    shutil.copytree(made_patches.folder, again)
    lost = sorted(made_patches.shards)[0]
    (again / lost).unlink()
    (again / "dataset.json").unlink()
    kept = {name: (again / name).stat().st_mtime_ns for name in made_patches.shards if name != lost}
    gone_on = of_table(world, place_table, again)
    assert gone_on.code == 0
    assert gone_on.shards == made_patches.shards
    assert gone_on.dataset == made_patches.dataset
    assert kept == {name: (again / name).stat().st_mtime_ns for name in kept}
    assert of_table(world, place_table, again, "--near=2021-06-01").code == 2


def test_verify_finds_another_class(
    made_patches: Built, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "set"
    shutil.copytree(made_patches.folder, folder)
    name = sorted(made_patches.shards)[0]
    first, *others = map(decode, read_shard(BeamFiles(), str(folder / name)))
    place = dataclasses.replace(first.cell.place, class_name="grey")
    forged = dataclasses.replace(first, cell=dataclasses.replace(first.cell, place=place))
    (folder / name).write_bytes(b"".join(frame(encode(it)) for it in (forged, *others)))
    assert verify([str(folder)]) == 1
    assert "class_name='grey'" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("main", "flags"),
    [
        (relabel, ["--dataset={set}", "--output={out}"]),
        (export_dataset, ["--dataset={set}", "--format=published", "--output={out}"]),
        (export_dataset, ["--dataset={set}", "--format=card", "--output={out}"]),
        (make_report, ["{set}", "--output={out}/report.html"]),
        (make_report, ["{set}", "--output={out}/report.html", "--runner=FnApiRunner"]),
        (train.main, ["--data={set}", "--output={out}", "--preset=tiny", "--epochs=1"]),
    ],
)
def test_it_is_refused_where_labels_of_a_map_are_wanted(
    made_patches: Built,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    main: Callable[[list[str]], int],
    flags: list[str],
) -> None:
    before = sorted(made_patches.folder.rglob("*"))
    words = {"set": made_patches.folder, "out": tmp_path / "out"}
    assert main([flag.format(**words) for flag in flags]) == 2
    said = capsys.readouterr().err
    assert "this is one of labelled places, which have a class each: `opensent" in said
    assert f"Received: {made_patches.folder}" in said
    assert not (tmp_path / "out").exists()
    assert sorted(made_patches.folder.rglob("*")) == before


def test_readers_of_pairs_refuse_it(made_patches: Built) -> None:
    with pytest.raises(InvalidInputError, match="this is one of labelled places"):
        open_split(str(made_patches.folder), "training")


def test_a_preview_shows_each_image_with_its_class(made_patches: Built, tmp_path: Path) -> None:
    examples = made_patches.examples()
    said = {text.get_text() for text in contact_sheet(examples, ()).texts}
    assert said == {
        f"{it.images[0].date}  {it.cell.place.class_name}\n{it.cell.place.name}" for it in examples
    }
    assert preview([str(made_patches.folder), f"--output={tmp_path}/sheet.png", "--rows=3"]) == 0
    with PIL.Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (208, 3 * 230 + 16)
        drawn = np.asarray(sheet.convert("RGB"))[8:200, 8:200].astype(np.float64)
    shard = made_patches.folder / made_patches.dataset["shards"][0]["name"]
    first = decode(next(iter(read_shard(BeamFiles(), str(shard)))))
    red = read(scene_of(made_patches, first)["assets"]["B04"], first.cell.chip.bounds).astype(np.float64)
    assert np.corrcoef(drawn[..., 0].ravel(), red.ravel())[0, 1] > 0.9


def test_a_dry_run_tells_what_is_to_do(
    world: SampleWorld, place_table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert of_table(world, place_table, tmp_path / "set", "--dry_run").code == 0
    said = capsys.readouterr()
    assert [line.split() for line in said.out.splitlines()[1:7]] == [
        ["shards", "4"],
        ["shards", "to", "do", "4"],
        ["tiles", "4"],
        ["places", "12"],
        ["bright", "6"],
        ["dark", "6"],
    ]
    assert "left out, no_tile: north" in said.err
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "--places is missing: a CSV or GeoJSON of labelled places"),
        (
            ["--places=a.csv", "--fmow=b"],
            "by one of --places, --eurosat, --fmow. Received: --places and --fmow",
        ),
        (["--places=none.csv"], "--places cannot be read"),
        (["--places={table}", "--near=soon"], "--near: what is not the word own must be a date"),
        (["--places={table}", "--places_per_shard=0"], "--places_per_shard must lie in 1 to 256"),
        (["--places={undated}", "--near=own"], "line 2: date is missing, and --near own"),
        (["--places={unclassed}"], "unclassed.csv, line 1: columns are missing: class"),
    ],
)
def test_bad_input_is_refused_before_launch(
    world: SampleWorld,
    place_table: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    message: str,
) -> None:
    (tmp_path / "undated.csv").write_text("class,lon,lat\na,6,49\n")
    (tmp_path / "unclassed.csv").write_text("lon,lat\n6,49\n")
    paths = {
        "table": place_table,
        "undated": tmp_path / "undated.csv",
        "unclassed": tmp_path / "unclassed.csv",
    }
    given = [word.format(**paths) for word in more]
    assert resample_patches(patches_flags(world, tmp_path / "set", *given)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize("flag", ["--eurosat", "--fmow"])
def test_patches_do_not_lie_among_the_tiles(
    world: SampleWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str], flag: str
) -> None:
    """The next run would take them for a class."""
    tiles = tmp_path / "tiles"
    tiles.mkdir()
    for output, said in (
        (tiles, "is the folder of"),
        (tiles / "set", "lies in the folder of"),
        (tmp_path, "holds"),
    ):
        assert resample_patches(patches_flags(world, output, f"{flag}={tiles}")) == 2
        assert f"--output {said} {flag}" in capsys.readouterr().err
    assert [*tiles.iterdir()] == []


def test_pixels_of_patches_are_reflectance(made_patches: Built) -> None:
    found = read_resampled(str(made_patches.folder), "table", 64)
    examples = {it.cell.place.name: it for it in made_patches.examples()}
    assert {it.name for it in found.patches} == {*examples}
    assert (found.side, found.crop, found.classes) == (192, 64, ("bright", "dark"))
    pixels = found.read(range(3, 6))
    for index, patch in enumerate(found.patches[3:6]):
        cell = examples[patch.name].cell
        assert found.classes[patch.class_index] == cell.place.class_name
        assert (patch.longitude, patch.latitude) == (cell.place.longitude, cell.place.latitude)
        assert patch.split == cell.split
        scene = scene_of(made_patches, examples[patch.name])
        for ours, grid in ((pixels.gsd_10, "gsd_10"), (pixels.gsd_20, "gsd_20")):
            for channel, band in enumerate(BANDS[grid]):
                dn = read(scene["assets"][band], cell.chip.bounds).astype(np.float64)
                expected = (dn + scene["boa_add_offset"]) / 10_000
                np.testing.assert_allclose(ours[index, ..., channel], expected, atol=1e-6)


def test_damaged_and_other_datasets_are_refused(made_patches: Built, tmp_path: Path) -> None:
    of_a_map = write_dataset(tmp_path / "map", {"training": [made_cell_years([1], [2021])]})
    with pytest.raises(InvalidInputError, match=r"dataset.json: fingerprint\.places must be there"):
        read_resampled(of_a_map, None, 64)
    with pytest.raises(InvalidInputError, match=r"fingerprint\.places\.source must be fmow.*Received: table"):
        read_resampled(str(made_patches.folder), "fmow", 16)
    folder = tmp_path / "set"
    shutil.copytree(made_patches.folder, folder)
    description = folder / "dataset.json"
    whole = description.read_text()
    description.write_text(whole.replace('"source": "table"', '"source": "<b>"'))
    with pytest.raises(InvalidInputError, match=r"dataset.json: fingerprint\.places\.source"):
        read_resampled(str(folder), None, 64)
    description.write_text(whole)
    shard = folder / sorted(made_patches.shards)[0]
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(InvalidInputError, match=rf"{shard}, record \d+, is damaged: .*CRC"):
        read_resampled(str(folder), None, 64)
