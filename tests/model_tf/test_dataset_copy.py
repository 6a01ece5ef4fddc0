"""Copies of datasets: with shuffled labels, on which nothing may be learnt, and with fewer training cells."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import tensorflow as tf

from beam_pipeline.records.example import decode
from model_tf.data.batches import make_dataset
from model_tf.data.info import load_info
from tests.benchmarks.dataset_copy import write_fewer, write_shuffled
from tests.model_tf.made_dataset import made_cell_years, write_dataset


def read(folder: Path, split: str) -> list:
    paths = load_info(str(folder)).shards[split]
    return [
        decode(payload) for path in paths for payload in tf.data.TFRecordDataset(path).as_numpy_iterator()
    ]


def test_labels_go_to_other_cells_of_the_split_and_images_stay(tmp_path) -> None:
    years = (2019, 2020)
    shards = {
        "training": [made_cell_years((1, 2, 3), years), made_cell_years((4, 5), years)],
        "validation": [made_cell_years((7, 8), years, "validation")],
        "testing": [made_cell_years((9, 10, 11), years, "testing")],
    }
    source = Path(write_dataset(tmp_path / "set", shards))
    for seed in (0, 1):
        write_shuffled(source, tmp_path / f"shuffled_{seed}", seed)
    copy = tmp_path / "shuffled_0"
    for split in shards:
        before, after = read(source, split), read(copy, split)
        labels = {it.label.tobytes(): it.cell.cell_id for it in before}
        takes = {}
        for old, new in zip(before, after, strict=True):
            assert (old.cell, old.year) == (new.cell, new.year)
            for image, its_image in zip(old.images, new.images, strict=True):
                np.testing.assert_array_equal(image.gsd_10, its_image.gsd_10)
            takes.setdefault(new.cell.cell_id, set()).add(labels[new.label.tobytes()])
        assert all(len(given) == 1 for given in takes.values())
        taken = {cell: given.pop() for cell, given in takes.items()}
        assert sorted(taken) == sorted(taken.values())
        assert all(cell != given for cell, given in taken.items())
    assert load_info(str(copy)).fingerprint != load_info(str(source)).fingerprint
    other = json.loads((tmp_path / "shuffled_1" / "dataset.json").read_text())
    assert other["shards"] != json.loads((copy / "dataset.json").read_text())["shards"]


def test_fewer_cells_are_whole_and_a_part_of_more(tmp_path, dataset_folder) -> None:
    source = Path(dataset_folder)
    cells = {}
    for share in (0.25, 0.5, 1.0):
        copy = tmp_path / f"{share}"
        count = write_fewer(source, copy, share)
        of_cells = Counter(it.cell.cell_id for it in read(copy, "training"))
        cells[share] = set(of_cells)
        whole = Counter(it.cell.cell_id for it in read(source, "training"))
        assert all(of_cells[cell] == whole[cell] for cell in of_cells)
        info = load_info(str(copy))
        assert len(of_cells) == count == info.cells["training"] == round(share * len(whole))
        assert info.examples["training"] == of_cells.total()
        assert info.shards["testing"] == tuple(
            str(copy / Path(path).name) for path in load_info(dataset_folder).shards["testing"]
        )
        batches = make_dataset(info, "training", pairs_per_batch=1, statistics=info.statistics, epoch=0)
        assert len(list(batches.as_numpy_iterator())) == count
    assert cells[0.25] < cells[0.5] < cells[1.0]


def test_the_copy_can_be_trained_on(tmp_path, dataset_folder) -> None:
    write_shuffled(Path(dataset_folder), tmp_path / "copy", 0)
    info = load_info(str(tmp_path / "copy"))
    batches = make_dataset(info, "training", pairs_per_batch=6, statistics=info.statistics, epoch=0)
    x, y = next(batches.as_numpy_iterator())
    assert x["gsd_10"].shape[0] == y.shape[0] == 12
