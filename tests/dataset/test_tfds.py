import dataclasses
import json

import numpy as np
import pytest

from beam_pipeline.dataset.commits import commit_unit
from beam_pipeline.dataset.folder import DatasetFolder
from beam_pipeline.dataset.summary import summarise
from beam_pipeline.dataset.tfds import dataset_info_json, features_json
from beam_pipeline.dataset.units import Unit
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.records.example import decode, encode
from beam_pipeline.records.schema import FEATURES, SCHEMA_VERSION
from beam_pipeline.records.shards import read_shard, shard_name
from tests.records.builders import make_assembled, make_cell, make_cell_year

TRAINING = [shard_name("training", index, 4) for index in range(4)]


def commit(output, name, split, cell_years):
    unit = Unit(name, split, "56HLH", (make_cell(1),))
    summary = summarise(make_assembled(unit, 1, cell_years))
    return commit_unit(DatasetFolder(BeamFiles(), output), name, map(encode, cell_years), summary)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """A training split with an empty and a missing shard, no example for validation, one for testing."""
    output = str(tmp_path_factory.mktemp("dataset"))
    training = [make_cell_year(seed, num_images=2 - seed % 2, cell_id=seed) for seed in range(3)]
    testing = [make_cell_year(9, cell_id=9, split="testing")]
    summaries = [
        commit(output, TRAINING[0], "training", training[:2]),
        commit(output, TRAINING[1], "training", []),
        commit(output, TRAINING[3], "training", training[2:]),
        commit(output, shard_name("validation", 0, 1), "validation", []),
        commit(output, shard_name("testing", 0, 1), "testing", testing),
    ]
    BeamFiles().write_text(
        f"{output}/dataset_info.json", dataset_info_json(reversed(summaries), [2020], SCHEMA_VERSION)
    )
    BeamFiles().write_text(f"{output}/features.json", features_json())
    return output, {"training": training, "testing": testing}


def test_tfds_loads_every_example(dataset):
    import tensorflow_datasets as tfds

    output, splits = dataset
    builder = tfds.builder_from_directory(output)
    assert {name: split.num_examples for name, split in builder.info.splits.items()} == {
        "training": 3,
        "testing": 1,
    }
    for split, expected in splits.items():
        read_config = tfds.ReadConfig(interleave_cycle_length=1)
        rows = list(tfds.as_numpy(builder.as_dataset(split=split, read_config=read_config)))
        assert [row["cell_id"] for row in rows] == [example.cell.cell_id for example in expected]
        for row, example in zip(rows, expected, strict=True):
            np.testing.assert_array_equal(row["label"], example.label)
            assert row["num_images"] == len(example.images)
            assert float(row["min_lon"]) == example.cell.min_lon
            for slot, image in enumerate(example.images):
                stored = row[f"image_{slot}"]
                np.testing.assert_array_equal(stored["gsd_10"], image.gsd_10)
                np.testing.assert_array_equal(stored["gsd_20"].reshape(96, 96, 6), image.gsd_20)
                np.testing.assert_array_equal(stored["gsd_60"].reshape(32, 32, 2), image.gsd_60)
                np.testing.assert_array_equal(stored["scl"][..., 0], image.scl)
                assert stored["item_id"].decode() == image.item_id
                assert stored["boa_add_offset"] == image.boa_add_offset
            if len(example.images) == 1:
                assert not row["image_1"]["gsd_10"].any()


def test_the_features_are_those_that_tfds_would_write():
    import tensorflow_datasets as tfds

    make = {
        "png": lambda spec: tfds.features.Image(
            shape=spec.png_shape, dtype=np.dtype(spec.dtype), encoding_format="png", doc=doc(spec)
        ),
        "text": lambda spec: tfds.features.Text(doc=doc(spec)),
        "int64": lambda spec: tfds.features.Scalar(np.int64, doc=doc(spec)),
        "float32": lambda spec: tfds.features.Scalar(np.float32, doc=doc(spec)),
    }

    def doc(spec):
        return spec.meaning + (f" [{spec.unit}]" if spec.unit else "")

    groups = {"": {}, "image_0": {}, "image_1": {}}
    for spec in FEATURES.values():
        group, _, name = spec.name.rpartition("/")
        groups[group][name] = make[spec.kind](spec)
    features = tfds.features.FeaturesDict({**groups.pop(""), **groups})
    assert json.loads(features_json()) == features.to_json()


def test_shards_are_whole_for_our_reader_too(dataset):
    output, splits = dataset
    payloads = [
        payload
        for name in (TRAINING[0], TRAINING[3])
        for payload in read_shard(BeamFiles(), f"{output}/{name}")
    ]
    assert list(map(decode, payloads)) == splits["training"]


def test_no_example_at_all_gives_no_split(dataset):
    unit = Unit(TRAINING[0], "training", "56HLH", (make_cell(1),))
    empty = summarise(make_assembled(unit))
    failed = dataclasses.replace(summarise(make_assembled(unit, 1, (make_cell_year(),))), status="failed")
    for summaries in ([], [empty], [failed]):
        assert json.loads(dataset_info_json(summaries, [2020], SCHEMA_VERSION))["splits"] == []
