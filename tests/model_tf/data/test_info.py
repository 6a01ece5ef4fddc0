import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from beam_pipeline.runtime.faults import InvalidInputError
from model_tf.data.info import load_info
from tests.model_tf.made_dataset import made_cell_years, write_dataset

FIRST_VERSION = Path(__file__).parents[2] / "dataset" / "old_folder" / "set"
FIRST_SHARD = "opensentinelmap-training.tfrecord-00000-of-00004"


@pytest.fixture
def broken(dataset_folder, tmp_path):
    """Gives a copy of the dataset of which a part of dataset.json is changed."""

    def change(*path_and_value):
        *path, value = path_and_value
        folder = shutil.copytree(dataset_folder, tmp_path / "set", dirs_exist_ok=True)
        content = json.loads((folder / "dataset.json").read_text())
        parent = content
        for key in path[:-1]:
            parent = parent[key]
        if value is ...:
            del parent[path[-1]]
        else:
            parent[path[-1]] = value
        (folder / "dataset.json").write_text(json.dumps(content))
        return str(folder)

    return change


def test_says_what_there_is(dataset_folder, cell_years):
    info = load_info(dataset_folder)
    assert info.folder == dataset_folder
    assert len(info.categories) == 15
    assert info.examples == {"training": 12, "validation": 8, "testing": 4}
    assert info.cells == {"training": 6, "validation": 4, "testing": 2}
    assert info.shard_examples["training"] == (6, 0, 4, 2)
    assert info.shard_cells == {"training": (3, 0, 2, 1), "validation": (3, 1), "testing": (2,)}
    assert info.shards["training"] == tuple(
        f"{dataset_folder}/opensentinelmap-training.tfrecord-0000{index}-of-00004" for index in range(4)
    )
    for split in cell_years:
        info.require_examples(split)


def test_a_folder_of_the_first_version_is_read():
    """Its summaries say nothing of single cells."""
    info = load_info(str(FIRST_VERSION))
    assert info.examples == {"training": 0, "validation": 0, "testing": 2}
    assert info.shard_cells["testing"] == (2, 0)
    assert info.cells["testing"] == 2


def test_statistics_are_those_of_the_training_images(dataset_folder, cell_years):
    statistics = load_info(dataset_folder).statistics
    images = [image for shard in cell_years["training"] for it in shard for image in it.images]
    bands = {"gsd_10": "B02 B03 B04 B08", "gsd_20": "B05 B06 B07 B8A B11 B12"}
    assert list(statistics.mean) == [band for names in bands.values() for band in names.split()]
    for grid, names in bands.items():
        pixels = np.stack(
            [(getattr(image, grid).astype(float) + image.boa_add_offset) / 10_000 for image in images]
        )
        for index, band in enumerate(names.split()):
            assert statistics.mean[band] == pytest.approx(pixels[..., index].mean(), rel=1e-12)
            assert statistics.variance[band] == pytest.approx(pixels[..., index].var(), rel=1e-9)
    assert list(statistics.to_json()["B02"]) == ["mean", "variance"]


def test_fingerprint_follows_the_content(dataset_folder, tmp_path):
    same = shutil.copytree(dataset_folder, tmp_path / "same")
    other = write_dataset(tmp_path / "other", {"training": [made_cell_years([1], [2020])]})
    prints = [load_info(str(folder)).fingerprint for folder in (dataset_folder, same, other)]
    assert prints[0] == prints[1] != prints[2]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("schema_version", "2.0.0"), r"schema_version must be 1\.x\.x.*Received: '2\.0\.0'.*Build"),
        (("schema_version", ...), r"schema_version: Field required\. Copy it again"),
        (("shards", []), r"shards must list.*Received: \[\].*go on with the same build command"),
        (("shards", 1, "examples", ...), r"shards\[1\]\.examples: Field required\. Copy it again"),
        (("splits", "training", "cells", None), r"splits\.training\.cells: Input should be .*Received: None"),
    ],
)
def test_bad_description_is_refused(broken, change, said):
    folder = broken(*change)
    with pytest.raises(InvalidInputError, match=rf"set/dataset\.json: {said}"):
        load_info(folder)


