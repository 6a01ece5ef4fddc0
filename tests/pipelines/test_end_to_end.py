"""A whole build against independent answers: rasterio, numpy, TFDS."""

import collections
import hashlib
import json
from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
from PIL import Image as PillowImage

from beam_pipeline import preview
from beam_pipeline.cells.table import parse_cells_csv
from beam_pipeline.dataset.folder import DatasetFolder
from beam_pipeline.imagery.image import BANDS, BANDS_10, BANDS_20, BANDS_60, Image
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.labels.label_image import NONE, UNLABELED
from beam_pipeline.records.description import read_description
from beam_pipeline.records.example_proto import Example
from beam_pipeline.records.shards import read_shard
from beam_pipeline.report.colours import NONE_COLOUR, UNLABELED_COLOUR
from beam_pipeline.report.contact_sheet import palette
from beam_pipeline.report.preview import some_examples
from beam_pipeline.sample_world import SampleWorld
from tests.pipelines.conftest import CELLS_PER_SHARD, Built, build

ASSETS = {
    "B01": "coastal",
    "B02": "blue",
    "B03": "green",
    "B04": "red",
    "B05": "rededge1",
    "B06": "rededge2",
    "B07": "rededge3",
    "B08": "nir",
    "B8A": "nir08",
    "B09": "nir09",
    "B11": "swir16",
    "B12": "swir22",
    "SCL": "scl",
}


@pytest.fixture(scope="module")
def items(world: SampleWorld) -> dict[str, pystac.Item]:
    catalogue = pystac.Catalog.from_file(str(world.stac_catalog))
    return {item.id: item for item in catalogue.get_items(recursive=True)}


def stored(image: Image) -> dict[str, np.ndarray]:
    bands = {band: image.gsd_10[..., index] for index, band in enumerate(BANDS_10)}
    bands |= {band: image.gsd_20[..., index] for index, band in enumerate(BANDS_20)}
    bands |= {band: image.gsd_60[..., index] for index, band in enumerate(BANDS_60)}
    return {**bands, "SCL": image.scl}


def test_every_cell_year_ends_once(built: Built, world: SampleWorld) -> None:
    assert built.code == 0
    cells = parse_cells_csv(world.cells_csv.read_text(), "cells.csv")
    dataset = built.dataset
    assert dataset["complete"]
    examples = built.examples()
    keys = [(example.cell.cell_id, example.year) for example in examples]
    assert len(set(keys)) == len(keys)
    assert len(keys) + sum(dataset["rejections"].values()) == len(cells) * len(world.years)
    assert {cell_id for cell_id, _ in keys} <= {cell.cell_id for cell in cells}
    by_id = {cell.cell_id: cell for cell in cells}
    assert all(example.cell == by_id[example.cell.cell_id] for example in examples)
    # The sample shows what it is for: all splits, all filters.
    assert all(dataset["splits"][split]["examples"] for split in ("training", "validation", "testing"))
    assert {"unusable", "nodata", "too_bright"} <= dataset["scene_rejections"].keys()
    assert {note["reason"] for note in dataset["unusable_scenes"]} == {"offset_contradicted"}


def test_shards_are_what_was_planned(built: Built) -> None:
    units = [json.loads(line) for line in (built.folder / "plan/units.jsonl").read_text().splitlines()]
    assert [unit["name"] for unit in units] == sorted(
        built.shards, key=[unit["name"] for unit in units].index
    )
    assert all(len(unit["cells"]) <= CELLS_PER_SHARD for unit in units)
    for shard in built.dataset["shards"]:
        content = built.shards[shard["name"]]
        assert (len(content), hashlib.sha256(content).hexdigest()) == (shard["num_bytes"], shard["sha256"])
    assert not (built.folder / "tmp").exists()


def test_pixels_are_those_that_rasterio_reads(built: Built, items: dict[str, pystac.Item]) -> None:
    for example in built.examples()[::5]:
        for image in example.images:
            item = items[image.item_id]
            for band, pixels in stored(image).items():
                with rasterio.open(item.assets[ASSETS[band]].get_absolute_href()) as source:
                    window = rasterio.windows.from_bounds(*example.cell.chip.bounds, source.transform)
                    assert source.crs.to_epsg() == example.cell.chip.epsg
                    assert all(float(part).is_integer() for part in window.flatten())
                    np.testing.assert_array_equal(pixels, source.read(1, window=window))


def test_pairs_are_of_two_clear_dates(built: Built, items: dict[str, pystac.Item]) -> None:
    for example in built.examples():
        first, second = example.images
        assert first.date < second.date
        for image in example.images:
            assert image.date.startswith(str(example.year))
            bad = np.isin(image.scl, (1, 3, 8, 9, 10)).mean()
            assert image.bad_percent == pytest.approx(bad, abs=0)
            assert bad <= 0.25
            assert image.scl.all()
            properties = items[image.item_id].properties
            applied = properties.get("earthsearch:boa_offset_applied")
            late = float(properties["s2:processing_baseline"]) >= 4
            assert image.boa_add_offset == (-1000 if late and not applied else 0)


