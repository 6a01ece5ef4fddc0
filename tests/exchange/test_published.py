"""The published layout: what is in its files is what the dataset holds, and others' readers take it."""

import csv
import dataclasses
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from beam_pipeline.exchange.published import NO_PAIR, Published, image_name, npz
from beam_pipeline.records.example import CellYear
from tests.exchange.conftest import CELLS, export
from tests.exchange.terratorch_rules import Reader
from tests.model_tf.made_dataset import write_dataset
from tests.records.builders import make_image
from tests.shared_data import shared

SPLIT_OF = {cell_id: split for split, shards in CELLS.items() for ids in shards for cell_id in ids}


@pytest.fixture(scope="module")
def published(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("published") / "set"
    assert export(dataset, output, Published()).complete
    return output


def cell_years(made: dict[str, list[list[CellYear]]], cell_id: int) -> list[CellYear]:
    return [it for shards in made.values() for shard in shards for it in shard if it.cell.cell_id == cell_id]


def test_pixels_and_labels_are_the_datasets(published: Path, made: dict[str, list[list[CellYear]]]) -> None:
    for cell_id in SPLIT_OF:
        years = cell_years(made, cell_id)
        images = [image for it in years for image in it.images]
        found = sorted((published / "osm_sentinel_imagery" / "33TWN" / str(cell_id)).iterdir())
        assert [path.stem for path in found] == [image.item_id for image in images]
        for path, image in zip(found, images, strict=True):
            with np.load(path, allow_pickle=False) as arrays:
                for grid in ("gsd_10", "gsd_20", "gsd_60"):
                    # In float64, rounded once: another way to the nearest float32.
                    exact = (getattr(image, grid).astype(np.float64) + image.boa_add_offset) / 10_000
                    assert arrays[grid].dtype == np.float32
                    assert np.array_equal(arrays[grid], exact.astype(np.float32))
                assert arrays["scl"].dtype == np.uint8
                assert np.array_equal(arrays["scl"], image.scl)
                assert arrays["bad_percent"].dtype == np.float64
                assert float(arrays["bad_percent"]) == image.bad_percent
        label = Pillow.open(published / "osm_label_images_v10" / "33TWN" / f"{cell_id}.png")
        assert label.mode == "RGB"
        assert np.array_equal(np.array(label), years[0].label)


def test_reflectance_below_0_and_above_1_stays() -> None:
    image = make_image(np.random.default_rng(0), boa_add_offset=-1000)
    image.gsd_10[0, 0] = (1, 999, 11_001, 65_535)
    with np.load(io.BytesIO(npz(image))) as arrays:
        assert arrays["gsd_10"][0, 0].tolist() == np.float32([-0.0999, -0.0001, 1.0001, 6.4535]).tolist()


def test_a_file_is_numpys_own_but_for_the_level() -> None:
    image = make_image(np.random.default_rng(0))
    ours = npz(image)
    with np.load(io.BytesIO(ours)) as arrays:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
    assert members(ours) == members(buffer.getvalue())
    assert len(ours) < 1.01 * len(buffer.getvalue())
    assert npz(image) == ours


def members(content: bytes) -> list[tuple[Any, ...]]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return [
            (it.filename, it.date_time, it.compress_type, it.file_size, it.CRC, archive.read(it))
            for it in archive.infolist()
        ]


def test_its_arrays_are_those_of_the_files_that_were_published() -> None:
    published = next(shared("opensentinelmap_published").glob("**/*.npz"))
    image = make_image(np.random.default_rng(0))

    def described(file: Any) -> list[tuple[str, str, tuple[int, ...], bool]]:
        with np.load(file) as arrays:
            return [(name, str(it.dtype), it.shape, it.flags.f_contiguous) for name, it in arrays.items()]

    assert described(io.BytesIO(npz(image))) == described(published)


def test_the_reader_of_terratorchs_rules_takes_it(
    published: Path, made: dict[str, list[list[CellYear]]]
) -> None:
    for split in CELLS:
        reader = Reader(published, split)
        assert [int(cell) for _, cell in reader.cells] == [it for it in SPLIT_OF if SPLIT_OF[it] == split]
        for tile, cell in reader.cells:
            sample, years = reader.sample(tile, cell), cell_years(made, int(cell))
            assert len(sample["images"]) == sum(len(it.images) for it in years)
            known = years[0].label < 254
            assert np.array_equal(sample["mask"][known], years[0].label[known])
            assert set(np.unique(sample["mask"][~known])) <= {15, 16}
        names = [name for channel in reader.categories["channels"] for name in channel["labels"]]
        assert len(names) == 15


@pytest.mark.slow
def test_terratorch_takes_it(published: Path) -> None:
    datasets = pytest.importorskip("terratorch.datasets", reason="needs terratorch")
    taken = datasets.OpenSentinelMap(str(published), spatial_interpolate_and_stack_temporally=False)
    # Whatever split is asked for, it takes the testing one.
    assert len(taken) == sum(split == "testing" for split in SPLIT_OF.values())
    sample = taken[0]
    assert {grid: tuple(it.shape) for grid, it in sample["image"].items()} == {
        "gsd_10": (2, 4, 192, 192),
        "gsd_20": (2, 6, 96, 96),
        "gsd_60": (2, 2, 32, 32),
    }
    ((tile, cell),) = taken.image_files
    mask = np.array(sample["mask"])
    assert np.array_equal(mask, Reader(published, "testing").sample(tile, cell)["mask"][..., 0])


def test_the_table_is_the_published_one(published: Path, made: dict[str, list[list[CellYear]]]) -> None:
    with (published / "spatial_cell_info.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["cell_id", "MGRS_tile", "min_lon", "max_lon", "min_lat", "max_lat", "split"]
    for cell_id, tile, *bounds, split in rows[1:]:
        cell = cell_years(made, int(cell_id))[0].cell
        assert (tile, split) == (cell.tile, cell.split)
        assert [*map(float, bounds)] == [cell.min_lon, cell.max_lon, cell.min_lat, cell.max_lat]
    assert [int(row[0]) for row in rows[1:]] == [1, 2, 3, 4]


def test_a_cell_of_one_image_is_left_out(made: dict[str, list[list[CellYear]]], tmp_path: Path) -> None:
    first = made["training"][0]
    alone = dataclasses.replace(first[0], images=first[0].images[:1])
    other = [dataclasses.replace(it) for it in first if it.cell.cell_id == 2]
    dataset = write_dataset(tmp_path / "set", {"training": [[alone, *other]]})
    summary = export(Path(dataset), tmp_path / "out", Published())
    assert summary.complete
    assert summary.left_out == {NO_PAIR: 1}
    assert summary.splits["training"] == {"examples": 3, "cells": 1, "images": 2}
    left = {path.name for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert "1.png" not in left
    assert not (tmp_path / "out/osm_sentinel_imagery/33TWN/1").exists()


def test_a_cell_whose_label_changes_from_year_to_year_is_a_dead_letter(
    made: dict[str, list[list[CellYear]]], tmp_path: Path
) -> None:
    shard = [*made["training"][0]]
    shard[1] = dataclasses.replace(shard[1], label=shard[3].label)
    dataset = write_dataset(tmp_path / "set", {"training": [shard]})
    summary = export(Path(dataset), tmp_path / "out", Published())
    assert not summary.complete
    assert summary.dead_letters == {"cell_differs": 1}
    assert summary.splits["training"]["cells"] == 1
    (letter,) = (tmp_path / "out/export/dead_letters.jsonl").read_text().splitlines()
    assert json.loads(letter)["cell_id"] == 1


def test_two_images_of_one_name_are_a_dead_letter(
    made: dict[str, list[list[CellYear]]], tmp_path: Path
) -> None:
    shard = [*made["training"][0]]
    shard[0] = dataclasses.replace(shard[0], images=shard[0].images[:1] * 2)
    dataset = write_dataset(tmp_path / "set", {"training": [shard]})
    summary = export(Path(dataset), tmp_path / "out", Published())
    assert summary.dead_letters == {"doubled_image": 1}
    assert summary.splits["training"]["cells"] == 1


@pytest.mark.parametrize(
    ("item_id", "expected"),
    [
        ("S2A_43QEU_20201018_0_L2A", "S2A_43QEU_20201018_0_L2A"),
        ("S2A_T43QEU_20201018T053121_L2A", "T43QEU_20201018_S2A-T43QEU-20201018T053121-L2A"),
        (
            "S2A_MSIL2A_20201018T053121_R105_T43QEU_20201019_0",
            "T43QEU_20201018_S2A-MSIL2A-20201018T053121-R105-T43QEU-20201019-0",
        ),
        # The first eight digits are another date than the image's.
        ("S2A_20201019_20201018_0", "T43QEU_20201018_S2A-20201019-20201018-0"),
        ("", "T43QEU_20201018_"),
        ("../../x", "T43QEU_20201018_..-..-x"),
        (".hidden_20201018_0", "T43QEU_20201018_.hidden-20201018-0"),
        ("a/b\0\n_20201018_ü", "T43QEU_20201018_a-b-20201018-"),
        ("x" * 300, "T43QEU_20201018_" + "x" * 100),
    ],
)
def test_every_name_holds_the_date(item_id: str, expected: str) -> None:
    image = make_image(np.random.default_rng(0), item_id, datetime="2020-10-18T05:31:21Z")
    assert image_name(image, "43QEU") == expected
