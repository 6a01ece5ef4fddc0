"""Tar shards, read with tarfile, `webdataset` and Hugging Face's `datasets`, and compared with the examples."""

import argparse
import io
import itertools
import json
import re
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from beam_pipeline.cells.cell import SPLITS
from beam_pipeline.cells.table import PUBLISHED_COLUMNS
from beam_pipeline.dataset.folder import DatasetFolder
from beam_pipeline.exchange.names import tar_name
from beam_pipeline.exchange.source import open_source
from beam_pipeline.exchange.webdataset import WebDataset
from beam_pipeline.records.description import Shard
from beam_pipeline.records.png import encode_png
from beam_pipeline.records.shards import shard_name
from beam_pipeline.runtime.disk import Disk
from beam_pipeline.runtime.faults import InvalidInputError
from tests.exchange.conftest import export
from tests.model_tf.made_dataset import write_dataset

GRIDS = ("gsd_10", "gsd_20", "gsd_60")
HEAD = ",".join(PUBLISHED_COLUMNS)
HUB = {"training": "train", "testing": "test"}


@pytest.fixture(scope="module")
def exported(dataset, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("webdataset") / "out"
    summary = export(dataset, folder, WebDataset())
    assert summary.complete
    assert summary.splits["training"] == {"examples": 6, "cells": 3, "samples": 6, "images": 9}
    return folder


def tars(folder: Path, split: str) -> list[str]:
    return sorted(map(str, folder.glob(f"data/{split}-*.tar")))


def all_of(made, split):
    return list(itertools.chain.from_iterable(made[split]))


def assert_is(sample, cell_year):
    """Compares a sample, of arrays by name, with the example that it was made of."""
    for slot in range(2):
        there = slot < len(cell_year.images)
        for grid in GRIDS:
            found = sample[f"image_{slot}.{grid}.npy"]
            assert found.dtype == np.uint16
            right = np.moveaxis(getattr(cell_year.images[slot], grid), -1, 0) if there else 0
            assert np.array_equal(found, np.broadcast_to(right, found.shape))
        scl = sample[f"image_{slot}.scl.png"]
        assert np.array_equal(scl, cell_year.images[slot].scl if there else np.zeros((96, 96), np.uint8))
    assert np.array_equal(sample["label.png"], cell_year.label)
    metadata = sample["json"]
    cell = cell_year.cell
    assert metadata["cell_id"] == cell.cell_id
    assert metadata["year"] == cell_year.year
    assert metadata["num_images"] == len(cell_year.images)
    assert (metadata["tile"], metadata["split"], metadata["bounds_exact"]) == (cell.tile, cell.split, 1)
    bounds = [metadata[f"chip_{side}"] for side in ("left", "bottom", "right", "top")]
    assert (metadata["epsg"], *bounds) == (cell.chip.epsg, *cell.chip.bounds)
    degrees = [metadata[name] for name in ("min_lon", "max_lon", "min_lat", "max_lat")]
    assert degrees == [cell.min_lon, cell.max_lon, cell.min_lat, cell.max_lat]
    for slot, image in enumerate(cell_year.images):
        of_image = metadata[f"image_{slot}"]
        for name in ("item_id", "datetime", "platform", "baseline", "boa_add_offset", "bad_percent"):
            assert of_image[name] == getattr(image, name)


def test_members_hold_what_examples_hold(exported, made):
    first, *others = tars(exported, "training")
    assert len(others) == 1
    with tarfile.open(first) as tar:
        content = {it.name: tar.extractfile(it).read() for it in tar}
    names = [
        *(
            f"image_{slot}.{it}"
            for slot in (0, 1)
            for it in ("gsd_10.npy", "gsd_20.npy", "gsd_60.npy", "scl.png")
        ),
        *("json", "label.png"),
    ]
    assert list(content) == [
        f"{cell}_{year}.{name}" for cell in (1, 2) for year in (2020, 2021) for name in names
    ]
    for cell_year in made["training"][0]:
        key = f"{cell_year.cell.cell_id}_{cell_year.year}."
        mine = {name.removeprefix(key): it for name, it in content.items() if name.startswith(key)}
        read = {"npy": lambda it: np.load(io.BytesIO(it)), "json": json.loads}
        sample = {
            name: read.get(name.rpartition(".")[2], lambda it: np.asarray(Pillow.open(io.BytesIO(it))))(it)
            for name, it in mine.items()
        }
        assert_is(sample, cell_year)


def test_webdataset_reads_it(exported, made):
    wds = pytest.importorskip("webdataset")
    for split in ("training", "testing"):
        samples = list(wds.WebDataset(tars(exported, split), shardshuffle=False).decode("pil"))
        assert len(samples) == len(all_of(made, split))
        for sample, cell_year in zip(samples, all_of(made, split), strict=True):
            assert sample["__key__"] == f"{cell_year.cell.cell_id}_{cell_year.year}"
            # Its handlers make RGB of every image.
            grey = {
                name: np.asarray(it.convert("L")) for name, it in sample.items() if name.endswith("scl.png")
            }
            assert_is({**sample, **grey, "label.png": np.asarray(sample["label.png"])}, cell_year)


def test_datasets_reads_it_by_its_card(exported, made, tmp_path, monkeypatch):
    datasets = pytest.importorskip(
        "datasets", reason="needs Hugging Face's datasets, which no venv of tests has to have"
    )
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    loaded = datasets.load_dataset(str(exported), streaming=True, cache_dir=str(tmp_path))
    assert set(loaded) == {"train", "test"}
    for split, name in HUB.items():
        samples = list(loaded[name])
        assert len(samples) == len(all_of(made, split))
        for sample, cell_year in zip(samples, all_of(made, split), strict=True):
            arrays = {file: np.asarray(it) for file, it in sample.items() if file.endswith((".npy", ".png"))}
            arrays |= {file: it.astype(np.uint16) for file, it in arrays.items() if file.endswith(".npy")}
            assert_is({**arrays, "json": sample["json"]}, cell_year)


@pytest.fixture(scope="module")
def packed(dataset, tmp_path_factory) -> Path:
    """An export with --codec pcodec."""
    pytest.importorskip("pcodec")
    folder = tmp_path_factory.mktemp("packed") / "out"
    assert export(dataset, folder, WebDataset("pcodec")).complete
    return folder


def test_pcodec_gives_back_what_it_was_given(packed, exported, made):
    pcodec = pytest.importorskip("pcodec")
    (tar_path,) = tars(packed, "testing")
    with tarfile.open(tar_path) as tar:
        content = {it.name: tar.extractfile(it).read() for it in tar}
    for cell_year in all_of(made, "testing"):
        for slot, image in enumerate(cell_year.images):
            for grid in GRIDS:
                right = np.moveaxis(getattr(image, grid), -1, 0)
                file = content[f"{cell_year.cell.cell_id}_{cell_year.year}.image_{slot}.{grid}.pco"]
                found = pcodec.standalone.simple_decompress(file)
                assert found.dtype == np.uint16
                assert np.array_equal(found.reshape(right.shape), right)
    assert not [name for name in content if name.endswith(".npy")]
    sizes = [sum(Path(it).stat().st_size for it in tars(folder, "training")) for folder in (packed, exported)]
    assert sizes[0] < 0.8 * sizes[1]


@pytest.mark.parametrize("kind", ["exported", "packed"])
def test_the_code_of_the_card_reads_it(kind, made, request, monkeypatch):
    pytest.importorskip("webdataset")
    folder = request.getfixturevalue(kind)
    code = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)[0]
    monkeypatch.chdir(folder)
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    last = all_of(made, "training")[-1]
    assert (names["metadata"]["cell_id"], names["metadata"]["year"]) == (last.cell.cell_id, last.year)
    image = last.images[0]
    right = (np.moveaxis(image.gsd_10, -1, 0).astype(np.float32) + image.boa_add_offset) / 10_000
    np.testing.assert_array_equal(names["reflectance"], right)
    assert np.array_equal(np.asarray(Pillow.open(io.BytesIO(names["label_png"]))), last.label)


