"""The command line: what it writes, and what bad input gets."""

import dataclasses
import errno
import hashlib
import itertools
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image as PillowImage

from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.storage_failures import storage_failure
from model_tf import evaluate
from model_tf.data.info import load_info
from model_tf.evaluation import evaluate as evaluation
from model_tf.evaluation.evaluate import write_results
from model_tf.evaluation.flags import EvaluateCommand
from model_tf.evaluation.scoring import SplitScores
from model_tf.evaluation.trained_net import load_net
from model_tf.network.hrnet import WIDTHS, HRNetBackbone, HRNetSegmenter, build_hrnet
from model_tf.scores.histogram import ScoreHistogram
from model_tf.scores.report import ScoreReport
from model_tf.training.run_folder import RunInfo, read_run
from model_tf.training.settings import TrainSettings
from tests.failing_disk import no_file_above, small_disk
from tests.hostile_environment import hostile_environment
from tests.model_tf.made_dataset import ONTOLOGY, made_cell_years, write_dataset
from tests.model_tf.training.training_runs import draw_nothing

SETTINGS = TrainSettings(width="tiny", pairs_per_batch=3)
NAMES = [name for channel in ONTOLOGY["channels"] for name in channel["labels"]]
FILES = {"scores.json", "roc_curves.json", "roc_land_use.png", "roc_water_road_building.png", "panel.png"}


def write_run(folder: Path, data: str) -> Path:
    """A run folder whose net was not trained."""
    folder.mkdir()
    content = RunInfo.of(SETTINGS, load_info(data)).to_json()
    (folder / "settings.json").write_text(json.dumps(content))
    build_hrnet(SETTINGS.width, len(NAMES), seed=1).save(folder / "best.keras")
    return folder


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory, dataset_folder) -> Path:
    """Read only."""
    return write_run(tmp_path_factory.mktemp("runs") / "run", dataset_folder)


@pytest.fixture(scope="module")
def evaluated(run_folder, dataset_folder, tmp_path_factory) -> tuple[Path, str]:
    """The results and what was printed, in an environment that must not matter."""
    output = tmp_path_factory.mktemp("results") / "some" / "folder"
    ran = subprocess.run(
        [
            sys.executable,
            "model_tf/evaluate.py",
            "--run",
            run_folder,
            "--data",
            dataset_folder,
            "--output",
            output,
        ],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
        env=hostile_environment(tmp_path_factory.mktemp("hostile")),
    )
    return output, ran.stdout


def failure(capsys, *flags: object) -> str:
    """The message of a command that must end with 2."""
    assert evaluate.main([str(flag) for flag in flags]) == 2
    lines = capsys.readouterr().err.splitlines()
    message = lines[-1]  # after what a slow machine has to say of its progress
    assert message.startswith("error: ")
    return message


def test_it_writes_scores_curves_and_figures(evaluated):
    output, printed = evaluated
    assert {path.name for path in output.iterdir()} == FILES
    assert all(str(output / name) in printed for name in FILES)
    for name in FILES:
        if name.endswith(".png"):
            with PillowImage.open(output / name) as image:
                assert min(image.size) > 500
                assert np.ptp(np.asarray(image.convert("L"))) > 200


def test_scores_json_says_what_was_scored_and_how(evaluated, run_folder, dataset_folder):
    content = json.loads((evaluated[0] / "scores.json").read_text())
    assert list(content["categories"]) == NAMES
    info = load_info(dataset_folder)
    assert content["data"] == {"fingerprint": info.fingerprint, "examples": 4, "cells": 2, "images": 8}
    digest = hashlib.sha256((run_folder / "best.keras").read_bytes()).hexdigest()
    assert content["checkpoint"] == {"path": str(run_folder / "best.keras"), "sha256": digest}
    assert content["settings"]["split"] == "testing"
    assert content["settings"]["pairs_per_batch"] == SETTINGS.pairs_per_batch
    assert content["run"]["settings"]["width"] == "tiny"
    assert content["software"]["keras"] == keras.__version__
    keys = {key for score in content["categories"].values() for key in score} - {"name"}
    assert set(content["definitions"]) == keys | {"macro", "micro"}


