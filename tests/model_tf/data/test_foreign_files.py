"""Datasets, runs and nets of strangers: read as data or refused. Nothing in them is run, none of their paths taken."""

import io
import json
import resource
import struct
import sys
import zipfile
import zlib
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from beam_pipeline.records.example import encode
from beam_pipeline.runtime.faults import InvalidInputError
from model_tf.data import info
from model_tf.data.decoding import decode_pair, padding_payload, parse_example
from model_tf.data.info import load_info
from model_tf.evaluation.trained_net import load_net
from model_tf.network.hrnet import build_hrnet
from model_tf.scores.histogram import ScoreHistogram
from model_tf.scores.plots import readable, roc_figure, to_png
from model_tf.scores.report import groups_of
from model_tf.training.run_folder import RunInfo, read_run
from model_tf.training.settings import TrainSettings
from tests.fuzz.foreign import damaged, values
from tests.model_tf.made_dataset import ONTOLOGY, made_cell_years, table_of
from tests.security.test_paths import BAD_NAMES

SETTINGS = TrainSettings(width="tiny", pairs_per_batch=3)
patient = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def run(dataset_folder) -> RunInfo:
    return RunInfo.of(SETTINGS, load_info(dataset_folder))


@pytest.fixture(scope="module")
def net(run, tmp_path_factory) -> bytes:
    """A sound checkpoint."""
    path = tmp_path_factory.mktemp("net") / "sound.keras"
    build_hrnet("tiny", len(run.categories), seed=1).save(path)
    return path.read_bytes()


