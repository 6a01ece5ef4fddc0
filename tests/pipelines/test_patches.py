"""Patches of labelled places of the sample world, from a table to scores; against the scenes as rasterio reads them."""

import csv
import dataclasses
import functools
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
import rasterio

from beam_pipeline.cells.table import read_cells_csv
from beam_pipeline.export_dataset import main as export_dataset
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.records.example import CellYear, decode, encode
from beam_pipeline.records.shards import frame, read_shard
from beam_pipeline.relabel import main as relabel
from beam_pipeline.resample_patches import main as resample_patches
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.keyed_hash import keyed_hash
from beam_pipeline.sample_world import SampleWorld
from beam_pipeline.verify import main as verify
from model_tf import downstream
from model_tf.downstream_tasks import head
from model_tf.downstream_tasks.resampled import read_resampled
from tests.pipelines.conftest import Built

BANDS = {
    "gsd_10": ("B02", "B03", "B04", "B08"),
    "gsd_20": ("B05", "B06", "B07", "B8A", "B11", "B12"),
    "gsd_60": ("B01", "B09"),
}
BAD = (1, 3, 8, 9, 10)
SEED = 4


def write_places(world: SampleWorld, path: Path) -> None:
    """Writes a place in the middle of each cell, dark or bright by its red; one twice, and one beyond all tiles."""
    cells = read_cells_csv(world.cells_csv)
    middles = [((it.min_lon + it.max_lon) / 2, (it.min_lat + it.max_lat) / 2) for it in cells]
    folder = world.stac_catalog.parent
    scenes = {it.tile: sorted(folder.glob(f"*/*_{it.tile}_*/B04.tif"))[0] for it in cells}
    red = [np.median(read(str(scenes[it.tile]), it.chip.bounds)) for it in cells]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("name", "class", "lon", "lat", "date"))
        for index, (middle, value) in enumerate(zip(middles, red, strict=True)):
            of_class = "bright" if value > np.median(red) else "dark"
            writer.writerow((f"place {index:02}", of_class, *middle, f"2021-{index % 12 + 1:02}-15"))
        writer.writerow(("again", "bright" if red[0] > np.median(red) else "dark", *middles[0], "2021-01-15"))
        writer.writerow(("north", "dark", 0, 88, "2021-01-15"))


def read(href: str, bounds: tuple[int, int, int, int]) -> Any:
    """Reads a window; 0 beyond the raster."""
    pixels, transform = read_whole(href)
    side = round(1920 / transform.a)
    column, row = (round(it) for it in ~transform @ (bounds[0], bounds[3]))
    padded = np.pad(pixels, side)
    return padded[row + side : row + 2 * side, column + side : column + 2 * side]


@functools.cache
def read_whole(href: str) -> tuple[Any, Any]:
    with rasterio.open(href) as raster:
        return raster.read(1), raster.transform


def patches(world: SampleWorld, table: Path, output: Path, *more: str) -> Built:
    given = ["--places", str(table), "--stac_url", str(world.stac_catalog), "--output", str(output)]
    given += ["--years", ",".join(map(str, world.years)), "--seed", str(SEED), "--places_per_shard", "8"]
    return Built(output, resample_patches([*given, *more]))


