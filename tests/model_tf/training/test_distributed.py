"""A batch spread over devices gives the step of the whole batch, whatever the parts know of their labels.

All six training cells are one batch, so that every way of dealing them to hosts and replicas has the same cells in
its one step an epoch. They know very different shares of their labels, and so do the replicas.
"""

import contextlib
import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from beam_pipeline.runtime.faults import InvalidInputError
from model_tf.data.info import load_info
from model_tf.train import main
from model_tf.training import run as training
from model_tf.training import run_log
from model_tf.training.callbacks import LossBooks
from model_tf.training.devices import Devices
from model_tf.training.distributed import TensorFlowDevices, make_devices
from model_tf.training.flags import parse_flags
from model_tf.training.settings import TrainSettings
from model_tf.training.stopping import EXIT_STOPPED
from tests.model_tf.training.training_runs import (
    build_small,
    draw_nothing,
    flags,
    read_log,
    start,
    stop_when_saved,
    variables,
    write_masked,
)

pytestmark = pytest.mark.timeout(3600)  # a run that hangs ends some day; no loaded machine is as slow

WHOLE = ("--pairs_per_batch", "6", "--validation_pairs", "6")


@pytest.fixture(scope="module")
def masked(tmp_path_factory) -> str:
    """Six training cells that know very different shares of their pixels; one knows nothing. Read only."""
    return write_masked(tmp_path_factory.mktemp("masked") / "set", [0.0, 0.97, 0.5, 1.0, 0.1, 0.9])


@pytest.fixture(scope="module")
def alone(masked, tmp_path_factory) -> Path:
    """Trained by one device."""
    output = tmp_path_factory.mktemp("alone") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "build_hrnet", build_small)
        patch.setattr(run_log, "panel_figure", draw_nothing)
        assert main(flags(masked, output, *WHOLE)) == 0
    return output


def assert_close_runs(one: Path, other: Path) -> None:
    """The same but for the order of additions."""
    mine, theirs = variables(one / "last.keras"), variables(other / "last.keras")
    assert mine.keys() == theirs.keys()
    for path, value in mine.items():
        np.testing.assert_allclose(theirs[path], value, rtol=1e-3, atol=1e-6, err_msg=path)
    for row, its_row in zip(read_log(one), read_log(other), strict=True):
        for column in ("step", "learning_rate", "loss", "validation_loss", "validation_auc"):
            assert float(its_row[column]) == pytest.approx(float(row[column]), rel=1e-3), column


@pytest.mark.slow
def test_mirrored_replicas_train_as_one_device(alone, masked, tmp_path) -> None:
    output = tmp_path / "mirrored"
    process = start(flags(masked, output, *WHOLE, "--strategy", "mirrored"), cpus=2)
    said, _ = process.communicate()
    assert process.returncode == 0, said
    assert_close_runs(alone, output)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def two_workers(argv: list[str], awaits: int | None = None) -> Iterator[list[subprocess.Popen[str]]]:
    """Two processes on this machine that train one net; one of them may await SIGTERM once a step is saved."""
    addresses = [f"localhost:{free_port()}" for _ in range(2)]
    processes = [
        start(
            [*argv, "--strategy", "multi-worker"],
            TF_CONFIG=json.dumps(
                {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
            ),
            AWAIT_SIGNAL="1" if index == awaits else "",
        )
        for index in range(2)
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()


@pytest.mark.slow
def test_two_workers_train_as_one_device_and_stop_together(alone, masked, tmp_path) -> None:
    output = tmp_path / "workers"
    argv = flags(masked, output, *WHOLE)
    with two_workers(argv, awaits=1) as workers:
        # One is told; both stop in the same step.
        stop_when_saved(workers[1], output)
        said = [worker.communicate()[0] for worker in workers]
        assert [worker.returncode for worker in workers] == [EXIT_STOPPED] * 2, said
    assert json.loads((output / "state.json").read_text())["step"] == 1
    with two_workers(argv) as workers:
        said = [worker.communicate()[0] for worker in workers]
        assert [worker.returncode for worker in workers] == [0, 0], said
    assert_close_runs(alone, output)


@pytest.mark.backends
def test_jax_trains_on_all_devices_as_on_one(alone, masked, tmp_path) -> None:
    outputs = {}
    for strategy, count in (("none", 1), ("data-parallel", 2)):
        outputs[strategy] = tmp_path / strategy
        more = ["--backend", "jax", "--strategy", strategy]
        process = start(
            flags(masked, outputs[strategy], *WHOLE, *more),
            XLA_FLAGS=f"--xla_force_host_platform_device_count={count}",
            KERAS_BACKEND="jax",
        )
        said, _ = process.communicate()
        assert process.returncode == 0, said
    assert_close_runs(*outputs.values())
    # The same seed draws other first weights on another backend, so it is the losses that are near.
    for row, its_row in zip(read_log(alone), read_log(outputs["none"]), strict=True):
        assert float(its_row["loss"]) == pytest.approx(float(row["loss"]), rel=0.1)


@pytest.mark.backends
def test_jax_goes_on_bit_for_bit(dataset_folder, tmp_path) -> None:
    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    process = start(flags(dataset_folder, whole, "--backend", "jax"), KERAS_BACKEND="jax")
    assert process.wait() == 0
    process = start(
        flags(dataset_folder, pieces, "--backend", "jax", "--save_every", "1"),
        KERAS_BACKEND="jax",
        AWAIT_SIGNAL="1",
    )
    stop_when_saved(process, pieces)
    assert process.wait() == EXIT_STOPPED
    process = start(flags(dataset_folder, pieces, "--backend", "jax"), KERAS_BACKEND="jax")
    assert process.wait() == 0
    mine, theirs = variables(whole / "last.keras"), variables(pieces / "last.keras")
    for path, value in mine.items():
        np.testing.assert_array_equal(value, theirs[path], err_msg=path)


def test_a_batch_that_replicas_cannot_share_is_refused(monkeypatch) -> None:
    monkeypatch.setattr(Devices, "replicas", 4)
    with pytest.raises(InvalidInputError, match="must be a multiple of the 4 devices"):
        make_devices(TrainSettings(pairs_per_batch=6))


def test_no_tpu_is_said() -> None:
    with pytest.raises(InvalidInputError, match="--strategy tpu found no TPU"):
        make_devices(TrainSettings(strategy="tpu"), tpu="")


def test_a_strategy_of_one_replica_takes_the_steps_of_fit(dataset_folder) -> None:
    """The loop of `tf.distribute` against Keras' own, on the same batches."""
    info = load_info(dataset_folder)
    settings = parse_flags(flags(dataset_folder, Path("unused")), "").settings
    weights, losses = [], []
    for devices in (Devices(), TensorFlowDevices(tf.distribute.OneDeviceStrategy("CPU:0"))):
        with devices.scope():
            schedule = training.make_schedule(settings, 6)
            loss = training.MaskedBinaryCrossentropy(info.categories, {"road": 3.0})
            model = build_small("tiny", len(info.categories), 0, "float32")
            model.compile(keras.optimizers.SGD(schedule, momentum=0.9), loss)
            model.optimizer.build(model.trainable_variables)
        books = LossBooks(0.0, 0.0, lambda step, loss: AssertionError((step, loss)))
        devices.fit(
            model,
            lambda hosts, host: training.make_dataset(
                info,
                "training",
                pairs_per_batch=1,
                statistics=info.statistics,
                epoch=0,
                hosts=hosts,
                host=host,
            ),
            pairs_per_batch=1,
            steps=4,
            callbacks=[books],
        )
        losses.append((books.total, books.known))
        weights.append(model.get_weights())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)