def test_a_codec_whose_package_is_missing_is_refused(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        InvalidInputError, match=r"--codec pcodec needs the package pcodec.*opensentinelmap\[pcodec\]"
    ):
        WebDataset.from_flags(argparse.Namespace(codec="pcodec"))
    assert WebDataset.from_flags(argparse.Namespace(codec=None)) == WebDataset("npy")


def test_pillow_would_have_made_8_bits_of_the_stored_pngs():
    """The reason for .npy: where this fails, the stored PNGs would do."""
    dn = np.arange(1000, 1000 + 8 * 8 * 4, dtype=np.uint16).reshape(8, 8, 4)
    assert np.asarray(Pillow.open(io.BytesIO(encode_png(dn)))).dtype == np.uint8


def test_equal_datasets_give_equal_bytes(exported, dataset, tmp_path):
    export(Path(shutil.copytree(dataset, tmp_path / "copy")), tmp_path / "again", WebDataset())
    names = {str(it.relative_to(exported)) for it in exported.rglob("*") if it.is_file()}
    assert names == {
        str(it.relative_to(tmp_path / "again")) for it in (tmp_path / "again").rglob("*") if it.is_file()
    }
    for name in names:
        assert (exported / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name


def test_a_shard_without_examples_has_no_tar(made, tmp_path):
    folder = Path(write_dataset(tmp_path / "set", {"training": [made["training"][0], []], "testing": [[]]}))
    assert export(folder, tmp_path / "out", WebDataset()).complete
    assert [it.name for it in (tmp_path / "out/data").iterdir()] == ["training-00000-of-00002.tar"]
    assert '"split": "test"' not in (tmp_path / "out/README.md").read_text()


def test_a_damaged_record_is_a_dead_letter_and_the_rest_is_written(dataset, tmp_path):
    copy = Path(shutil.copytree(dataset, tmp_path / "copy"))
    shard = copy / shard_name("training", 0, 2)
    content = bytearray(shard.read_bytes())
    content[-100] ^= 1
    shard.write_bytes(content)
    summary = export(copy, tmp_path / "out", WebDataset())
    assert not summary.complete
    assert summary.dead_letters == {"corrupt_shard": 1}
    with tarfile.open(tars(tmp_path / "out", "training")[0]) as tar:
        assert {it.partition(".")[0] for it in tar.getnames()} == {"1_2020", "1_2021", "2_2020"}


@pytest.mark.parametrize(
    ("file", "damage", "said"),
    [
        ("dataset.json", lambda text: text.replace('"splits"', '"split_s"'), "dataset.json"),
        *(
            (
                "spatial_cell_info.csv",
                lambda _, rows=rows: rows,
                r"spatial_cell_info\.csv, line 2: no row of a cell",
            )
            for rows in (
                "cell_id,MGRS_tile\n1,33TWN\n",
                f"{HEAD}\n1,33TWN,12,13,45,nan,training\n",
                f"{HEAD}\n1,33TWN,12,13,45,x,training\n",
                f"{HEAD}\n1,99ZZZ,12,13,45,46,training\n",
                f"{HEAD}\n1\n",
            )
        ),
    ],
)
def test_a_description_that_cannot_be_told_is_refused_before_launch(dataset, tmp_path, file, damage, said):
    copy = Path(shutil.copytree(dataset, tmp_path / "copy"))
    text = (copy / file).read_text() if (copy / file).exists() else ""
    source = open_source(DatasetFolder(Disk(), str(copy)), SPLITS)
    (copy / file).write_text(damage(text))
    with pytest.raises(InvalidInputError, match=said):
        WebDataset().check(source)


def test_names_of_tars():
    shard = Shard(name=shard_name("validation", 3, 12), examples=1, num_bytes=1, sha256="")
    assert tar_name(shard) == "data/validation-00003-of-00012.tar"
