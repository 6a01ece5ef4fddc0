"""Weights move between backends: a file written by one gives the same logits on the other."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.model_tf.training.training_runs import build_small

ROOT = Path(__file__).resolve().parents[3]

SCRIPT = """
import sys
import keras
import model_tf.network.hrnet
import numpy as np

folder = sys.argv[1]
x = dict(np.load(f"{folder}/x.npz"))
net = keras.models.load_model(f"{folder}/made.keras")
np.save(f"{folder}/read.npy", net.predict_on_batch(x))
# The way back, with other weights.
net.set_weights([1.1 * weight + 0.01 for weight in net.get_weights()])
np.save(f"{folder}/changed.npy", net.predict_on_batch(x))
net.save(f"{folder}/changed.keras")
print(keras.backend.backend())
"""


@pytest.mark.backends
@pytest.mark.parametrize("other", ["jax", "torch"])
def test_weights_move_to_another_backend_and_back(other, tmp_path):
    assert keras.backend.backend() == "tensorflow", "the suite runs on the default backend"
    if importlib.util.find_spec(other) is None:
        pytest.skip(f"{other} is not installed")
    rng = np.random.default_rng(1)
    x = {
        "gsd_10": rng.standard_normal((2, 16, 24, 4), np.float32),
        "gsd_20": rng.standard_normal((2, 8, 12, 6), np.float32),
    }
    np.savez(tmp_path / "x.npz", **x)
    net = build_small("tiny", 15, blocks=1, bottlenecks=1)
    net.set_weights([weight + rng.normal(0, 0.1, weight.shape) for weight in net.get_weights()])
    net.save(tmp_path / "made.keras")
    made = net(x).numpy()

    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": other, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [other]

    read, changed = (np.load(tmp_path / f"{name}.npy") for name in ("read", "changed"))
    read_changed = keras.models.load_model(tmp_path / "changed.keras")(x).numpy()
    assert made.std() > 0.1
    np.testing.assert_allclose(read, made, atol=1e-4 * np.abs(made).max())
    assert np.abs(changed - read).max() > 1e-2 * made.std(), "the weights must have changed something"
    np.testing.assert_allclose(read_changed, changed, atol=1e-4 * np.abs(changed).max())
