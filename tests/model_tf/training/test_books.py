"""The books of a training: the loss that is logged is the sum over the sum of what is known, in whatever batches.

The rate is next to nothing, so the first weights answer in every step, and numpy can work the whole epoch out.
"""

import dataclasses
import json
import shutil
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from model_tf.data.batches import make_dataset
from model_tf.data.info import load_info
from model_tf.train import main
from model_tf.training import run as training
from model_tf.training import run_log
from model_tf.training.flags import parse_flags
from model_tf.training.stopping import EXIT_STOPPED
from tests.model_tf.made_dataset import made_cell_years, write_dataset
from tests.model_tf.training.training_runs import (
    SignalledRun,
    build_small,
    draw_nothing,
    flags,
    read_log,
    shared_nets,
    write_masked,
)

pytestmark = pytest.mark.timeout(3600)

STILL = (
    *("--epochs", "1", "--warmup_epochs", "0", "--peak_rate", "1e-30", "--final_rate", "1e-30"),
    *("--no-augment", "--validation_pairs", "1"),
)
"""One epoch in which the weights stay."""


@pytest.fixture(autouse=True)
def small_net(monkeypatch) -> None:
    monkeypatch.setattr(training, "make_model", shared_nets.make_model)
    monkeypatch.setattr(run_log, "panel_figure", draw_nothing)


def cells_of_batches(data: str, argv: list[str]) -> list[tuple[np.ndarray, np.ndarray]]:
    """The logits of the first weights and the labels, a batch at a time, as training sees them."""
    info, settings = load_info(data), parse_flags(argv, "").settings
    net = build_small("tiny", len(info.categories), settings.seed, "float32")
    batches = make_dataset(
        info, "training", pairs_per_batch=settings.pairs_per_batch, statistics=info.statistics, epoch=0
    )
    return [(np.asarray(net(x), np.float64), y) for x, y in batches.as_numpy_iterator()]


def sums_of(logits: np.ndarray, label: np.ndarray, data: str, road: float) -> tuple[float, float]:
    """sum(w e) and sum(w), in plain numpy; `road` is its weight, that of all others is 1."""
    categories = load_info(data).categories
    held = label[..., list(categories.channels)]
    positive, known = held == np.array(categories.values), held != 255
    weights = known * np.where(np.array(categories.names) == "road", road, 1.0)
    entropy = np.logaddexp(0, np.where(positive, -logits, logits))
    return float((weights * entropy).sum()), float(weights.sum())


@pytest.mark.parametrize(
    ("shares", "more", "road"),
    [
        ([0.0, 1.0, 0.0, 1.0], ("--pairs_per_batch", "1"), 1.0),  # half of the batches know nothing
        pytest.param(
            [0.1, 0.97, 0.5, 1.0],
            ("--pairs_per_batch", "3", "--class_weights", "road=3"),
            3.0,
            marks=pytest.mark.slow,
            id="padding",
        ),
    ],
)
def test_the_loss_is_the_sum_over_the_sum_of_an_epoch(tmp_path, shares, more, road) -> None:
    data, output = write_masked(tmp_path / "data", shares), tmp_path / "run"
    argv = flags(data, output, *STILL, *more)
    assert main(argv) == 0
    sums = [sums_of(*batch, data, road) for batch in cells_of_batches(data, argv)]
    total, known = np.sum(sums, axis=0)
    logged = float(read_log(output)[0]["loss"])
    assert logged == pytest.approx(total / known, rel=1e-5)
    means = [total / known if known else 0.0 for total, known in sums]
    assert logged != pytest.approx(np.mean(means), rel=1e-3)  # else any mean would do


@pytest.mark.slow
def test_the_books_go_on_where_a_run_was_stopped(tmp_path, monkeypatch) -> None:
    data, whole, pieces = (
        write_masked(tmp_path / "data", [0.0, 1.0, 0.9, 0.2]),
        tmp_path / "a",
        tmp_path / "b",
    )
    assert main(flags(data, whole, *STILL)) == 0
    with monkeypatch.context() as patch:
        patch.setattr(training, "Run", SignalledRun)
        assert main(flags(data, pieces, *STILL, "--save_every", "1")) == EXIT_STOPPED
    assert main(flags(data, pieces, *STILL)) == 0
    assert read_log(pieces)[0]["loss"] == read_log(whole)[0]["loss"]