def test_the_averages_are_those_of_the_scored_categories(evaluated):
    content = json.loads((evaluated[0] / "scores.json").read_text())
    averages = content["averages"]
    assert averages["land_use"]["categories"] == NAMES[:12]
    assert averages["water_road_building"]["categories"] == NAMES[12:]
    assert averages["all"]["categories"] == NAMES
    for group in averages.values():
        for key in ("auc", "average_precision", "iou"):
            values = [content["categories"][name][key] for name in group["categories"]]
            assert group["macro"][key] == pytest.approx(np.mean(values))
        assert 0 < group["micro"]["auc"] < 1


def test_the_curves_are_those_of_the_scores(evaluated):
    scores = json.loads((evaluated[0] / "scores.json").read_text())["categories"]
    curves = json.loads((evaluated[0] / "roc_curves.json").read_text())
    assert list(curves) == NAMES
    for name, curve in curves.items():
        area = np.trapezoid(curve["true_positive_rate"], curve["false_positive_rate"])
        assert area == pytest.approx(scores[name]["auc"], abs=1e-3)


def test_the_table_has_the_numbers_of_the_file(evaluated):
    output, printed = evaluated
    scores = json.loads((output / "scores.json").read_text())["categories"]
    for name, score in scores.items():
        row = re.search(rf"^{name} .*$", printed, re.MULTILINE)[0].split()
        assert row[1] == f"{score['auc']:.4f}"
        assert row[2] == f"{score['average_precision']:.4f}"
        assert row[6] == f"{score['positives']:,}"
        assert row[7] == str(score["cells"])


def test_a_net_scores_what_it_predicts(run_folder, dataset_folder, evaluated):
    """The scores of the net, asked directly, in batches of another size."""
    from model_tf.data.batches import make_dataset
    from model_tf.scores.histogram import ScoreHistogram

    info = load_info(dataset_folder)
    model = keras.saving.load_model(run_folder / "best.keras", compile=False)
    histogram = ScoreHistogram(info.categories)
    for x, y in make_dataset(info, "testing", pairs_per_batch=1, statistics=info.statistics):
        histogram.update(model.predict_on_batch(x), y.numpy())
    content = json.loads((evaluated[0] / "scores.json").read_text())["categories"]
    for name, score in histogram.scores().items():
        assert content[name]["auc"] == pytest.approx(score.auc, abs=1e-4)
        assert content[name]["positives"] == score.positives


@pytest.mark.backends
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_other_backends_score_the_same(backend, run_folder, dataset_folder, evaluated, tmp_path):
    pytest.importorskip(backend)
    flags = ["--run", run_folder, "--data", dataset_folder, "--output", tmp_path, "--backend", backend]
    command = [sys.executable, "-m", "model_tf.evaluate", *flags]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[3])
    theirs = json.loads((tmp_path / "scores.json").read_text())["categories"]
    ours = json.loads((evaluated[0] / "scores.json").read_text())["categories"]
    for name, score in ours.items():
        assert theirs[name]["auc"] == pytest.approx(score["auc"], abs=1e-5)