def test_a_newer_minor_version_is_read(broken):
    assert load_info(broken("schema_version", "1.7.3")).examples["training"] == 12


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("bands", "B03", "mean", None), r"bands\.B03\.mean must be a number\. Received: None.*training"),
        (("bands", "B11", ...), r"bands\.B11\.mean must be a number\. Received: None"),
        (
            ("bands", "B8A", "variance", 0.0),
            r"bands\.B8A\.variance must be a number above 0\. Received: 0\.0",
        ),
        (
            ("bands", "B8A", "variance", float("nan")),
            r"bands\.B8A\.variance must be a number above 0\. Received: nan",
        ),
    ],
)
def test_missing_statistics_are_refused_when_asked_for(broken, change, said):
    info = load_info(broken(*change))  # a run brings statistics of its own
    with pytest.raises(InvalidInputError, match=rf"set/dataset\.json: {said}"):
        _ = info.statistics


def test_statistics_of_gsd_60_are_not_needed(broken):
    assert "B01" not in load_info(broken("bands", "B01", ...)).statistics.mean


def test_folder_without_a_dataset(tmp_path):
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(
            InvalidInputError, match=rf"no {folder}/dataset\.json.*build_dataset.*Received: {folder}"
        ):
            load_info(str(folder))
    (tmp_path / "dataset.json").write_text('{"name": ')
    for content in (b'{"name": ', b"\xff\xfe"):
        (tmp_path / "dataset.json").write_bytes(content)
        with pytest.raises(InvalidInputError, match=r"dataset\.json: Invalid JSON: .*\. Copy it again"):
            load_info(str(tmp_path))


def test_a_folder_that_cannot_be_read(monkeypatch):
    def refuse(path, mode):
        raise tf.errors.PermissionDeniedError(None, None, "no credentials")

    monkeypatch.setattr(tf.io.gfile, "GFile", refuse)
    with pytest.raises(InvalidInputError, match=r"cannot read gs://b/set/dataset\.json: no credentials"):
        load_info("gs://b/set")


def test_missing_or_cut_off_shards(dataset_folder, tmp_path):
    folder = shutil.copytree(dataset_folder, tmp_path / "set")
    shard = Path(folder, FIRST_SHARD)
    size = shard.stat().st_size
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(
        InvalidInputError, match=rf"{FIRST_SHARD} must be there with {size} bytes.*{size - 1} bytes"
    ):
        load_info(str(folder))
    shard.unlink()
    with pytest.raises(InvalidInputError, match=rf"{FIRST_SHARD} must be.*no such file; 1 of 7 shards.*Copy"):
        load_info(str(folder))


def test_a_summary_that_does_not_count_cells_is_refused(dataset_folder, tmp_path):
    folder = shutil.copytree(dataset_folder, tmp_path / "set")
    (folder / "summaries" / f"{FIRST_SHARD}.summary.json").write_text("{}")
    with pytest.raises(
        InvalidInputError, match=rf"{FIRST_SHARD}\.summary\.json: cells_with_examples: Field req"
    ):
        _ = load_info(str(folder)).shard_cells


def test_split_without_examples(tmp_path):
    info = load_info(
        write_dataset(tmp_path / "set", {"training": [made_cell_years([1], [2020])], "validation": [[]]})
    )
    info.require_examples("training")
    for split in ("validation", "testing"):
        with pytest.raises(
            InvalidInputError, match=rf"splits\.{split}\.examples must be above 0.*training 1, val"
        ):
            info.require_examples(split)
    with pytest.raises(InvalidInputError, match="Received: 'train'"):
        info.require_examples("train")