@pytest.mark.slow
def test_an_epoch_that_an_earlier_version_began_goes_on(tmp_path, monkeypatch) -> None:
    """It kept a sum of means, which no sum over sum can be made of: the loss is that of the steps since."""
    data, output = write_masked(tmp_path / "data", [0.0, 0.0, 0.0]), tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(training, "Run", SignalledRun)
        assert main(flags(data, output, *STILL, "--save_every", "1")) == EXIT_STOPPED
    state = json.loads((output / "state.json").read_text())
    earlier = {name: value for name, value in state.items() if name not in ("loss_total", "loss_known")}
    del earlier["booked_steps"]
    earlier |= {"loss_sum": 99.0, "loss_steps": state["step"]}
    with zipfile.ZipFile(output / "last.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(output / "last.keras", "w") as archive:
        for name, content in (members | {"state.json": json.dumps(earlier).encode()}).items():
            archive.writestr(name, content)
    argv = flags(data, output, *STILL)
    assert main(argv) == 0
    rest = [sums_of(*batch, data, 1.0) for batch in cells_of_batches(data, argv)[state["step"] :]]
    total, known = np.sum(rest, axis=0)
    assert float(read_log(output)[0]["loss"]) == pytest.approx(total / known, rel=1e-5)


def test_a_training_split_that_knows_nothing_is_refused_before_training(tmp_path, capsys) -> None:
    data, output = write_masked(tmp_path / "data", [1.0, 1.0]), tmp_path / "run"
    assert main(flags(data, output, *STILL)) == 2
    said = capsys.readouterr().err
    assert "The training split must have known pixels of a category whose --class_weights is not 0" in said
    assert not output.exists()


def test_weights_that_leave_nothing_are_refused(tmp_path, capsys) -> None:
    """Channels 0 and 1 are unknown, and what is left weighs nothing."""
    data = write_masked(tmp_path / "data", [1.0], slice(0, 2))
    assert main(flags(data, tmp_path / "run", *STILL, "--class_weights", "building=0")) == 2
    assert "must have known pixels of a category whose --class_weights is not 0" in capsys.readouterr().err


def test_a_dataset_that_does_not_count_labels_is_refused_after_an_epoch(tmp_path, capsys) -> None:
    data, output = write_masked(tmp_path / "data", [1.0]), tmp_path / "run"
    path = Path(data, "dataset.json")
    content = json.loads(path.read_text())
    del content["labels"]
    path.write_text(json.dumps(content))
    assert main(flags(data, output, *STILL)) == 2
    assert "The training split must have known pixels" in capsys.readouterr().err
    assert not (output / "log.csv").exists()
    assert not (output / "last.keras").exists()


def test_what_the_training_split_cannot_teach_is_named(tmp_path, capsys) -> None:
    data = write_masked(tmp_path / "data", [1.0], slice(1, 2))
    path = Path(data, "dataset.json")
    content = json.loads(path.read_text())
    content["labels"][0]["pixels_by_split"]["training"]["quarry"] = 0
    path.write_text(json.dumps(content))
    assert main(flags(data, tmp_path / "run", *STILL)) == 0
    said = capsys.readouterr().out
    assert "warning: the training split never knows water, road: all their pixels are unlabeled (255)" in said
    assert "warning: no pixel of the training split holds quarry: the net only learns where" in said


@pytest.mark.slow
def test_an_epoch_that_validates_on_nothing_leaves_the_loss_empty(tmp_path, capsys) -> None:
    """And goes on from that log."""
    training_split = made_cell_years([1, 2], [2020])
    blank = [
        dataclasses.replace(it, label=np.full_like(it.label, 255))
        for it in made_cell_years([7], [2020], "validation")
    ]
    data = write_dataset(tmp_path / "data", {"training": [training_split], "validation": [blank]})
    output = tmp_path / "run"
    assert main(flags(data, output)) == 0
    assert "validation loss unknown, validation AUC not scored" in capsys.readouterr().out
    assert [row["validation_loss"] for row in read_log(output)] == ["", ""]
    assert all(float(row["loss"]) > 0 for row in read_log(output))
    assert main(flags(data, output)) == 0
    assert "is finished: best validation AUC not scored" in capsys.readouterr().out


def test_statistics_that_standardise_to_infinity_are_refused(dataset_folder, tmp_path, capsys) -> None:
    data = Path(shutil.copytree(dataset_folder, tmp_path / "data"))
    content = json.loads((data / "dataset.json").read_text())
    content["bands"]["B03"]["variance"] = 1e-90
    (data / "dataset.json").write_text(json.dumps(content))
    assert main(flags(str(data), tmp_path / "run")) == 2
    said = capsys.readouterr().err
    assert "bands.B03 must have a mean and a variance that images can be standardised with" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_loss_that_no_update_preceded_is_not_laid_to_the_rate(
    dataset_folder, tmp_path, capsys, monkeypatch
) -> None:
    def make_huge(*given: object) -> keras.Model:
        model = shared_nets.make_model(*given)
        head = model.get_layer("head")
        head.set_weights([np.zeros_like(head.get_weights()[0]), np.full(15, 3e38, np.float32)])
        return model

    monkeypatch.setattr(training, "make_model", make_huge)
    assert main(flags(dataset_folder, tmp_path / "run")) == 2
    said = capsys.readouterr().err
    assert "The loss became inf in epoch 1, step 1 of 6, before any weight had changed" in said
    assert "--peak_rate is not the cause" in said