def test_other_split_cells_and_checkpoint(run_folder, dataset_folder, tmp_path, monkeypatch):
    """Beside the run by default; and the same checkpoint by its path is the same net."""
    shown = []

    def drawn(predictions, categories):
        shown.extend(prediction.title for prediction in predictions)
        return draw_nothing()

    # `evaluated` shows that figures are drawn.
    monkeypatch.setattr(evaluation, "panel_figure", drawn)
    monkeypatch.setattr(evaluation, "roc_figure", draw_nothing)
    run = tmp_path / "run"
    shutil.copytree(run_folder, run)
    build_hrnet("tiny", 15, seed=2).save(run / "last.keras")
    flags = ["--run", str(run), "--data", dataset_folder, "--split", "validation", "--cells", "9,7"]
    assert evaluate.main([*flags, "--checkpoint", "last", "--pairs_per_batch", "2"]) == 0
    content = json.loads((run / "evaluation" / "scores.json").read_text())
    assert content["settings"]["cells"] == [9, 7]
    assert [title.partition(",")[0] for title in shown] == ["cell 9", "cell 7"]
    assert content["settings"]["pairs_per_batch"] == 2
    assert content["data"]["cells"] == 4
    assert content["checkpoint"]["path"] == str(run / "last.keras")
    copy = shutil.copy(run / "last.keras", tmp_path / "copy.keras")
    by_path = load_net(str(run), read_run(str(run)), str(copy))
    assert by_path.sha256 == content["checkpoint"]["sha256"]
    for weights, its in zip(
        by_path.model.get_weights(), build_hrnet("tiny", 15, seed=2).get_weights(), strict=True
    ):
        np.testing.assert_array_equal(weights, its)


@pytest.mark.parametrize("kind", ["nothing", "folder", "checkpoint", "file"])
def test_what_is_no_run(kind, run_folder, tmp_path, dataset_folder, capsys):
    given = {
        "nothing": tmp_path / "nothing",
        "folder": tmp_path,
        "checkpoint": run_folder / "best.keras",
        "file": run_folder / "settings.json",
    }[kind]
    message = failure(capsys, "--run", given, "--data", dataset_folder)
    assert f"There is no {given}/settings.json. Give the folder that `python model_tf/train.py" in message
    assert message.endswith(f"Received: {given}")


@pytest.mark.parametrize("kind", ["nothing", "folder", "file"])
def test_what_is_no_dataset(kind, run_folder, dataset_folder, tmp_path, capsys):
    given = {
        "nothing": tmp_path / "nothing",
        "folder": tmp_path,
        "file": Path(dataset_folder) / "dataset.json",
    }[kind]
    message = failure(capsys, "--run", run_folder, "--data", given)
    assert f"There is no {given}/dataset.json. Give the folder that `python -m beam_pipeline" in message
    assert "JSON" not in message
    assert message.endswith(f"Received: {given}")


def test_a_run_without_the_checkpoint(run_folder, dataset_folder, capsys):
    message = failure(capsys, "--run", run_folder, "--data", dataset_folder, "--checkpoint", "last")
    assert "last.keras" in message
    assert "holds best.keras" in message
    message = failure(capsys, "--run", run_folder, "--data", dataset_folder, "--checkpoint", "nowhere")
    assert "Received: nowhere" in message
    message = failure(capsys, "--run", run_folder, "--data", dataset_folder, "--checkpoint", run_folder)
    assert f"the path of a .keras file that is there. Received: {run_folder}, which is a folder." in message


