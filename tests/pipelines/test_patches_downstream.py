"""Patches of EuroSAT's tiles, fMoW's boxes and a table, from the list to scores; against what rasterio reads."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
import rasterio

from beam_pipeline.records.example import CellYear
from beam_pipeline.sample_world import SampleWorld
from beam_pipeline.verify import main as verify
from model_tf import downstream
from model_tf.downstream_tasks.inputs import BANDS, survey
from model_tf.downstream_tasks.resampled import read_resampled
from tests.model_tf.downstream_tasks.made_tiles import made_dn, write_tile
from tests.pipelines.conftest import Built
from tests.pipelines.patches_of_sample import Bounds, crop_of, make_patches, read, scene_of

MOST_OFF = 5.001
"""Metres from a place to the corner of pixels next to it in each direction, and what projecting it twice may add."""


def write_eurosat(folder: Path) -> None:
    """Writes tiles whose middles lie in the sample world, on no lattice; the last is in the CRS of the other zone."""
    over_the_border = pyproj.Transformer.from_crs(32624, 32623, always_xy=True).transform(242_500, 4_305_000)
    for class_name, epsg, (x, y), pixel in (
        ("Forest", 32623, (756_417.3, 4_301_512.8), 10.0),
        ("Forest", 32624, (241_111.0, 4_302_345.0), 9.96),
        ("River", 32623, (758_005.0, 4_304_999.0), 10.03),
        ("River", 32623, over_the_border, 10.0),
    ):
        number = len(list(folder.glob(f"{class_name}/*"))) + 1
        corner = {"left": x - 32 * pixel, "top": y + 32 * pixel}
        path = folder / class_name / f"{class_name}_{number}.tif"
        write_tile(path, made_dn(0, number), epsg=epsg, pixel=pixel, **corner)


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("eurosat") / "EuroSAT_MS"
    write_eurosat(folder)
    return folder


@pytest.fixture(scope="module")
def of_eurosat(world: SampleWorld, tiles: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    return make_patches(world, tmp_path_factory.mktemp("patches") / "set", "--eurosat", str(tiles))


def reflectance(built: Built, example: CellYear, bounds: Bounds) -> list[Any]:
    """The ten bands at 10 m within bounds, as rasterio reads them."""
    scene, chip = scene_of(built, example), example.cell.chip
    rows = slice(round(chip.top - bounds[3]) // 10, round(chip.top - bounds[1]) // 10)
    columns = slice(round(bounds[0] - chip.left) // 10, round(bounds[2] - chip.left) // 10)

    def at_10_m(band: str) -> Any:
        pixels = read(scene["assets"][band], chip.bounds)
        factor = 192 // len(pixels)
        return pixels.repeat(factor, axis=0).repeat(factor, axis=1)[rows, columns].astype(np.float64)

    return [(at_10_m(band) + scene["boa_add_offset"]) / 10_000 for band in BANDS]


def means_of_crops(built: Built, names: Sequence[str], crop: int) -> Any:
    """(N, 10) mean of each band around each place, by rasterio alone."""
    examples = {it.cell.place.name: it for it in built.examples()}
    bounds = {name: crop_of(examples[name].cell, crop) for name in names}
    return np.array(
        [[band.mean() for band in reflectance(built, examples[name], bounds[name])] for name in names]
    )


def test_the_crop_of_a_tile_covers_its_bounds_up_to_half_a_pixel(of_eurosat: Built, tiles: Path) -> None:
    assert of_eurosat.code == 0
    assert verify([str(of_eurosat.folder)]) == 0
    assert of_eurosat.dataset["fingerprint"]["places"]["source"] == "eurosat"
    assert "MIT" in (of_eurosat.folder / "LICENSES.md").read_text()
    examples = of_eurosat.examples()
    assert len(examples) == 4
    offsets = {it.name: it.offset for it in read_resampled(str(of_eurosat.folder), "eurosat", 64).patches}
    assert sum(it != (0, 0) for it in offsets.values()) >= 3
    for example in examples:
        chip = example.cell.chip
        row, column = offsets[example.cell.place.name]
        x, y = chip.left + 960 + 10 * column, chip.top - 960 - 10 * row
        crop = (x - 320, y - 320, x + 320, y + 320)
        with rasterio.open(tiles / example.cell.place.name) as tile:
            assert tile.crs.to_epsg() in (32623, 32624)
            bounds, epsg = tile.bounds, tile.crs.to_epsg()
        assert example.cell.place.class_name == example.cell.place.name.partition("/")[0]
        to_chip = pyproj.Transformer.from_crs(epsg, chip.epsg, always_xy=True)
        corners = np.array([to_chip.transform(x, y) for x in bounds[::2] for y in bounds[1::2]])
        middle = to_chip.transform((bounds.left + bounds.right) / 2, (bounds.bottom + bounds.top) / 2)
        assert abs(middle[0] - (crop[0] + crop[2]) / 2) <= MOST_OFF
        assert abs(middle[1] - (crop[1] + crop[3]) / 2) <= MOST_OFF
        beyond = max(*(crop[:2] - corners.min(axis=0)), *(corners.max(axis=0) - crop[2:]))
        if epsg == chip.epsg:
            assert beyond <= MOST_OFF + max(0, (bounds.right - bounds.left) / 2 - 320)
        else:  # north in the one zone is 3.8 degrees off north in the other
            assert beyond <= MOST_OFF + 320 * np.sin(np.radians(3.9))
    assert {it.cell.chip.epsg for it in examples} == {32623, 32624}


def test_what_is_classified_is_what_lies_in_the_crop(of_eurosat: Built) -> None:
    patches = read_resampled(str(of_eurosat.folder), "eurosat", 64)
    expected = means_of_crops(of_eurosat, [it.name for it in patches.patches], 64)
    np.testing.assert_allclose(survey(patches).mean, expected, rtol=1e-5)


def classify(patches: Built, output: Path, task: str, *more: str) -> dict[str, Any]:
    given = ["--patches", str(patches.folder), f"--task={task}", "--output", str(output), "--width=tiny"]
    assert downstream.main([*given, "--methods=knn,linear", "--seeds=2", "--at_once=4", *more]) == 0
    return json.loads((output / "table1.json").read_text())


def check_embedded(patches: Built, output: Path, source: str, crop: int) -> None:
    """Compares the cached mean embedding of raw reflectance with means that rasterio's pixels give."""
    names = [it.name for it in read_resampled(str(patches.folder), source, crop).patches]
    cached = [np.load(path) for path in output.glob("cache/*/mean-00000.npy")]
    (ours,) = (it for it in cached if it.shape == (len(names), len(BANDS)))
    crops = [reflectance(patches, it, crop_of(it.cell, crop)) for it in patches.examples()]
    pixels = [np.concatenate([it.ravel() for it in of_band]) for of_band in zip(*crops, strict=True)]
    mean, deviation = np.array([(it.mean(), it.std()) for it in pixels]).T
    expected = (means_of_crops(patches, names, crop) - mean) / deviation
    np.testing.assert_allclose(ours, expected, atol=1e-3)


