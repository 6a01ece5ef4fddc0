"""Runs of train.py: what they leave behind, that they go on bit for bit, and what they refuse."""

import dataclasses
import errno
import importlib.util
import itertools
import json
import os
import shutil
import tempfile
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from beam_pipeline.runtime.faults import InvalidInputError
from model_tf.backend import choose_backend
from model_tf.data.info import load_info
from model_tf.train import main
from model_tf.training import run as training
from model_tf.training import run_log
from model_tf.training.devices import Devices
from model_tf.training.flags import parse_flags
from model_tf.training.run_folder import RunInfo, read_run
from model_tf.training.stopping import EXIT_STOPPED, StopRequest
from tests.failing_disk import full_after, no_file_above, small_disk
from tests.model_tf.training.training_runs import (
    EPOCHS,
    STEPS,
    SignalledRun,
    assert_equal_runs,
    build_small,
    draw_nothing,
    flags,
    read_log,
    shared_nets,
    variables,
)


class AskedAt:
    """A stop request that is made when it is looked at for the n-th time.

    It is looked at after every step and before every batch of validation.
    """

    def __init__(self, looks: int) -> None:
        self._looks = looks

    @property
    def is_made(self) -> bool:
        self._looks -= 1
        return self._looks < 0


pytestmark = pytest.mark.timeout(3600)  # a run that hangs ends some day; no loaded machine is as slow


@pytest.fixture(autouse=True)
def small_net(monkeypatch) -> None:
    """The whole of train.py, with small nets that are traced once."""
    monkeypatch.setattr(training, "make_model", shared_nets.make_model)


@pytest.fixture(scope="module")
def run(dataset_folder, tmp_path_factory) -> Path:
    """A run that was never stopped; read only."""
    output = tmp_path_factory.mktemp("run") / "whole"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "make_model", shared_nets.make_model)
        assert main(flags(dataset_folder, output)) == 0
    return output


@pytest.fixture
def begun(run, tmp_path) -> Path:
    """A copy of the run, to be broken."""
    return Path(shutil.copytree(run, tmp_path / "run"))


def test_a_run_leaves_settings_checkpoints_and_logs(run, dataset_folder) -> None:
    info = load_info(dataset_folder)
    described = read_run(str(run))
    assert described.settings == parse_flags(flags(dataset_folder, run), "").settings
    assert described.categories == info.categories
    assert described.statistics == info.statistics
    assert described.data_fingerprint == info.fingerprint
    assert {"keras", "numpy", "tensorflow"} <= described.versions.keys()

    state = json.loads((run / "state.json").read_text())
    log = read_log(run)
    assert (state["step"], state["epochs"]) == (STEPS * EPOCHS, EPOCHS)
    assert [(row["epoch"], row["step"]) for row in log] == [("1", "6"), ("2", "12")]
    best = max(log, key=lambda row: float(row["validation_auc"]))
    assert state["best_auc"] == float(best["validation_auc"])
    assert state["best_epoch"] == int(best["epoch"])
    assert float(log[-1]["learning_rate"]) == pytest.approx(described.settings.final_rate)
    events = [
        value
        for path in (run / "tensorboard").glob("events*")
        for event in tf.compat.v1.train.summary_iterator(str(path))
        for value in event.summary.value
    ]
    curve = [tf.make_ndarray(value.tensor) for value in events if value.tag == "epoch/validation_auc"]
    assert curve == pytest.approx([float(row["validation_auc"]) for row in log])
    pictures = [value.tensor.string_val[2] for value in events if value.tag == "predictions"]
    assert [tf.io.decode_png(picture).shape[-1] for picture in pictures] == [3, 3]
    assert not (run / "tmp").exists()


