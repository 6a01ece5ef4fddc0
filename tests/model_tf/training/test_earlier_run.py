"""A run that an earlier version trained is still read, evaluated and gone on with.

`earlier_run.tar.xz` was written by commit 809ba7d: a run of two epochs on the made dataset, its net patched to be
`build_small(blocks=1, bottlenecks=1)`, and what its two checkpoints answered to a drawn input.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from model_tf.evaluation import trained_net
from model_tf.evaluation.trained_net import load_net
from model_tf.network.hrnet import Architecture
from model_tf.network.losses import MaskedBinaryCrossentropy
from model_tf.training import run as training
from model_tf.training.checkpoints import TrainState, load_last
from model_tf.training.flags import parse_flags
from model_tf.training.run_folder import read_run
from tests.model_tf.training.training_runs import EPOCHS, STEPS, build_small, flags

SIZES = Architecture((2, 4, 8), stem_width=2, bottlenecks=1, modules=(1, 1), blocks=1)


LATER = {"upsample_20m": False, "single_images": False}
"""Settings that came later, and what earlier runs did."""


def build_earlier(
    width: str, num_categories: int, seed: int = 0, dtype: object = None, upsample_20m: bool = False
):
    sizes = {"blocks": SIZES.blocks, "bottlenecks": SIZES.bottlenecks}
    return build_small(width, num_categories, seed, dtype, upsample_20m, **sizes)


@pytest.fixture(scope="module")
def earlier(tmp_path_factory) -> Path:
    """Read only."""
    folder = tmp_path_factory.mktemp("earlier")
    shutil.unpack_archive(Path(__file__).with_name("earlier_run.tar.xz"), folder)
    return folder


def test_its_settings_are_read_and_mean_the_same(earlier) -> None:
    run = read_run(str(earlier))
    assert run.settings == parse_flags(flags("set", Path("run")), "").settings
    written = json.loads((earlier / "settings.json").read_text())
    written["settings"] |= LATER
    assert run.to_json() == written


@pytest.mark.parametrize("checkpoint", ["best", "last"])
def test_its_nets_answer_as_they_did(earlier, monkeypatch, checkpoint) -> None:
    monkeypatch.setattr(trained_net, "WIDTHS", {"tiny": SIZES})
    monkeypatch.setattr(trained_net, "build_hrnet", build_earlier)
    net = load_net(str(earlier), read_run(str(earlier)), checkpoint)
    with np.load(earlier / "logits.npz") as kept:
        logits = net.model({name: kept[name] for name in ("gsd_10", "gsd_20")})
        assert kept[checkpoint].std() > 0.01
        np.testing.assert_allclose(logits, kept[checkpoint], rtol=1e-4, atol=1e-6)


def test_training_goes_on_from_its_checkpoint(earlier, monkeypatch) -> None:
    monkeypatch.setattr(training, "build_hrnet", build_earlier)
    run = read_run(str(earlier))
    schedule = training.make_schedule(run.settings, STEPS)
    loss = MaskedBinaryCrossentropy(run.categories)
    model = training.make_model(run.settings, len(run.categories), schedule, loss)
    state = load_last(model, str(earlier))
    assert isinstance(state, TrainState)
    assert (state.step, state.epochs, state.best_epoch) == (STEPS * EPOCHS, EPOCHS, 2)
    momenta = [np.asarray(variable) for variable in model.optimizer.variables[2:]]
    assert all(np.isfinite(momentum).all() for momentum in momenta)
    assert np.mean([np.any(momentum != 0) for momentum in momenta]) > 0.9