@pytest.mark.slow
def test_tiles_of_eurosat_are_classified(of_eurosat: Built, tmp_path: Path) -> None:
    results = classify(of_eurosat, tmp_path / "out", "eurosat", "--columns=1", "--splits=random")
    assert results["patches"]["level"] == "L2A"
    assert results["patches"]["classes"] == {"Forest": 2, "River": 2}
    assert {(*it["training_patches"], *it["test_patches"]) for it in results["scores"]} == {(2, 2, 2, 2)}
    assert "*quoted*" in (tmp_path / "out" / "table1.md").read_text()
    assert "MIT" in (tmp_path / "out" / "LICENSES.md").read_text()
    check_embedded(of_eurosat, tmp_path / "out", "eurosat", 64)


@pytest.mark.slow
def test_places_of_a_table_are_classified(made_patches: Built, tmp_path: Path) -> None:
    results = classify(made_patches, tmp_path / "out", "classes", "--columns=2", "--splits=random")
    assert results["patches"]["level"] == "L2A"
    assert results["patches"]["classes"] == {"bright": 6, "dark": 6}
    assert {it["test_patches"][0] for it in results["scores"]} == {8}
    assert "Copernicus" in (tmp_path / "out" / "LICENSES.md").read_text()
    check_embedded(made_patches, tmp_path / "out", "table", 64)


def write_fmow(folder: Path, points: Sequence[tuple[float, float]]) -> None:
    """Writes metadata of an image of about 100 m around each point, of which the box is the middle."""
    for index, (lon, lat) in enumerate(points):
        category, split = ("zoo", "park")[index % 2], ("train", "test_gt")[index // 2 % 2]
        west, east, south, north = lon - 5e-4, lon + 5e-4, lat - 5e-4, lat + 5e-4
        ring = f"{west} {north}, {east} {north}, {east} {south}, {west} {south}, {west} {north}"
        content = {
            "img_width": 200,
            "img_height": 200,
            "raw_location": f"POLYGON (({ring}))",
            "timestamp": "2012-07-01T10:00:00Z",
            "bounding_boxes": [
                {"ID": -1, "category": category, "box": [0, 0, 200, 200], "visible": True},
                {"ID": 0, "category": category, "box": [90, 90, 20, 20], "visible": True},
            ],
        }
        name = f"{category}_{index}"
        path = folder / split / category / name / f"{name}_0_rgb.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(content))


@pytest.mark.slow
def test_places_of_fmow_are_classified_by_their_own_splits(
    world: SampleWorld, made_patches: Built, tmp_path: Path
) -> None:
    cells = sorted((it.cell for it in made_patches.examples()), key=lambda cell: cell.place.name)
    write_fmow(tmp_path / "fmow", [(it.place.longitude, it.place.latitude) for it in cells])
    dataset = make_patches(world, tmp_path / "set", "--fmow", str(tmp_path / "fmow"), "--near", "own")
    assert dataset.code == 0
    assert verify([str(dataset.folder)]) == 0
    examples = dataset.examples()
    assert [it.cell.split for it in examples].count("testing") == 6
    assert {it.cell.place.date for it in examples} == {"2012-07-01"}
    assert {it.cell.chip for it in examples} == {it.chip for it in cells}
    results = classify(dataset, tmp_path / "out", "fmow", "--columns=2", "--splits=published")
    assert {(it["split"], *it["training_patches"], *it["test_patches"]) for it in results["scores"]} == {
        ("published", 4, 4, 6, 6)
    }
    licences = (tmp_path / "out" / "LICENSES.md").read_text()
    assert "Functional Map of the World Challenge Public License" in licences
    assert "non-commercial" in licences
    check_embedded(dataset, tmp_path / "out", "fmow", 16)