def test_single_images_and_bands_brought_to_10_m(dataset_folder, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(run_log, "panel_figure", draw_nothing)
    output = tmp_path / "run"
    assert main(flags(dataset_folder, output, "--single_images", "--upsample_20m")) == 0
    assert [row["step"] for row in read_log(output)] == ["3", "6"], "half of the steps: twice as many cells"
    net = keras.models.load_model(output / "best.keras")
    assert net.backbone.get_layer("stem10_1_conv").kernel.shape == (3, 3, 10, 2)
    with pytest.raises(ValueError, match="stem20_1_conv"):
        net.backbone.get_layer("stem20_1_conv")


def test_it_learns_what_the_made_images_show(run) -> None:
    losses = [float(row["loss"]) for row in read_log(run)]
    assert losses[1] < losses[0]


def test_checkpoints_are_plain_keras_files(run) -> None:
    last = keras.models.load_model(run / "last.keras")
    assert int(last.optimizer.iterations) == STEPS * EPOCHS
    best = keras.models.load_model(run / "best.keras")
    assert not best.compiled
    assert len(best.weights) == len(last.weights)


def test_a_finished_run_says_so_and_changes_nothing(run, dataset_folder, capsys) -> None:
    before = {path: path.read_bytes() for path in run.glob("*.*")}
    assert main(flags(dataset_folder, run)) == 0
    assert "is finished: best validation AUC" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in run.glob("*.*")} == before


class Killed(Exception):
    """Ends a run where nothing else would."""


def test_a_run_goes_on_bit_for_bit_wherever_it_ended(
    run, dataset_folder, tmp_path, monkeypatch, capsys
) -> None:
    """At SIGTERM within the first epoch; at a kill after it; then in the middle of the second."""
    output = tmp_path / "pieces"
    command = parse_flags(flags(dataset_folder, output), "")
    with monkeypatch.context() as patch:
        patch.setattr(training, "Run", SignalledRun)
        assert main(flags(dataset_folder, output, "--save_every", "1")) == EXIT_STOPPED
    said = capsys.readouterr().out
    assert "SIGTERM: saving after this step" in said
    assert "stopped after 2 steps; the same command goes on" in said
    assert json.loads((output / "state.json").read_text())["step"] == 2 < STEPS

    # `run` shows that pictures are drawn, which takes as long as an epoch.
    monkeypatch.setattr(run_log, "panel_figure", draw_nothing)

    def killed(*_, **__) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(training.RunLog, "add", killed)
        with pytest.raises(Killed):
            training.train(command, StopRequest())
    # best.keras is there, but no log.
    assert (output / "best.keras").exists()
    assert json.loads((output / "state.json").read_text())["epochs"] == 0

    # It looks before each of two batches of the validation that is done again, and after each step.
    assert training.train(command, AskedAt(looks=1 + 2 + 2)) == EXIT_STOPPED
    state = json.loads((output / "state.json").read_text())
    assert (state["step"], state["epochs"]) == (STEPS + 3, 1)
    assert training.train(command, StopRequest()) == 0
    assert_equal_runs(run, output)


def fails_and_goes_on(rooms, run, dataset_folder, output, capsys, monkeypatch) -> None:
    """Trains on a disk that has room for so many files, then for so many more, ..., and at last for all."""
    monkeypatch.setattr(run_log, "panel_figure", draw_nothing)
    argv = flags(dataset_folder, output)
    for room in rooms:
        with full_after(room, str(output), tempfile.gettempdir()):
            code = main(argv)
        said = capsys.readouterr().err
        if code == 0:
            break
        assert said.count("error: ") == 1
        assert os.strerror(errno.ENOSPC) in said
        if (output / "settings.json").exists():
            assert code == 1
            assert said.endswith("the same command goes on from the last checkpoint that was saved\n")
    assert main(argv) == 0
    assert_equal_runs(run, output)


@pytest.mark.slow
def test_a_disk_that_fails_ends_a_run_that_goes_on(
    run, dataset_folder, tmp_path, capsys, monkeypatch
) -> None:
    fails_and_goes_on((0, 3, 8), run, dataset_folder, tmp_path / "run", capsys, monkeypatch)