def test_a_folder_in_the_place_of_a_checkpoint(run_folder, dataset_folder, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(run_folder, folder)
    (folder / "best.keras").unlink()
    (folder / "best.keras").mkdir()
    assert "best.keras, which is a folder." in failure(capsys, "--run", folder, "--data", dataset_folder)


def test_a_damaged_checkpoint(run_folder, dataset_folder, tmp_path, capsys):
    path = tmp_path / "cut.keras"
    whole = (run_folder / "best.keras").read_bytes()
    for held in (b"", whole[: len(whole) // 2]):
        path.write_bytes(held)
        message = failure(capsys, "--run", run_folder, "--data", dataset_folder, "--checkpoint", path)
        assert f"{path} is damaged" in message


@pytest.mark.parametrize(
    "fault",
    [
        MemoryError("out of memory"),
        ImportError("libhdf5.so: cannot open shared object file"),
        OSError(errno.EMFILE, "Too many open files"),
        tf.errors.ResourceExhaustedError(None, None, "OOM when allocating"),
    ],
)
def test_a_machine_that_fails_is_no_damage_of_the_checkpoint(fault, run_folder, monkeypatch):
    run = read_run(str(run_folder))

    def fail(*_, **__):
        raise fault

    with monkeypatch.context() as patch:
        patch.setattr(HRNetSegmenter, "load_weights", fail)
        with pytest.raises(InvalidInputError, match="cannot be loaded on this machine") as raised:
            load_net(str(run_folder), run)
    assert "damaged" not in str(raised.value)
    load_net(str(run_folder), run)


@pytest.mark.parametrize(
    ("change", "categories"), [({"blocks": 1}, 15), ({"upsample_20m": True}, 15), ({}, 14)]
)
def test_a_checkpoint_of_another_architecture(
    change, categories, run_folder, dataset_folder, tmp_path, capsys
):
    path = tmp_path / "other.keras"
    sizes = {**dataclasses.asdict(WIDTHS["tiny"]), **change}
    HRNetSegmenter(HRNetBackbone(**sizes), categories).save(path)
    message = failure(capsys, "--run", run_folder, "--data", dataset_folder, "--checkpoint", path)
    assert "architecture, --width tiny" in message
    assert f"with {categories} categories" in message


def test_a_checkpoint_of_another_net(run_folder, dataset_folder, tmp_path, capsys):
    path = tmp_path / "dense.keras"
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(path)
    message = failure(capsys, "--run", run_folder, "--data", dataset_folder, "--checkpoint", path)
    assert "Received: a Sequential" in message


def test_a_checkpoint_that_diverged(run_folder, dataset_folder, tmp_path, capsys):
    model = keras.saving.load_model(run_folder / "best.keras", compile=False)
    weights = model.get_weights()
    weights[-1][0] = np.nan
    model.set_weights(weights)
    model.save(tmp_path / "diverged.keras")
    message = failure(
        capsys, "--run", run_folder, "--data", dataset_folder, "--checkpoint", tmp_path / "diverged.keras"
    )
    assert "must hold finite weights" in message


def test_a_checkpoint_whose_logits_are_infinite(run_folder, dataset_folder, tmp_path, capsys):
    """Of finite weights; found in the first batch, before scores are made of it."""
    model = keras.saving.load_model(run_folder / "best.keras", compile=False)
    head = model.get_layer("head")
    kernel, bias = head.get_weights()
    head.set_weights([np.full_like(kernel, 3e38), bias])
    path = tmp_path / "huge.keras"
    model.save(path)
    message = failure(
        capsys,
        *("--run", run_folder, "--data", dataset_folder),
        *("--checkpoint", path, "--output", tmp_path / "scores"),
    )
    assert re.search(
        rf"{path} must answer with finite logits. Received: (-?inf|nan) for cell 11, 2019", message
    )
    assert "give another --checkpoint" in message
    assert not (tmp_path / "scores" / "scores.json").exists()


def test_data_of_another_ontology(run_folder, dataset_folder, tmp_path, capsys):
    data = tmp_path / "data"
    shutil.copytree(dataset_folder, data)
    content = json.loads((data / "dataset.json").read_text())
    labels = content["ontology"]["channels"][0]["labels"]
    labels["vineyard"] = labels.pop("quarry")
    (data / "dataset.json").write_text(json.dumps(content))
    message = failure(capsys, "--run", run_folder, "--data", data)
    assert "quarry (channel 0, value 7), vineyard (channel 0, value 7)" in message


def test_a_dataset_of_labelled_places(run_folder, dataset_folder, tmp_path, capsys):
    folder = shutil.copytree(dataset_folder, tmp_path / "places")
    content = json.loads((folder / "dataset.json").read_text())
    content["grid"] = {"name": "places"}
    (folder / "dataset.json").write_text(json.dumps(content))
    message = failure(capsys, "--run", run_folder, "--data", folder)
    assert "this is one of labelled places, which have a class each" in message
    assert message.endswith(f"Received: {folder}")


def test_a_split_without_examples(run_folder, tmp_path, capsys):
    data = write_dataset(tmp_path / "data", {"training": [made_cell_years([1], [2020])]})
    assert "splits.testing.examples" in failure(capsys, "--run", run_folder, "--data", data)
    message = failure(capsys, "--run", run_folder, "--data", data, "--split", "test")
    assert "training, validation, testing" in message


def test_an_output_that_cannot_be_written(run_folder, dataset_folder, capsys, monkeypatch):
    """Before anything is scored."""
    monkeypatch.setattr(evaluation, "score_split", None)
    message = failure(capsys, "--run", run_folder, "--data", dataset_folder, "--output", __file__)
    assert "--output must be a folder that can be read and written" in message
    assert f"Received: {__file__}" in message


def test_unknown_cells(run_folder, dataset_folder, capsys):
    message = failure(capsys, "--run", run_folder, "--data", dataset_folder, "--cells", "11,1,500")
    assert "Received: 1, 500" in message
    assert evaluate.main(["--run", str(run_folder), "--data", dataset_folder, "--cells", "a,b"]) == 2
    assert "--cells: must be ids of cells, like 11,12. Received: a,b" in capsys.readouterr().err
    assert evaluate.main(["--run", "r", "--data", "d", "--pairs_per_batch", "0"]) == 2


def test_a_disk_that_fails_leaves_no_scores_beside_figures_of_others(dataset_folder, tmp_path, monkeypatch):
    """At each file in turn: a limit of its size less one."""
    command = EvaluateCommand("run", "data", str(tmp_path), "testing", (), "best", None, "tensorflow")
    drawn = itertools.count(1)
    monkeypatch.setattr(evaluation, "panel_figure", draw_nothing)
    monkeypatch.setattr(evaluation, "roc_figure", draw_nothing)
    monkeypatch.setattr(evaluation, "to_png", lambda _: bytes(1000 * next(drawn)))
    scored = SplitScores(ScoreHistogram(load_info(dataset_folder).categories), 0, ())

    def write(mark):
        write_results(command, ScoreReport(scored.histogram), scored, {"mark": mark})

    write("first")
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "roc_of_a_group_that_is_no_more.png").write_bytes(b"")
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    failed = 0
    for limit in range(0, 10_000, 500):
        for name, content in files.items():
            (tmp_path / name).write_bytes(content)
        error = None
        try:
            with no_file_above(limit):
                write("second")
        except Exception as caught:
            error = caught
        if error is not None:
            assert storage_failure(error)
            assert not (tmp_path / "scores.json").exists()
            failed += 1
    assert failed > 5
    write("third")
    assert {path.name for path in tmp_path.iterdir()} == {*FILES, "notes.txt"}
    assert json.loads((tmp_path / "scores.json").read_text()) == {"mark": "third"}


def test_a_full_disk_gets_a_sentence(run_folder, dataset_folder, tmp_path, capsys):
    flags = ["--run", str(run_folder), "--data", dataset_folder, "--output", str(tmp_path / "results")]
    with no_file_above(10):
        assert evaluate.main(flags) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert "File too large" in line


@pytest.mark.slow
@pytest.mark.parametrize("how", ["full", "read-only"])
def test_a_small_disk_gets_a_sentence_and_no_scores(how, run_folder, dataset_folder, tmp_path, capsys):
    with small_disk(tmp_path / "disk", "5m") as disk:
        results = disk.folder / "results"
        flags = ["--run", str(run_folder), "--data", dataset_folder, "--output", str(results)]
        assert evaluate.main(flags) == 0
        for path in results.iterdir():
            path.write_bytes(b"old")  # so that deleting it makes little room
        disk.fail(how)
        capsys.readouterr()
        # A folder that cannot be written to is found before anything is computed.
        assert evaluate.main(flags) == (1 if how == "full" else 2)
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith("error: ")
        assert error.endswith("the same command goes on") == (how == "full")
        if how == "full":
            assert not (results / "scores.json").exists()
        disk.remount("rw,size=50m")
        assert evaluate.main(flags) == 0
        assert {path.name for path in results.iterdir()} == FILES
