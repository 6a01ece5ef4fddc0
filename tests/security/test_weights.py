"""Runs and nets of a stranger: regular files, and weights that cost what they weigh."""

import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from beam_pipeline.runtime.faults import InvalidInputError
from model_tf.data.info import load_info
from model_tf.data.storage import write_bytes
from model_tf.evaluation.evaluate import evaluate
from model_tf.evaluation.flags import EvaluateCommand
from model_tf.network.archive import WEIGHTS_FILE, open_archive
from model_tf.network.hrnet import build_hrnet
from model_tf.network.saved_weights import fill_in_weights
from model_tf.training.run_folder import RunInfo, claim, read_run, tidy
from model_tf.training.settings import TrainSettings
from tests.model_tf.conftest import cell_years as cell_years
from tests.model_tf.conftest import dataset_folder as dataset_folder

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = TrainSettings(width="tiny", pairs_per_batch=3)
PATIENCE_S = 120


@pytest.fixture(scope="module")
def run(dataset_folder: str) -> RunInfo:
    return RunInfo.of(SETTINGS, load_info(dataset_folder))


@pytest.fixture(scope="module")
def model() -> keras.Model:
    net = build_hrnet("tiny", 15, seed=1)
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    net.compile(optimizer=optimizer, loss="mse")
    optimizer.build(net.trainable_variables)
    return net


@pytest.fixture(scope="module")
def members(model: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    path = tmp_path_factory.mktemp("net") / "sound.keras"
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(members: dict[str, bytes], **options: Any) -> io.BytesIO:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **options) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer


def refusal(members: dict[str, bytes], model: keras.Model, change: Callable[[h5py.File], None]) -> str:
    """Changes the weights and returns why they are refused; none is read."""
    buffer = io.BytesIO(members[WEIGHTS_FILE])
    with h5py.File(buffer, "r+") as weights:
        change(weights)
    before = model.get_weights()
    with (
        pytest.raises(zipfile.BadZipFile) as raised,
        open_archive(packed({**members, WEIGHTS_FILE: buffer.getvalue()})) as archive,
    ):
        fill_in_weights(archive, model)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    return str(raised.value)


NAME = "layers/conv2d/vars/0"


def replaced(weights: h5py.File, **options: Any) -> None:
    shape, dtype = options.pop("shape", weights[NAME].shape), options.pop("dtype", weights[NAME].dtype)
    del weights[NAME]
    weights.create_dataset(NAME, shape, dtype, **options)


def virtual(weights: h5py.File) -> None:
    layout = h5py.VirtualLayout(weights[NAME].shape, weights[NAME].dtype)
    layout[...] = h5py.VirtualSource("/etc/passwd", "x", weights[NAME].shape)
    del weights[NAME]
    weights.create_virtual_dataset(NAME, layout)


def linked(weights: h5py.File) -> None:
    del weights[NAME]
    weights[NAME] = h5py.ExternalLink("/etc/passwd", "/x")


def cyclic(weights: h5py.File) -> None:
    weights["layers/again"] = weights["layers"]


def soft(weights: h5py.File) -> None:
    del weights[NAME]
    weights[NAME] = h5py.SoftLink("/layers/conv2d/vars/1")


CHANGES: dict[str, tuple[Callable[[h5py.File], None], str]] = {
    "packed": (lambda it: replaced(it, chunks=True, compression="gzip"), "packed or lies elsewhere"),
    "never written": (lambda it: replaced(it, shape=(1 << 30,)), "packed or lies elsewhere"),
    "huge": (lambda it: replaced(it, shape=(1 << 31, 1 << 20), chunks=(1, 1 << 10)), "packed or lies"),
    "in another file": (lambda it: replaced(it, external=[("/etc/passwd", 0, 1 << 20)]), "lies elsewhere"),
    "of other files": (virtual, "packed or lies elsewhere"),
    "a link outside": (linked, f"{NAME} is a link"),
    "a soft link": (soft, f"{NAME} is a link"),
    "a group in itself": (cyclic, "has two names"),
    "another shape": (lambda it: replaced(it, shape=(2, 2), data=np.zeros((2, 2), "f4")), "of another net"),
    "another dtype": (
        lambda it: replaced(it, dtype="f8", data=np.zeros(it[NAME].shape, "f8")),
        "of another net: it has 1 of ",
    ),
    "one more": (
        lambda it: it.create_dataset("layers/more/vars/0", data=np.zeros(9, "f4")),
        "of another net",
    ),
    "one less": (lambda it: it.__delitem__(NAME), "of another net: the net has "),
    "no numbers": (lambda it: replaced(it, dtype=h5py.string_dtype(), shape=(1,)), "lies elsewhere"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_weights_are_compared_before_they_are_read(
    model: keras.Model, members: dict[str, bytes], change: str
) -> None:
    forge, said = CHANGES[change]
    assert said in refusal(members, model, forge)


def test_what_keras_wrote_is_read(model: keras.Model, members: dict[str, bytes]) -> None:
    with open_archive(packed(members)) as archive:
        fill_in_weights(archive, model)
        fill_in_weights(archive, build_hrnet("tiny", 15))  # leaves the optimizer's where they are


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        ({}, {"compression": zipfile.ZIP_DEFLATED}, "Keras packs nothing"),
        ({"../../evil": b""} | {f"assets/{n}": b"" for n in range(9)}, {}, "it holds 13 files"),
        ({"config.json": bytes(1 << 21)}, {}, "config.json has 2097152 bytes"),
    ],
)
def test_members_are_sized_first(
    members: dict[str, bytes], change: dict[str, bytes], options: dict[str, Any], said: str
) -> None:
    with pytest.raises(zipfile.BadZipFile, match=said):
        open_archive(packed({**members, **change}, **options))