@pytest.mark.slow
def test_a_disk_that_fails_at_any_write_ends_a_run_that_goes_on(
    run, dataset_folder, tmp_path, capsys, monkeypatch
) -> None:
    fails_and_goes_on(itertools.count(), run, dataset_folder, tmp_path / "run", capsys, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("fails", ["output", "temporary files"])
def test_a_run_goes_on_when_a_full_disk_has_room_again(
    fails, run, dataset_folder, tmp_path, capsys, monkeypatch
) -> None:
    """On a real one, of the size of half a checkpoint."""
    monkeypatch.setattr(run_log, "panel_figure", draw_nothing)
    half = (run / "last.keras").stat().st_size // 2
    with small_disk(tmp_path / "disk", str(half)) as disk:
        output = (disk.folder if fails == "output" else tmp_path) / "run"
        if fails == "temporary files":
            monkeypatch.setattr(tempfile, "tempdir", str(disk.folder))
        argv = flags(dataset_folder, output)
        assert main(argv) == 1
        said = capsys.readouterr().err
        assert said.count("error: ") == 1
        assert os.strerror(errno.ENOSPC) in said
        assert said.endswith("the same command goes on from the last checkpoint that was saved\n")
        disk.remount("size=50m")
        assert main(argv) == 0
        assert_equal_runs(run, output)


def test_no_file_of_a_run_is_too_large_for_a_sentence(run, dataset_folder, tmp_path, capsys) -> None:
    """Whoever writes it: the limit is the kernel's."""
    argv = flags(dataset_folder, tmp_path / "run")
    with no_file_above((run / "last.keras").stat().st_size - 1):
        assert main(argv) == 1
    assert os.strerror(errno.EFBIG) in capsys.readouterr().err


def test_a_request_within_validation_ends_it_before_its_end(run, dataset_folder, tmp_path) -> None:
    """No row, no best net; the epoch is trained and saved."""
    info = load_info(dataset_folder)
    settings = read_run(str(run)).settings
    loss = training.MaskedBinaryCrossentropy(info.categories)
    validation = training.Validation(info, settings)
    seen = []

    def predict(images: dict[str, np.ndarray]) -> np.ndarray:
        seen.append(len(images["gsd_10"]))
        return np.zeros((*images["gsd_10"].shape[:3], len(info.categories)), np.float32)

    request = AskedAt(1)
    assert validation.run(predict, loss, lambda: request.is_made) is None
    assert seen == [2]


def refusal(argv: list[str], capsys) -> str:
    assert main(argv) == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--epochs", "3"], "holds a run with --epochs 2. Received: --epochs 3"),
        (["--seed", "1", "--width", "w18"], "with --width tiny --seed 0. Received: --width w18 --seed 1"),
        (["--class_weights", "road=2"], "--class_weights"),
    ],
)
def test_other_settings_are_refused(run, dataset_folder, capsys, more, said) -> None:
    assert said in refusal(flags(dataset_folder, run, *more), capsys)


def changed_dataset(folder: str, tmp_path: Path, **changes: object) -> str:
    copy = Path(shutil.copytree(folder, tmp_path / "data"))
    content = json.loads((copy / "dataset.json").read_text())
    (copy / "dataset.json").write_text(json.dumps({**content, **changes}))
    return str(copy)


def test_other_data_are_refused(run, dataset_folder, tmp_path, capsys) -> None:
    shards = [
        {**shard, "sha256": "0" * 64}
        for shard in json.loads(Path(dataset_folder, "dataset.json").read_text())["shards"]
    ]
    data = changed_dataset(dataset_folder, tmp_path, shards=shards)
    assert "holds a run on other data" in refusal(flags(data, run), capsys)


def test_other_categories_are_refused(run, dataset_folder, tmp_path, capsys) -> None:
    ontology = json.loads(Path(dataset_folder, "dataset.json").read_text())["ontology"]
    labels = ontology["channels"][2]["labels"]
    labels["house"] = labels.pop("building")
    data = changed_dataset(dataset_folder, tmp_path, ontology=ontology)
    assert "holds a run with other categories: " in refusal(flags(data, run), capsys)


def test_a_folder_of_something_else_is_refused(dataset_folder, tmp_path, capsys) -> None:
    other = shutil.copytree(dataset_folder, tmp_path / "other")
    said = refusal(flags(dataset_folder, other), capsys)
    assert "--output is the folder of a dataset, as dataset.json in it shows" in said
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "notes.txt").write_text("mine")
    assert "has no settings.json but notes.txt" in refusal(flags(dataset_folder, tmp_path / "notes"), capsys)


