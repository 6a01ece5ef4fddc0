"""Training and scoring with everything in a folder of an odd name, given as a person beside it would give it."""

import json
import shutil
from pathlib import Path

import pytest

from model_tf.data.batches import make_dataset
from model_tf.data.info import load_info
from model_tf.evaluate import main as evaluate
from model_tf.evaluation.flags import parse_evaluate_flags
from model_tf.evaluation.trained_net import load_net
from model_tf.train import main as train
from model_tf.training import run as training
from model_tf.training.run_folder import read_run
from tests.model_tf.evaluation.test_evaluate import FILES, write_run
from tests.model_tf.training.training_runs import flags, read_log, shared_nets
from tests.odd_names import ODD


@pytest.fixture
def data(dataset_folder, tmp_path, monkeypatch) -> str:
    """A dataset in the odd folder, relative to the current one."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(dataset_folder, f"{ODD}/{ODD}")
    return f"{ODD}/{ODD}"


@pytest.mark.slow
def test_a_run_is_trained_and_goes_on(data, monkeypatch) -> None:
    monkeypatch.setattr(training, "make_model", shared_nets.make_model)
    run = Path(ODD, f"{ODD} run")
    argv = [
        f"--data={data}",
        f"--output={run}/",
        *flags("", Path(), "--epochs", "1", "--save_every", "3")[4:],
    ]
    assert train(argv) == 0
    assert [row["epoch"] for row in read_log(run)] == ["1"]
    assert {path.name for path in run.iterdir()} >= {
        "settings.json",
        "last.keras",
        "best.keras",
        "tensorboard",
    }
    assert train(argv) == 0
    assert sorted(path.name for path in Path(ODD).iterdir()) == sorted([ODD, f"{ODD} run"])


def test_data_runs_and_checkpoints_are_found(data) -> None:
    run = write_run(Path(ODD, "run"), data)
    (run / "best.keras").rename(run / f"{ODD}.keras")
    command = parse_evaluate_flags([f"--run={run}", f"--data={data}", f"--checkpoint={run}/{ODD}.keras"], "")
    described = read_run(command.run)
    assert load_net(command.run, described, command.checkpoint).path == command.checkpoint
    info = load_info(command.data)
    batches = make_dataset(info, "testing", pairs_per_batch=1, statistics=described.statistics)
    assert len(list(batches)) == info.examples["testing"] > 0


@pytest.mark.slow
def test_a_run_is_scored(data) -> None:
    run = write_run(Path(ODD, "run"), data)
    output = Path(ODD, f"{ODD} scores")
    assert evaluate([f"--run={run}", f"--data={data}", f"--output={output}"]) == 0
    assert {path.name for path in output.iterdir()} == FILES
    assert json.loads((output / "scores.json").read_text())["settings"]["output"] == str(output)
