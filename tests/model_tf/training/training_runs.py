"""Short runs of train.py on the made dataset, and how two of them compare.

    python -m tests.model_tf.training.training_runs FLAGS

is train.py with the small net; the environment's LOGICAL_CPUS splits the CPU into so many devices of TensorFlow.
"""

import csv
import os
import sys
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import tensorflow as tf

from model_tf import train
from model_tf.network.hrnet import HRNetBackbone, HRNetSegmenter
from model_tf.training import run as training

STEPS = 6
"""Steps of an epoch: 6 training cells, one pair a step."""

EPOCHS = 2


def build_small(width: str, num_categories: int, seed: int, dtype: Any, blocks: int = 1) -> keras.Model:
    """As `build_hrnet`, whatever the width: the same family, with as little in it as there can be."""
    del width
    sizes = {
        "branch_widths": (2, 4, 8),
        "stem_width": 2,
        "bottlenecks": 1,
        "modules": (1, 1),
        "blocks": blocks,
    }
    return HRNetSegmenter(HRNetBackbone(**sizes, seed=seed, dtype=dtype), num_categories)


def flags(data: str, output: Path, *more: str) -> list[str]:
    """A command line of two epochs of six steps, validated on 2 pairs."""
    return [
        *("--data", data, "--output", str(output), "--preset", "tiny"),
        *(
            "--epochs",
            str(EPOCHS),
            "--warmup_epochs",
            "0.5",
            "--pairs_per_batch",
            "1",
            "--validation_pairs",
            "2",
        ),
        *more,
    ]


def variables(checkpoint: Path) -> dict[str, np.ndarray]:
    """All that a .keras file holds, by path: weights, and of last.keras momenta and counts too."""
    found: dict[str, np.ndarray] = {}

    def visit(path: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            found[path] = item[()]

    with (
        zipfile.ZipFile(checkpoint) as archive,
        archive.open("model.weights.h5") as weights,
        h5py.File(weights) as file,
    ):
        file.visititems(visit)
    return found


def assert_equal_runs(one: Path, other: Path) -> None:
    """Asserts that two runs hold the same bits: weights, momenta, counts, and what is logged but for times."""
    for name in ("last.keras", "best.keras"):
        mine, theirs = variables(one / name), variables(other / name)
        assert mine.keys() == theirs.keys()
        for path, value in mine.items():
            np.testing.assert_array_equal(value, theirs[path], err_msg=f"{name}: {path}")
    for row, its_row in zip(read_log(one), read_log(other), strict=True):
        for column, text in row.items():
            # The mean loss of an epoch in pieces is added up in another order.
            if column == "loss":
                np.testing.assert_allclose(float(text), float(its_row[column]), rtol=1e-6)
            elif "seconds" not in column and column != "images_per_second":
                assert text == its_row[column], column


def read_log(run: Path) -> list[dict[str, str]]:
    with (run / "log.csv").open() as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    parts = [tf.config.LogicalDeviceConfiguration()] * int(os.environ.get("LOGICAL_CPUS", "1"))
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], parts)
    training.build_hrnet = build_small
    sys.exit(train.main())