def test_a_checkpoint_of_another_architecture_is_refused(begun, dataset_folder, capsys, monkeypatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(training, "build_hrnet", lambda *given, **more: build_small(*given, **more, blocks=1))
    said = refusal(flags(dataset_folder, begun), capsys)
    assert "last.keras is a checkpoint of another architecture: it has blocks 0. Received: " in said
    assert "need blocks 1. Give another --output" in said


def test_a_damaged_checkpoint_is_refused(begun, dataset_folder, capsys) -> None:
    path = begun / "last.keras"
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1  # within the weights
    for held in (whole[:-1000], flipped):
        path.write_bytes(held)
        said = refusal(flags(dataset_folder, begun), capsys)
        assert "last.keras is damaged" in said
        assert "or delete the file to begin from the first step" in said


@pytest.mark.slow
def test_without_its_checkpoint_a_run_begins_anew(begun, dataset_folder) -> None:
    """As the message about a damaged one says."""
    (begun / "last.keras").unlink()
    assert main(flags(dataset_folder, begun)) == 0
    assert [row["step"] for row in read_log(begun)] == ["6", "12"]


def test_a_damaged_log_is_refused(begun, dataset_folder, capsys) -> None:
    (begun / "log.csv").write_text("epoch,loss\nfirst,0.5\n")
    said = refusal(flags(dataset_folder, begun), capsys)
    assert "log.csv must have the number of an epoch in every row. Received: 'first'. Something else" in said
    (begun / "log.csv").unlink()  # as it says
    assert main(flags(dataset_folder, begun)) == 0


@pytest.mark.parametrize("output", ["/proc/run", __file__])
def test_an_output_that_cannot_be_written_is_refused(output, dataset_folder, capsys) -> None:
    said = refusal(flags(dataset_folder, Path(output)), capsys)
    assert "--output must be a folder that can be read and written: " in said
    assert f"Received: {output}. Give another --output" in said


def test_a_name_that_is_no_utf_8_in_the_output_is_told(dataset_folder, tmp_path, capsys) -> None:
    output = tmp_path / "run"
    output.mkdir()
    Path(os.fsdecode(os.fsencode(output) + b"/\xff")).touch()
    said = refusal(flags(dataset_folder, output), capsys)
    assert r"hold no name that is no UTF-8, as b'\xff' is." in said


def test_what_a_killed_attempt_left_aside_is_tidied(begun, dataset_folder, tmp_path) -> None:
    """Also where it was killed before its first file had its name; and what is not its own stays."""
    fresh = tmp_path / "fresh"
    for folder in (begun, fresh):
        (folder / "tmp").mkdir(parents=True, exist_ok=True)
        (folder / "tmp" / ("0a" * 16)).write_bytes(b"half a checkpoint")
    (begun / "tmp" / "notes").write_text("mine")
    info = load_info(dataset_folder)
    run = RunInfo.of(parse_flags(flags(dataset_folder, fresh), "").settings, info)
    for folder in (begun, fresh):
        training.claim_or_wait(str(folder), run, Devices())
    assert [path.name for path in (begun / "tmp").iterdir()] == ["notes"]
    assert [path.name for path in fresh.iterdir()] == ["settings.json"]


def test_a_keras_file_of_someone_else_is_refused(begun, dataset_folder, capsys) -> None:
    shutil.copy(begun / "best.keras", begun / "last.keras")
    assert "last.keras is damaged, or train.py did not write it" in refusal(
        flags(dataset_folder, begun), capsys
    )


def test_settings_of_another_version_are_refused(begun, dataset_folder, capsys) -> None:
    content = json.loads((begun / "settings.json").read_text())
    del content["settings"]["momentum"], content["categories"]
    (begun / "settings.json").write_text(json.dumps(content))
    said = refusal(flags(dataset_folder, begun), capsys)
    assert "settings.json is not what this version writes: categories: Field required. Train again" in said


def test_other_versions_are_said(begun, dataset_folder, caplog) -> None:
    content = json.loads((begun / "settings.json").read_text())
    content["versions"]["keras"] = "3.0.0"
    (begun / "settings.json").write_text(json.dumps(content))
    assert main(flags(dataset_folder, begun)) == 0
    assert "was begun with keras 3.0.0" in caplog.text


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_no_numbers_are_divergence(run, dataset_folder, value) -> None:
    info = load_info(dataset_folder)
    validation = training.Validation(info, read_run(str(run)).settings)
    loss = training.MaskedBinaryCrossentropy(info.categories)
    said = rf"The net under training must answer with finite logits\. Received: {value} for cell .* Training diverged"
    with pytest.raises(InvalidInputError, match=said):
        validation.run(lambda x: np.full((*x["gsd_10"].shape[:3], 15), value, np.float32), loss)


def test_class_weights_of_no_category_are_refused(dataset_folder, tmp_path, capsys) -> None:
    said = refusal(flags(dataset_folder, tmp_path / "run", "--class_weights", "roads=2"), capsys)
    assert "--class_weights must name categories of the data: wooded, " in said
    assert not (tmp_path / "run").exists()


def test_no_dataset_is_refused(tmp_path, capsys) -> None:
    said = refusal(flags(str(tmp_path / "none"), tmp_path / "run"), capsys)
    assert "There is no" in said
    assert "dataset.json" in said


def test_divergence_is_said_and_not_saved(dataset_folder, tmp_path, capsys) -> None:
    output = tmp_path / "run"
    more = ["--peak_rate", "1e30", "--warmup_epochs", "0", "--save_every", "1"]
    said = refusal(flags(dataset_folder, output, *more), capsys)
    # On a line of its own, not behind the progress bar.
    assert (
        said.replace("\r", "\n")
        .split("\n")[-2]
        .startswith("error: The loss became nan in epoch 1, step 2 of 6: training diverged")
    )
    assert all(np.isfinite(value).all() for value in variables(output / "last.keras").values())


def test_weight_decay_acts_on_kernels_only(dataset_folder) -> None:
    settings = parse_flags(["--data", "x", "--preset", "tiny", "--weight_decay", "0.1"], "").settings
    categories = load_info(dataset_folder).categories
    schedule = training.make_schedule(dataclasses.replace(settings, warmup_epochs=0), 2)
    loss = training.MaskedBinaryCrossentropy(categories)
    model = training.make_model(settings, len(categories), schedule, loss)
    before = [np.asarray(weight) for weight in model.trainable_variables]
    model.optimizer.apply([keras.ops.zeros_like(weight) for weight in model.trainable_variables])
    for weight, old in zip(model.trainable_variables, before, strict=True):
        decays = weight.name == "kernel"
        np.testing.assert_allclose(weight, old * (1 - 0.1 * settings.peak_rate if decays else 1), rtol=1e-6)


def test_bfloat16_computes_so_and_keeps_weights_and_loss_in_float32(dataset_folder) -> None:
    settings = parse_flags(["--data", "x", "--preset", "tiny", "--precision", "bfloat16"], "").settings
    info = load_info(dataset_folder)
    schedule = training.make_schedule(dataclasses.replace(settings, warmup_epochs=0), 10)
    model = training.make_model(
        settings, len(info.categories), schedule, training.MaskedBinaryCrossentropy(info.categories)
    )
    assert {layer.compute_dtype for layer in model.backbone.layers if "conv" in layer.name} == {"bfloat16"}
    assert {weight.dtype for weight in [*model.weights, *model.optimizer.variables[2:]]} == {"float32"}
    draw = np.random.default_rng(0)
    images = {
        "gsd_10": draw.normal(size=(2, 32, 32, 4)).astype(np.float32),
        "gsd_20": draw.normal(size=(2, 16, 16, 6)).astype(np.float32),
    }
    label = draw.choice([0, 1, 254, 255], (2, 32, 32, 3)).astype(np.uint8)
    losses = [float(model.train_on_batch(images, label, return_dict=True)["loss"]) for _ in range(5)]
    assert losses[-1] < losses[0]
    assert model.predict_on_batch(images).dtype == np.float32


def test_a_backend_that_is_not_installed_is_refused(monkeypatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else find(name))
    with pytest.raises(InvalidInputError, match="--backend torch needs the package torch, which is not inst"):
        choose_backend("torch")


def test_another_backend_in_the_same_process_is_refused(monkeypatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", keras.config.backend())  # put back afterwards
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)  # as if it were installed
    with pytest.raises(InvalidInputError, match="Keras already runs on tensorflow in this process"):
        choose_backend("torch")
