"""Copies a dataset with its labels dealt to other cells: there is nothing in it to be learnt from the images."""

import hashlib
import json
import shutil
from pathlib import Path

import tensorflow as tf

from beam_pipeline.cells.cell import SPLITS
from beam_pipeline.dataset.folder import description_json
from beam_pipeline.records.example_proto import Example
from beam_pipeline.runtime.keyed_hash import keyed_hash

_LABEL = "label"


def write_shuffled(source: Path, target: Path, seed: int) -> None:
    """Writes the copy. Images stay with their cells; each cell gets the label of another one of its split.

    Args:
        source: The dataset.
        target: A new folder.
        seed: Of the order in which labels are handed on. No cell keeps its own.
    """
    target.mkdir(parents=True)
    content = json.loads((source / "dataset.json").read_text())
    for split in SPLITS:
        names = [shard["name"] for shard in content["shards"] if f"-{split}.tfrecord-" in shard["name"]]
        labels = _labels(source, names)
        order = sorted(labels, key=lambda cell: keyed_hash(seed, "shuffled labels", cell))
        given = {
            cell: labels[following] for cell, following in zip(order, [*order[1:], *order[:1]], strict=True)
        }
        for name in names:
            with tf.io.TFRecordWriter(str(target / name)) as shard:
                for example in _examples(source / name):
                    feature = example.features.feature
                    feature[_LABEL].bytes_list.value[0] = given[feature["cell_id"].int64_list.value[0]]
                    shard.write(example.SerializeToString(deterministic=True))
    for shard in content["shards"]:
        data = (target / shard["name"]).read_bytes()
        shard |= {"num_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (target / "dataset.json").write_text(description_json(content))
    shutil.copytree(source / "summaries", target / "summaries")


def _labels(source: Path, names: list[str]) -> dict[int, bytes]:
    """The label of each cell, which is the same in all its years."""
    features = (example.features.feature for name in names for example in _examples(source / name))
    return {each["cell_id"].int64_list.value[0]: each[_LABEL].bytes_list.value[0] for each in features}


def _examples(shard: Path):
    for payload in tf.data.TFRecordDataset(str(shard)).as_numpy_iterator():
        yield Example.FromString(payload)