def changed(net: bytes, path: Path, change) -> Path:
    """Writes a checkpoint whose members `change` has replaced."""
    with zipfile.ZipFile(io.BytesIO(net)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def refusal(path: Path, run: RunInfo) -> str:
    with pytest.raises(InvalidInputError) as raised:
        load_net(str(path.parent), run, str(path))
    assert "--checkpoint" in str(raised.value) or "did not write it" in str(raised.value)
    return str(raised.value)


def test_classes_that_a_checkpoint_names_are_not_looked_for(net, run, tmp_path, monkeypatch) -> None:
    """`load_model` imports the module that a class is said to be of."""
    (tmp_path / "evil_module.py").write_text(f"open({str(tmp_path / 'was_here')!r}, 'w').close()\n")
    monkeypatch.syspath_prepend(tmp_path)

    def change(members):
        config = json.loads(members["config.json"])
        evil = {"module": "evil_module", "class_name": "Evil", "config": {}, "registered_name": None}
        config["build_config"] = config["compile_config"] = evil
        config["module"], config["config"]["backbone"]["module"] = "evil_module", "evil_module"
        config["config"]["backbone"]["registered_name"] = None
        config["config"]["backbone"]["config"]["dtype"] = evil
        members["config.json"] = json.dumps(config).encode()

    path = changed(net, tmp_path / "net.keras", change)
    loaded = load_net(str(tmp_path), run, str(path)).model
    assert "evil_module" not in sys.modules
    assert not (tmp_path / "was_here").exists()
    for mine, theirs in zip(loaded.get_weights(), build_hrnet("tiny", 15, seed=1).get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_code_in_a_checkpoint_is_not_run(run, tmp_path) -> None:
    path = tmp_path / "lambda.keras"
    mark = tmp_path / "was_here"
    inputs = keras.Input((3,))
    keras.Model(
        inputs, keras.layers.Lambda(lambda x, m=str(mark): (open(m, "w").close(), x)[1])(inputs)
    ).save(path)
    mark.unlink(missing_ok=True)
    assert "Received: a Functional" in refusal(path, run)
    assert not mark.exists()


def test_a_checkpoint_that_unpacks_to_more_than_it_is_is_refused(net, run, tmp_path) -> None:
    path = tmp_path / "bomb.keras"
    path.write_bytes(net)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("assets/zeros", bytes(1 << 26))
    assert "would unpack to" in refusal(path, run)


def with_weights(net: bytes, path: Path, change) -> Path:
    def rewrite(members):
        buffer = io.BytesIO(members["model.weights.h5"])
        with h5py.File(buffer, "r+") as weights:
            names: list[str] = []
            weights.visititems(lambda name, it: names.append(name) if isinstance(it, h5py.Dataset) else None)
            name = max(names, key=lambda name: weights[name].size)
            shape, dtype = weights[name].shape, weights[name].dtype
            del weights[name]
            change(weights, name, shape, dtype)
        members["model.weights.h5"] = buffer.getvalue()

    return changed(net, path, rewrite)


def test_weights_that_lie_in_another_file_are_not_read(net, run, tmp_path) -> None:
    secret = tmp_path / "secret"

    def change(weights, name, shape, dtype):
        size = int(np.prod(shape)) * dtype.itemsize
        secret.write_bytes(np.full(shape, 7, dtype).tobytes())
        weights.create_dataset(name, shape, dtype, external=[(str(secret), 0, size)])

    assert "packed or lies elsewhere" in refusal(with_weights(net, tmp_path / "external.keras", change), run)


def test_weights_of_endless_shape_are_refused(net, run, tmp_path) -> None:
    def change(weights, name, shape, dtype):
        weights.create_dataset(name, (1 << 20, 1 << 16), dtype, chunks=(1024, 1024), compression="gzip")

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "packed or lies elsewhere" in refusal(with_weights(net, tmp_path / "shape.keras", change), run)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20  # KiB


@pytest.mark.parametrize("name", BAD_NAMES)
def test_shards_outside_are_not_looked_at(dataset_folder, tmp_path, monkeypatch, name) -> None:
    content = json.loads((Path(dataset_folder) / "dataset.json").read_text())
    content["shards"][0]["name"] = name
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    looked_at: list[str] = []
    monkeypatch.setattr(info, "size", looked_at.append)
    with pytest.raises(InvalidInputError, match=r"shards"):
        load_info(str(tmp_path))
    assert looked_at == []


@pytest.fixture(scope="module")
def content(dataset_folder) -> dict:
    return json.loads((Path(dataset_folder) / "dataset.json").read_text())


@pytest.mark.parametrize(
    "name", ["../../../tmp/x", "/etc/passwd", "a/b", "..", "$\\frac{$", "=1+1", "x" * 99, "ä"]
)
def test_names_of_categories_lead_nowhere(name) -> None:
    ontology = json.loads(json.dumps(ONTOLOGY))
    ontology["channels"][0]["name"] = name
    ontology["channels"][1]["labels"] = {name: 90}
    ontology["channels"][2]["labels"] = {"building": 91}
    groups = groups_of(table_of(ontology))
    keys = [group.key for group in groups]
    assert len({*keys, "all"}) == len(keys) + 1
    assert all(key.isascii() and key.replace("_", "").isalnum() and len(key) < 70 for key in keys)


@pytest.mark.parametrize(
    "name", [r"$\frac{1}{0$", "a $ b", r"$\undefined$", "$$", r"\$", "<b>&amp;", "%s {0}"]
)
def test_names_are_drawn_as_they_stand(name) -> None:
    ontology = json.loads(json.dumps(ONTOLOGY))
    ontology["channels"][1]["labels"] = {name: 90}
    categories = table_of(ontology)
    figure = roc_figure([ScoreHistogram(categories).scores()[name]], name)
    assert to_png(figure).startswith(b"\x89PNG")
    texts = [*figure.axes[0].get_legend().get_texts(), figure.axes[0].title]
    # matplotlib reads an even number of $ that have no \ before them as mathematics.
    assert all(text.get_text().replace(r"\$", "").count("$") == 0 for text in texts)
    assert readable(name) in texts[0].get_text().replace(r"\$", "$").replace(r"\\$", r"\$")


@given(text=st.text())
@patient
def test_text_that_is_no_description(tmp_path: Path, text: str) -> None:
    (tmp_path / "dataset.json").write_text(text, errors="surrogatepass")
    with pytest.raises(InvalidInputError):
        load_info(str(tmp_path))


def test_any_description_is_read_or_refused(content, dataset_folder, tmp_path) -> None:
    short = {key: content[key] for key in ("schema_version", "shards", "splits", "ontology", "bands")}
    for shard in short["shards"]:
        (tmp_path / shard["name"]).hardlink_to(Path(dataset_folder) / shard["name"])

    @given(damaged(short) | values)
    @patient
    def read(description) -> None:
        (tmp_path / "dataset.json").write_text(json.dumps(description))
        try:
            info = load_info(str(tmp_path))
            info.statistics  # noqa: B018
        except InvalidInputError:
            return
        assert all(Path(path).parent == tmp_path for paths in info.shards.values() for path in paths)

    read()


def test_any_settings_of_a_run_are_read_or_refused(run, tmp_path) -> None:
    @given(damaged(run.to_json()) | values)
    @patient
    def read(description) -> None:
        (tmp_path / "settings.json").write_text(json.dumps(description))
        try:
            found = read_run(str(tmp_path))
        except InvalidInputError:
            return
        # What is read says the same once more: nothing of it was made up or lost.
        assert RunInfo.from_json(json.dumps(found.to_json()), "again") == found

    read()


@pytest.mark.parametrize("side", [192, 20_000, 60_000])
def test_a_png_of_another_size_is_not_unpacked(side) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", side, side + 1, 16, 6, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    bomb += chunk(b"IDAT", zlib.compress(bytes(1 << 22))) + chunk(b"IEND", b"")
    stored = dict(parse_example(padding_payload()))
    stored["image_0/gsd_10"] = tf.constant(bomb)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode_pair(stored)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 17  # KiB
    decode_pair(parse_example(encode(made_cell_years((1,), (2020,))[0])))
