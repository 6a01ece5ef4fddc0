"""Short runs of train.py on the made dataset, and how two of them compare.

    python -m tests.model_tf.training.training_runs FLAGS

is train.py with the small net and without pictures. In the environment, LOGICAL_CPUS splits the CPU into so many
devices of TensorFlow, and AWAIT_SIGNAL makes the run wait for SIGTERM once it has saved a step.
"""

import csv
import dataclasses
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from matplotlib.figure import Figure

from model_tf import train
from model_tf.network.hrnet import HRNetBackbone, HRNetSegmenter
from model_tf.network.losses import MaskedBinaryCrossentropy
from model_tf.network.schedules import WarmupCosine
from model_tf.training import run as training
from model_tf.training import run_log
from model_tf.training.settings import TrainSettings
from tests.model_tf.made_dataset import made_cell_years, write_dataset

ROOT = Path(__file__).resolve().parents[3]

STEPS = 6
"""Steps of an epoch: 6 training cells, one pair a step."""

EPOCHS = 2


def build_small(
    width: str,
    num_categories: int,
    seed: int = 0,
    dtype: Any = None,
    upsample_20m: bool = False,
    blocks: int = 0,
    bottlenecks: int = 0,
) -> keras.Model:
    """As `build_hrnet`, whatever the width: the same family, with as little in it as there can be."""
    del width
    backbone = HRNetBackbone(
        (2, 4, 8),
        stem_width=2,
        bottlenecks=bottlenecks,
        modules=(1, 1),
        blocks=blocks,
        upsample_20m=upsample_20m,
        seed=seed,
        dtype=dtype,
    )
    return HRNetSegmenter(backbone, num_categories)


def draw_nothing(*_: Any) -> Figure:
    """Stands for the figures, which take longer to draw than an epoch takes."""
    return Figure(figsize=(1, 1))


class SharedNets:
    """Makes small compiled nets, one for all runs of equal settings: most of a short run's time is its tracing.

    Every run gets the net as it was made. What a checkpoint does not bring back is missing, as in a process of its own.
    """

    def __init__(self, make_model: Callable[..., keras.Model]) -> None:
        self._make_model = make_model
        self._made: dict[tuple[Any, ...], tuple[keras.Model, list[np.ndarray]]] = {}

    def make_model(
        self,
        settings: TrainSettings,
        num_categories: int,
        schedule: WarmupCosine,
        loss: MaskedBinaryCrossentropy,
    ) -> keras.Model:
        """As `model_tf.training.run.make_model`."""
        key = (settings, num_categories, *schedule.get_config().values())
        if key not in self._made:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(training, "build_hrnet", build_small)
                model = self._make_model(settings, num_categories, schedule, loss)
            self._made[key] = model, [value_of(variable) for variable in _variables_of(model)]
        model, values = self._made[key]
        for variable, value in zip(_variables_of(model), values, strict=True):
            variable.assign(value)
        return model


def value_of(variable: keras.Variable) -> np.ndarray:
    """A copy of a variable's value."""
    return np.array(keras.ops.convert_to_numpy(variable))


def _variables_of(model: keras.Model) -> list[keras.Variable]:
    return [*model.variables, *model.optimizer.variables]


shared_nets = SharedNets(training.make_model)
"""The nets of this process."""


class SignalledRun(training.Run):
    """A run whose process gets SIGTERM once it has saved a step."""

    def is_stopped(self) -> bool:
        if self.state.step and not self.request.is_made:
            signal.raise_signal(signal.SIGTERM)
        return super().is_stopped()


class WaitingRun(training.Run):
    """A run that, once it has saved a step, waits for the signal that the test sends."""

    def is_stopped(self) -> bool:
        while self.state.step and not self.request.is_made:
            time.sleep(0.02)
        return super().is_stopped()


def write_masked(folder: Path, shares: list[float], channels: slice = slice(None)) -> str:
    """A dataset of a training cell for each share, of whose label so much is unknown, in some channels."""
    draw = np.random.default_rng(0)
    cell_years = []
    for cell_year, share in zip(made_cell_years(range(1, len(shares) + 1), [2020]), shares, strict=True):
        label = cell_year.label.copy()
        label[draw.random(label.shape[:2]) < share, channels] = 255
        cell_years.append(dataclasses.replace(cell_year, label=label))
    validation = made_cell_years([7], [2020], "validation")
    half = len(shares) // 2
    shards = [part for part in (cell_years[:half], cell_years[half:]) if part]
    return write_dataset(folder, {"training": shards, "validation": [validation]})


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


def start(argv: list[str], *, cpus: int = 1, **environment: str) -> subprocess.Popen[str]:
    """Begins a run in a process of its own, with so many logical CPUs."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.model_tf.training.training_runs", *argv],
        cwd=ROOT,
        env={**os.environ, "LOGICAL_CPUS": str(cpus), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def stop_when_saved(process: subprocess.Popen[str], output: Path) -> None:
    """Sends SIGTERM to a run that awaits it, once its first step is saved."""
    while not (output / "state.json").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)


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
    run_log.panel_figure = draw_nothing
    if os.environ.get("AWAIT_SIGNAL"):
        training.Run = WaitingRun
    sys.exit(train.main())
