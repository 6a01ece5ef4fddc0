"""Weights move between backends: a file written by one gives the same logits on the other."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]

SCRIPT = """
import sys
import keras
import numpy as np
from model_tf.hrnet import build_hrnet

# A file of a compiled net names the optimizer's class of the backend that wrote it: hence compile=False.
command, folder = sys.argv[1:]
x = dict(np.load(f"{folder}/x.npz"))
if command == "make":
    net = build_hrnet("tiny", 15)
    rng = np.random.default_rng(0)
    net.set_weights([weight + rng.normal(0, 0.1, weight.shape) for weight in net.get_weights()])
    net.save(f"{folder}/made.keras")
elif command == "read":
    net = keras.models.load_model(f"{folder}/made.keras", compile=False)
else:
    net = keras.models.load_model(f"{folder}/changed.keras", compile=False)
np.save(f"{folder}/{command}.npy", keras.ops.convert_to_numpy(net(x)))
if command == "read":
    # The way back: a step changes the weights.
    net.compile(optimizer=keras.optimizers.SGD(0.01), loss="mse", jit_compile=False)
    net.train_on_batch(x, np.zeros((2, 16, 24, 15), np.float32))
    np.save(f"{folder}/changed.npy", keras.ops.convert_to_numpy(net(x)))
    net.save(f"{folder}/changed.keras")
print(keras.backend.backend())
"""


def run(backend: str, command: str, folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, command, str(folder)],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [backend]


@pytest.mark.parametrize("other", ["jax", "torch"])
def test_weights_move_to_another_backend_and_back(other, tmp_path):
    if importlib.util.find_spec(other) is None:
        pytest.skip(f"{other} is not installed")
    rng = np.random.default_rng(1)
    np.savez(
        tmp_path / "x.npz",
        gsd_10=rng.standard_normal((2, 16, 24, 4), np.float32),
        gsd_20=rng.standard_normal((2, 8, 12, 6), np.float32),
    )
    run("tensorflow", "make", tmp_path)
    run(other, "read", tmp_path)
    run("tensorflow", "read_changed", tmp_path)
    made, read, changed, read_changed = (
        np.load(tmp_path / f"{name}.npy") for name in ("make", "read", "changed", "read_changed")
    )
    assert made.std() > 0.1
    np.testing.assert_allclose(read, made, atol=1e-4 * np.abs(made).max())
    assert np.abs(changed - read).max() > 1e-2 * made.std(), "the step must have changed something"
    np.testing.assert_allclose(read_changed, changed, atol=1e-4 * np.abs(changed).max())