def test_room_between_the_members_is_refused(members: dict[str, bytes]) -> None:
    hole = io.BytesIO(bytes(1 << 20) + packed(members).getvalue())
    with pytest.raises(zipfile.BadZipFile, match=r"bytes, and .* in its files"):
        open_archive(hole)


def test_weights_larger_than_the_net_are_not_unpacked(model: keras.Model, members: dict[str, bytes]) -> None:
    large = {**members, WEIGHTS_FILE: members[WEIGHTS_FILE] + bytes(1 << 23)}
    with (
        pytest.raises(zipfile.BadZipFile, match="those of the net"),
        open_archive(packed(large)) as archive,
    ):
        fill_in_weights(archive, model)


def command(run: Path, data: str, output: Path) -> EvaluateCommand:
    return EvaluateCommand(str(run), data, str(output), "testing", (), "best", None, "tensorflow")


def test_nothing_strange_is_opened(run: RunInfo, dataset_folder: str, tmp_path: Path) -> None:
    """In place of each file that train and evaluate read: a pipe would hang, a link lead elsewhere."""
    program = f"""
import os, shutil
from model_tf.data.info import load_info
from model_tf.data.storage import write_bytes
from model_tf.evaluation.trained_net import load_net
from model_tf.training.checkpoints import load_last
from model_tf.training.run_folder import read_run
from beam_pipeline.runtime.faults import Fault, InvalidInputError
import pathlib
tmp = pathlib.Path({str(tmp_path)!r})
data = pathlib.Path(shutil.copytree({dataset_folder!r}, tmp / "set"))
shard = next(data.glob("*training*")).name
def pipe(path): os.mkfifo(path)
def link(path): path.symlink_to("/dev/zero")
for put in (pipe, link):
    for name, read in {{
        "settings.json": read_run,
        "best.keras": lambda folder: load_net(folder, None, "best"),
        "last.keras": lambda folder: load_last(None, folder),
        "dataset.json": load_info,
        shard: load_info,
    }}.items():
        folder = tmp / put.__name__ / name
        if read is load_info:
            shutil.copytree(data, folder)
            (folder / name).unlink()
        else:
            folder.mkdir(parents=True)
        put(folder / name)
        try:
            read(str(folder))
        except (InvalidInputError, Fault) as error:
            print("REFUSED", name, error, flush=True)
"""
    env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True, text=True, cwd=ROOT, timeout=PATIENCE_S, check=False, env=env,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("REFUSED")]
    assert len(lines) == 10, done.stdout
    assert all(" is a pipe. " in line for line in lines[:5])
    assert all(" is a link. " in line for line in lines[5:])


@pytest.mark.parametrize("name", ["tensorboard", "tmp"])
def test_a_run_is_not_written_through_a_folder_that_is_a_link(
    run: RunInfo, tmp_path: Path, name: str
) -> None:
    folder, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    (folder / name).symlink_to(elsewhere)
    with pytest.raises(InvalidInputError, match=rf"{name} is a link\. "):
        claim(str(folder), run)
    assert list(elsewhere.iterdir()) == []
    assert [path.name for path in folder.iterdir()] == [name]


def test_a_file_of_a_run_is_not_written_through_a_link(run: RunInfo, tmp_path: Path) -> None:
    folder, secret = tmp_path / "run", tmp_path / "secret"
    folder.mkdir()
    (folder / "settings.json").symlink_to(secret)  # which is not there: it would be made
    with pytest.raises(InvalidInputError, match=r"settings\.json is a link"):
        claim(str(folder), run)
    assert not secret.exists()


def test_results_go_through_no_link(run: RunInfo, dataset_folder: str, tmp_path: Path) -> None:
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "run"
    elsewhere.mkdir()
    folder.mkdir()
    (folder / "settings.json").write_text(json.dumps(run.to_json()))
    (folder / "evaluation").symlink_to(elsewhere)
    with pytest.raises(InvalidInputError, match="evaluation is a link"):
        evaluate(command(folder, dataset_folder, folder / "evaluation"))
    assert read_run(str(folder)) == run


def test_scores_replace_a_link(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("mine")
    (tmp_path / "scores.json").symlink_to(secret)
    write_bytes(str(tmp_path / "scores.json"), b"{}")
    assert secret.read_text() == "mine"
    assert (tmp_path / "scores.json").read_bytes() == b"{}"


def test_what_killed_attempts_left_is_tidied(tmp_path: Path) -> None:
    (tmp_path / f".{'0a' * 16}.part").write_text("half")
    (tmp_path / "mine.part").write_text("whole")
    tidy(str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.part"]