@pytest.fixture(scope="module")
def table(whole_world: SampleWorld, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("places") / "places.csv"
    write_places(whole_world, path)
    return path


@pytest.fixture(scope="module")
def made(whole_world: SampleWorld, table: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Random dates. Read only."""
    return patches(whole_world, table, tmp_path_factory.mktemp("random") / "set")


@dataclasses.dataclass(frozen=True)
class Look:
    """A scene, and whether it is clear at a place."""

    item_id: str
    datetime: str
    clear: bool


def looks(built: Built, example: CellYear) -> dict[int, list[Look]]:
    """Judges every scene of a place's tile by what rasterio reads, in the order of the scene lists."""
    chip, tile = example.cell.chip.bounds, example.cell.tile
    # The sample has a scene whose offset is told wrongly; tests of `imagery.offset_check` see to that.
    told_wrongly = {it["item_id"] for it in built.dataset["unusable_scenes"]}
    assert len(told_wrongly) <= 4
    found: dict[int, list[Look]] = {}
    for file in sorted((built.folder / "scenes").glob(f"{tile}_20??.json")):
        listed = json.loads(file.read_text())
        found[listed["year"]] = [
            Look(it["item_id"], it["datetime"], it["item_id"] not in told_wrongly and is_clear(it, chip))
            for it in listed["scenes"]
        ]
    return found


def is_clear(scene: dict[str, Any], chip: tuple[int, int, int, int]) -> bool:
    scl = read(scene["assets"]["SCL"], chip)
    if (scl == 0).any() or np.isin(scl, BAD).mean() > 0.25:
        return False
    visible = np.stack([read(scene["assets"][band], chip) for band in BANDS["gsd_10"][:3]]).min(axis=0)
    lowest = [read(scene["assets"][band], chip).repeat(factor, 0).repeat(factor, 1)
              for grid, factor in (("gsd_10", 1), ("gsd_20", 2), ("gsd_60", 6)) for band in BANDS[grid]]  # fmt: skip
    if (np.max(lowest, axis=0) <= 1).any():
        return False
    darkest = np.sort(visible.ravel())[int(np.ceil(0.05 * visible.size)) - 1]
    return bool((int(darkest) + scene["boa_add_offset"]) / 10_000 <= 0.2)


def test_every_place_has_a_patch_with_its_class_in_its_middle(made: Built, table: Path) -> None:
    assert made.code == 0
    with table.open() as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    examples = made.examples()
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


def test_pixels_are_those_of_the_scene(made: Built) -> None:
    for example in made.examples()[::5]:
        (image,) = example.images
        (file,) = (made.folder / "scenes").glob(f"{example.cell.tile}_{example.year}.json")
        (scene,) = (it for it in json.loads(file.read_text())["scenes"] if it["item_id"] == image.item_id)
        for grid, bands in BANDS.items():
            for index, band in enumerate(bands):
                expected = read(scene["assets"][band], example.cell.chip.bounds)
                assert np.array_equal(getattr(image, grid)[..., index], expected)
        assert np.array_equal(image.scl, read(scene["assets"]["SCL"], example.cell.chip.bounds))


def test_a_random_date_is_the_first_clear_one_in_keyed_order(made: Built) -> None:
    years = set()
    for example in made.examples():
        scenes = looks(made, example)
        name = example.cell.place.name
        order = sorted(scenes, key=lambda year: keyed_hash(SEED, "year of a place", name, year))
        first = next(it for year in order for it in scenes[year] if it.clear)
        assert example.images[0].item_id == first.item_id
        years.add(example.year)
    assert len(years) == 2


@pytest.mark.slow
def test_the_nearest_date_is_nearer_than_any_other_clear_one(
    whole_world: SampleWorld, table: Path, tmp_path: Path
) -> None:
    own = patches(whole_world, table, tmp_path / "own", "--near", "own")
    assert own.code == 0
    for example in own.examples():
        wanted = np.datetime64(f"{example.cell.place.date}T12:00")

        def distance(look: Look, wanted: np.datetime64 = wanted) -> np.timedelta64:
            return abs(np.datetime64(look.datetime.rstrip("Z")) - wanted)

        clear = [it for of_year in looks(own, example).values() for it in of_year if it.clear]
        assert example.images[0].item_id == min(clear, key=distance).item_id


def test_counts_are_told_and_verified(made: Built, capsys: pytest.CaptureFixture[str]) -> None:
    places = made.dataset["fingerprint"]["places"]
    assert places == {
        "source": "table",
        "classes": ["bright", "dark"],
        "nearest": False,
        "left_out": {"doubled": 1, "no_tile": 1},
    }
    assert made.dataset["grid"]["name"] == "places"
    assert made.dataset["rejections"] == {"patch_of_another_year": 24}
    assert "labels" not in made.dataset["licences"]
    licences = (made.folder / "LICENSES.md").read_text()
    assert "OpenStreetMap contributors" not in licences + (made.folder / "CITATION.cff").read_text()
    assert "Copernicus" in licences
    assert verify([str(made.folder)]) == 0
    said = dict(line.rsplit(maxsplit=1) for line in capsys.readouterr().out.splitlines() if line[:2] == "  ")
    assert {name.strip(): said[name] for name in said}["rejected"] == "24"


def test_places_without_a_clear_date_are_rejections(
    whole_world: SampleWorld, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    strict = patches(
        whole_world, table, tmp_path / "set", "--max_bad_fraction=0", "--max_min_reflectance=0.035"
    )
    said = capsys.readouterr().out
    assert strict.code == 0
    written = len(strict.examples())
    assert 0 < written < 24
    assert f"places: 24, with a patch {written}, without {24 - written}" in said
    assert strict.dataset["rejections"] == {
        "no_clear_date": 2 * (24 - written),
        "patch_of_another_year": written,
    }


def test_a_run_goes_on_and_gives_the_same_bytes(
    whole_world: SampleWorld, made: Built, table: Path, tmp_path: Path
) -> None:
    again = tmp_path / "set"
    shutil.copytree(made.folder, again)
    lost = sorted(made.shards)[0]
    (again / lost).unlink()
    (again / "dataset.json").unlink()
    kept = {name: (again / name).stat().st_mtime_ns for name in made.shards if name != lost}
    gone_on = patches(whole_world, table, again)
    assert gone_on.code == 0
    assert gone_on.shards == made.shards
    assert gone_on.dataset == made.dataset
    assert kept == {name: (again / name).stat().st_mtime_ns for name in kept}
    assert patches(whole_world, table, again, "--near=2021-06-01").code == 2


def test_verify_finds_another_class(made: Built, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "set"
    shutil.copytree(made.folder, folder)
    name = sorted(made.shards)[0]
    first, *others = map(decode, read_shard(BeamFiles(), str(folder / name)))
    place = dataclasses.replace(first.cell.place, class_name="grey")
    forged = dataclasses.replace(first, cell=dataclasses.replace(first.cell, place=place))
    (folder / name).write_bytes(b"".join(frame(encode(it)) for it in (forged, *others)))
    assert verify([str(folder)]) == 1
    assert "class_name='grey'" in capsys.readouterr().out


def test_it_is_refused_where_a_map_is_wanted(
    made: Built, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert relabel([f"--dataset={made.folder}", f"--output={tmp_path}/a"]) == 2
    assert "has cells of the grid 'places'" in capsys.readouterr().err
    assert export_dataset([f"--dataset={made.folder}", "--format=published", f"--output={tmp_path}/b"]) == 2
    assert "is one of labelled places" in capsys.readouterr().err


def test_a_dry_run_tells_what_is_to_do(
    whole_world: SampleWorld, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert patches(whole_world, table, tmp_path / "set", "--dry_run").code == 0
    said = capsys.readouterr()
    assert [line.split() for line in said.out.splitlines()[1:6]] == [
        ["shards", "6"],
        ["shards", "to", "do", "6"],
        ["tiles", "4"],
        ["places", "24"],
        ["bright", "12"],
    ]
    assert "left out, no_tile: north" in said.err
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "Give the places by one of --places, --eurosat, --fmow"),
        (["--places=a.csv", "--fmow=b"], "Give the places by one of"),
        (["--places=none.csv"], "--places cannot be read"),
        (["--places={table}", "--near=soon"], "--near: what is not the word own must be a date"),
        (["--places={table}", "--places_per_shard=0"], "--places_per_shard must lie in 1 to 256"),
        (["--places={undated}", "--near=own"], "line 2: date is missing, and --near own"),
        (["--places={unclassed}"], "unclassed.csv, line 1: columns are missing: class"),
    ],
)
def test_bad_input_is_refused_before_launch(
    whole_world: SampleWorld,
    table: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    message: str,
) -> None:
    (tmp_path / "undated.csv").write_text("class,lon,lat\na,6,49\n")
    (tmp_path / "unclassed.csv").write_text("lon,lat\n6,49\n")
    paths = {"table": table, "undated": tmp_path / "undated.csv", "unclassed": tmp_path / "unclassed.csv"}
    given = [word.format(**paths) for word in more]
    output = tmp_path / "set"
    assert resample_patches([f"--stac_url={whole_world.stac_catalog}", f"--output={output}", *given]) == 2
    assert message in capsys.readouterr().err
    assert not output.exists()


def test_pixels_of_patches_are_reflectance(made: Built) -> None:
    found = read_resampled(str(made.folder), "table", 64)
    examples = {it.cell.place.name: it for it in made.examples()}
    assert {it.name for it in found.patches} == {*examples}
    assert (found.side, found.crop, found.classes) == (192, 64, ("bright", "dark"))
    pixels = found.read(range(3, 6))
    for index, patch in enumerate(found.patches[3:6]):
        cell, image = examples[patch.name].cell, examples[patch.name].images[0]
        assert found.classes[patch.class_index] == cell.place.class_name
        assert (patch.longitude, patch.latitude) == (cell.place.longitude, cell.place.latitude)
        assert patch.split == cell.split
        (file,) = (made.folder / "scenes").glob(f"{cell.tile}_{image.date[:4]}.json")
        (scene,) = (it for it in json.loads(file.read_text())["scenes"] if it["item_id"] == image.item_id)
        for ours, grid in ((pixels.gsd_10, "gsd_10"), (pixels.gsd_20, "gsd_20")):
            for channel, band in enumerate(BANDS[grid]):
                dn = read(scene["assets"][band], cell.chip.bounds).astype(np.float64)
                expected = (dn + scene["boa_add_offset"]) / 10_000
                np.testing.assert_allclose(ours[index, ..., channel], expected, atol=1e-6)


def test_damaged_and_other_datasets_are_refused(made: Built, built: Built, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"dataset.json: fingerprint\.places must be there"):
        read_resampled(str(built.folder), None, 64)
    with pytest.raises(InvalidInputError, match=r"fingerprint\.places\.source must be fmow.*Received: table"):
        read_resampled(str(made.folder), "fmow", 16)
    folder = tmp_path / "set"
    shutil.copytree(made.folder, folder)
    description = folder / "dataset.json"
    whole = description.read_text()
    description.write_text(whole.replace('"source": "table"', '"source": "<b>"'))
    with pytest.raises(InvalidInputError, match=r"dataset.json: fingerprint\.places\.source"):
        read_resampled(str(folder), None, 64)
    description.write_text(whole)
    shard = folder / sorted(made.shards)[0]
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(InvalidInputError, match=rf"{shard}, record \d+, is damaged: .*CRC"):
        read_resampled(str(folder), None, 64)


@pytest.mark.slow
def test_patches_are_classified(made: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head, "LEAST_STEPS", 2)
    given = [
        "--patches",
        str(made.folder),
        "--task=classes",
        "--output",
        str(tmp_path / "out"),
        "--width=tiny",
    ]
    given += ["--columns=5", "--splits=random", "--methods=knn,linear", "--seeds=5", "--at_once=8"]
    assert downstream.main(given) == 0
    results = json.loads((tmp_path / "out" / "table1.json").read_text())
    assert results["patches"]["level"] == "L2A"
    assert results["patches"]["classes"] == {"bright": 12, "dark": 12}
    assert {it["test_patches"][0] for it in results["scores"]} == {14}
    assert "Copernicus" in (tmp_path / "out" / "LICENSES.md").read_text()


@pytest.mark.slow
def test_places_of_fmow_are_classified_by_their_own_splits(
    whole_world: SampleWorld, made: Built, tmp_path: Path
) -> None:
    """Metadata of an image of 100 m around each place, with the place's box in its middle."""
    cells = sorted((it.cell for it in made.examples()), key=lambda cell: cell.place.name)
    for index, cell in enumerate(cells):
        category, split = ("zoo", "park")[index % 2], ("train", "test_gt")[index // 2 % 2]
        lon, lat = cell.place.longitude, cell.place.latitude
        west, east, south, north = lon - 5e-4, lon + 5e-4, lat - 5e-4, lat + 5e-4
        ring = f"{west} {north}, {east} {north}, {east} {south}, {west} {south}, {west} {north}"
        content = {
            "img_width": 200,
            "img_height": 200,
            "raw_location": f"POLYGON (({ring}))",
            "timestamp": "2012-07-01T10:00:00Z",
            "bounding_boxes": [{"category": category, "box": [90, 90, 20, 20]}],
        }
        name = f"{category}_{index}"
        path = tmp_path / "fmow" / split / category / name / f"{name}_0_rgb.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(content))
    given = ["--fmow", str(tmp_path / "fmow"), "--stac_url", str(whole_world.stac_catalog)]
    given += ["--years", ",".join(map(str, whole_world.years)), "--near", "own"]
    dataset = Built(tmp_path / "set", resample_patches([*given, "--output", str(tmp_path / "set")]))
    assert dataset.code == 0
    examples = dataset.examples()
    assert [it.cell.split for it in examples].count("testing") == 12
    assert {it.cell.place.date for it in examples} == {"2012-07-01"}
    given = [
        "--patches",
        str(dataset.folder),
        "--task=fmow",
        "--output",
        str(tmp_path / "out"),
        "--width=tiny",
    ]
    given += ["--columns=2", "--splits=published", "--methods=linear", "--seeds=2", "--at_once=8"]
    assert downstream.main(given) == 0
    results = json.loads((tmp_path / "out" / "table1.json").read_text())
    assert {(it["split"], *it["training_patches"], *it["test_patches"]) for it in results["scores"]} == {
        ("published", 4, 4, 12, 12)
    }
    assert "Functional Map of the World" in (tmp_path / "out" / "LICENSES.md").read_text()
