"""Copies datasets with changed or fewer examples, for experiments on what training needs."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf

from beam_pipeline.cells.cell import SPLITS, Split
from beam_pipeline.dataset.folder import description_json
from beam_pipeline.records.example_proto import Example
from beam_pipeline.runtime.keyed_hash import keyed_hash

_LABEL = "label"


def write_shuffled(source: Path, target: Path, seed: int) -> None:
    """Writes a copy in which there is nothing to be learnt from the images.

    Images stay with their cells; each cell gets the label of another one of its split.

    Args:
        source: The dataset.
        target: A new folder.
        seed: Of the order in which labels are handed on. No cell keeps its own.
    """
    given: dict[int, bytes] = {}
    for split in SPLITS:
        labels = {_cell(each): _label(each)[0] for each in _examples_of(source, split)}
        order = sorted(labels, key=lambda cell: keyed_hash(seed, "shuffled labels", cell))
        for cell, following in zip(order, [*order[1:], *order[:1]], strict=True):
            given[cell] = labels[following]

    def with_other_label(example: Any) -> bool:
        _label(example)[0] = given[_cell(example)]
        return True

    _write(source, target, SPLITS, with_other_label)


def write_fewer(source: Path, target: Path, share: float) -> int:
    """Writes a copy with a share of the training cells, drawn by a keyed hash: a smaller share is part of a larger.

    Band statistics stay those of all training cells.

    Args:
        source: The dataset.
        target: A new folder.
        share: Of the training cells, from 0 to 1.

    Returns:
        The number of training cells in the copy.
    """
    cells = {_cell(example) for example in _examples_of(source, "training")}
    order = sorted(cells, key=lambda cell: keyed_hash(0, "fewer cells", cell))
    kept = set(order[: round(share * len(order))])
    _write(source, target, ("training",), lambda example: _cell(example) in kept)
    return len(kept)


def _write(source: Path, target: Path, splits: tuple[Split, ...], change: Callable[[Any], bool]) -> None:
    """Writes a copy of which `change` has seen, and may have changed, each example of some splits; False drops it."""
    target.mkdir(parents=True)
    content = json.loads((source / "dataset.json").read_text())
    for shard in content["shards"]:
        name = shard["name"]
        if not any(_is_of(name, split) for split in splits):
            (target / name).hardlink_to(source / name)
            continue
        shard["examples"] = 0
        with tf.io.TFRecordWriter(str(target / name)) as writer:
            for example in _examples(source / name):
                if change(example):
                    writer.write(example.SerializeToString(deterministic=True))
                    shard["examples"] += 1
        data = (target / name).read_bytes()
        shard |= {"num_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    for split in splits:
        cells = [_cell(example) for example in _examples_of(target, split)]
        content["splits"][split] |= {"cells": len(set(cells)), "examples": len(cells)}
    (target / "dataset.json").write_text(description_json(content))
    shutil.copytree(source / "summaries", target / "summaries")


def _is_of(name: str, split: Split) -> bool:
    return f"-{split}.tfrecord-" in name


def _examples_of(folder: Path, split: Split) -> Iterator[Any]:
    for path in sorted(folder.glob(f"*-{split}.tfrecord-*")):
        yield from _examples(path)


def _examples(shard: Path) -> Iterator[Any]:
    for payload in tf.data.TFRecordDataset(str(shard)).as_numpy_iterator():
        yield Example.FromString(payload)


def _cell(example: Any) -> int:
    return int(example.features.feature["cell_id"].int64_list.value[0])


def _label(example: Any) -> Any:
    return example.features.feature[_LABEL].bytes_list.value