def test_a_single_clear_date_is_kept_on_request(built: Built, world: SampleWorld, tmp_path: Path) -> None:
    rejections = dict(built.dataset["rejections"])
    pairs = {(example.cell.cell_id, example.year) for example in built.examples()}
    header, *lines = world.cells_csv.read_text().splitlines(keepends=True)
    lines = [
        line for line in lines if any((int(line.split(",")[0]), year) not in pairs for year in world.years)
    ]
    few = tmp_path / "few.csv"
    few.write_text(header + "".join(lines))

    kept = build(world, tmp_path / "set", "--cells", str(few), "--allow_single")

    assert kept.code == 0
    singles = [example for example in kept.examples() if len(example.images) == 1]
    assert len(singles) == rejections.pop("one_clear_date") > 0
    assert kept.dataset["rejections"] == rejections
    assert sum(split["singles"] for split in kept.dataset["splits"].values()) == len(singles)
    assert not {(example.cell.cell_id, example.year) for example in singles} & pairs
    records = [
        Example.FromString(payload).features.feature
        for name in kept.shards
        for payload in read_shard(BeamFiles(), str(kept.folder / name))
    ]
    stored_numbers = [record["num_images"].int64_list.value[0] for record in records]
    assert stored_numbers == [len(example.images) for example in kept.examples()]


def test_statistics_are_those_of_the_decoded_examples(built: Built) -> None:
    values = collections.defaultdict(list)
    labels = {}
    for example in built.examples():
        labels[example.cell.cell_id] = example.label
        if example.cell.split == "training":
            for image in example.images:
                for band, pixels in stored(image).items():
                    values[band].append((pixels.astype(np.float64) + image.boa_add_offset) / 10_000)
    for band in BANDS:
        everything = np.concatenate([part.ravel() for part in values[band]])
        statistics = built.dataset["bands"][band]
        assert statistics["pixels"] == everything.size
        assert statistics["mean"] == pytest.approx(everything.mean(), rel=1e-9)
        assert statistics["variance"] == pytest.approx(everything.var(), rel=1e-9)
    for index, channel in enumerate(built.dataset["labels"]):
        pixels = np.concatenate([label[..., index].ravel() for label in labels.values()])
        assert sum(channel["pixels"].values()) == pixels.size
        assert channel["pixels"]["unlabeled"] == (pixels == 255).sum()
        assert channel["pixels"]["none"] == (pixels == 254).sum()


def test_labels_lie_on_what_the_images_show(built: Built) -> None:
    """Water is dark in the near infrared; shifted or mirrored labels would not know."""
    inside, outside = [], []
    for example in built.examples():
        water = example.label[..., 1] == 12
        if 200 < water.sum() < 20_000:
            near_infrared = example.images[0].gsd_10[..., 3].astype(float) + example.images[0].boa_add_offset
            inside.append(np.median(near_infrared[water]))
            outside.append(np.median(near_infrared[~water]))
    assert len(inside) >= 5
    assert np.mean(np.array(inside) < 0.6 * np.array(outside)) > 0.8


def test_tfds_loads_it(built: Built) -> None:
    tfds = pytest.importorskip("tensorflow_datasets")
    builder = tfds.builder_from_directory(str(built.folder))
    examples = built.examples()
    for split in ("training", "validation", "testing"):
        of_split = [example for example in examples if example.cell.split == split]
        read = list(tfds.as_numpy(builder.as_dataset(split=split)))
        assert len(read) == len(of_split) == builder.info.splits[split].num_examples
        by_key = {(example.cell.cell_id, example.year): example for example in of_split}
        for record in read:
            example = by_key[int(record["cell_id"]), int(record["year"])]
            np.testing.assert_array_equal(record["label"], example.label)


def test_preview_draws_it(built: Built, tmp_path: Path) -> None:
    path = tmp_path / "sheets" / "preview.png"
    assert preview.main([str(built.folder), "--output", str(path), "--rows", "3"]) == 0
    with PillowImage.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    labels = pixels[8 : 8 + 192, 8 + 2 * 200 : 8 + 2 * 200 + 192]  # of the first example, pixel for pixel
    files = BeamFiles()
    description = read_description(files, str(built.folder))
    (first,) = some_examples(DatasetFolder(files, str(built.folder)), description.shards, rows=1)
    colours = dict(palette(description.ontology.channels).values())
    for value in np.unique(first.label[..., 0]):
        expected = {NONE: NONE_COLOUR, UNLABELED: UNLABELED_COLOUR}.get(value, colours.get(value))
        assert (labels[first.label[..., 0] == value] == expected).all()
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 1000


def test_preview_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert preview.main([str(tmp_path)]) == 2
    assert "no dataset.json" in capsys.readouterr().err
    for rows in ("0", "-1", "201"):
        assert preview.main([str(tmp_path), "--rows", rows]) == 2
        assert f"--rows must be 1 to 200. Received: {rows}" in capsys.readouterr().err
