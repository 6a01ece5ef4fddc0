"""The command line: tables, figures, licences, and what bad input gets."""

import csv
import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from model_tf import downstream
from model_tf.downstream_tasks import flags, head, run, scoring, tasks
from model_tf.downstream_tasks.splits import Column
from model_tf.evaluation import trained_net
from model_tf.network import hrnet
from model_tf.network.hrnet import Architecture
from model_tf.training.run_folder import read_run
from tests.model_tf.downstream_tasks.made_tiles import made_dn, write_tile, write_tiles
from tests.model_tf.evaluation.test_evaluate import write_run
from tests.shared_data import shared

FIGURES = ("cmc.png", "confusion.png", "embeddings.png")
FILES = {"table1.md", "table1.csv", "table1.json", "topk.csv", "LICENSES.md", *FIGURES}
CLASSES = ("field", "town", "wood")


@pytest.fixture(scope="module", autouse=True)
def small_nets():
    """Makes `tiny` as small as there can be: most of a short run's time is the tracing of its nets."""
    small = {"tiny": Architecture((2, 4, 8), stem_width=2, bottlenecks=0, modules=(1, 1), blocks=0)}
    with pytest.MonkeyPatch.context() as patch:
        for module in (hrnet, trained_net):
            patch.setattr(module, "WIDTHS", small)
        yield


@pytest.fixture(scope="module")
def tiles(tmp_path_factory) -> Path:
    """Read only."""
    return write_tiles(tmp_path_factory.mktemp("tiles"), 6, CLASSES)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory, dataset_folder) -> Path:
    """Read only."""
    return write_run(tmp_path_factory.mktemp("runs") / "run", dataset_folder)


@pytest.fixture(scope="module")
def results(tiles, run_folder, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("results") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(head, "LEAST_STEPS", 3)
        assert downstream.main(command(tiles, output, "--run", str(run_folder))) == 0
    return output


def command(tiles: Path, output: Path, *more: str) -> list[str]:
    """Columns of which one is empty, two seeds, everything small."""
    given = ["--task", "classes", "--columns", "2,6", "--seeds", "2", "--head_seeds", "1"]
    given += ["--grid", "4", "--width", "tiny"]
    return ["--patches", str(tiles), "--output", str(output), *given, *more]


def test_random_weights_are_of_the_runs_own_net(dataset_folder, tmp_path):
    folder = write_run(tmp_path / "run", dataset_folder)
    content = json.loads((folder / "settings.json").read_text())
    content["settings"]["upsample_20m"] = True
    (folder / "settings.json").write_text(json.dumps(content))
    hrnet.build_hrnet("tiny", len(content["categories"]["names"]), upsample_20m=True).save(
        folder / "best.keras"
    )
    given = flags.parse_downstream_flags(
        command(tmp_path / "tiles", tmp_path / "out", "--run", str(folder)), ""
    )
    frozen, origin = run._encoders(given, read_run(str(folder)))
    assert [*origin] == ["trained encoder", "random weights (tiny, 20 m bands upsampled)"]
    assert [one.net.get_layer("stem10_1_conv").kernel.shape[2] for one in frozen] == [10, 10]


def no_figures(*_: object) -> dict[str, bytes]:
    return {}


def failure(capsys, *argv: object) -> str:
    """The message of a command that must end with 2."""
    assert downstream.main([str(word) for word in argv]) == 2
    return capsys.readouterr().err.splitlines()[-1]


def table(results: Path) -> dict:
    return json.loads((results / "table1.json").read_text())


def test_published_splits_are_refused_where_patches_bring_none(tiles, tmp_path, capsys):
    said = failure(capsys, *command(tiles, tmp_path / "out", "--splits=published"))
    assert "--splits published takes patches that bring their splits" in said


def test_it_writes_tables_figures_and_licences(results):
    assert {path.name for path in results.iterdir()} == {*FILES, "cache", "fits.jsonl"}
    for name in FILES:
        if name.endswith(".png"):
            with PillowImage.open(results / name) as image:
                assert min(image.size) > 300
                assert np.ptp(np.asarray(image.convert("L"))) > 150


def test_every_place_in_the_table_is_there_or_has_its_reason(results):
    content = table(results)
    names = ["trained encoder", "random weights (tiny)", "raw reflectance", "image statistics"]
    places = {(it["features"], it["method"], it["split"], it["column"]) for it in content["scores"]}
    methods = {
        name: {*scoring.METHOD_NAMES.values()} - ({"CNN head"} if "image" in name else set())
        for name in names
    }
    assert places == {
        (name, method, kind, "2")
        for name in names
        for method in methods[name]
        for kind in ("random", "spatial")
    }
    assert [(it["split"], it["column"]) for it in content["empty_columns"]] == [
        ("random", "6"),
        ("spatial", "6"),
    ]
    reasons = [it["reason"] for it in content["empty_columns"]]
    assert "field has 6 patches, 6 of 6 for training and 0 for testing" in reasons[0]
    assert "field has 6 patches, 5 of 6 for training and 1 for testing" in reasons[1]  # a block is kept
    for score in content["scores"]:
        assert score["seeds"] == (1 if score["method"] == "CNN head" else 2)
        assert np.sum(score["confusion"]) == sum(score["test_patches"])
        assert score["top1_percent"] == pytest.approx(
            100 * np.trace(np.array(score["confusion"])) / np.sum(score["confusion"])
        )
        if score["method"] != "kNN, k = 5":
            assert score["top_k_percent"][0] == pytest.approx(score["top1_percent"])
            assert score["top_k_percent"][-1] == pytest.approx(100)
    # Classes that differ in brightness throughout are told apart by it.
    best = {it["top1_percent"] for it in content["scores"] if it["features"] == "image statistics"}
    assert min(best) == 100


def test_the_level_stands_wherever_a_score_does(results):
    assert {it["level"] for it in table(results)["scores"]} == {"L1C"}
    assert "(L1C)" in (results / "table1.md").read_text().splitlines()[0]
    for name in ("table1.csv", "topk.csv"):
        with (results / name).open() as file:
            assert {row["level"] for row in csv.DictReader(file) if row.get("origin") != "quoted"} == {"L1C"}


def test_the_three_tables_agree(results):
    content = table(results)
    with (results / "table1.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["top1_percent"]]
    assert len(rows) == len(content["scores"])
    text = (results / "table1.md").read_text()
    for row, score in zip(rows, content["scores"], strict=True):
        assert float(row["top1_percent"]) == pytest.approx(score["top1_percent"], abs=0.006)
        assert f"{score['top1_percent']:.1f}" in text


def test_it_says_where_its_numbers_are_from(results, run_folder):
    content = table(results)
    assert content["encoders"]["trained encoder"]["path"] == str(run_folder / "best.keras")
    assert content["run"]["settings"]["width"] == "tiny"
    assert content["statistics"] == "patches"  # L1C, which the run's are not of
    assert content["patches"]["classes"] == dict.fromkeys(CLASSES, 6)
    assert all(0.20e6 <= weights <= 0.26e6 for weights in content["head_weights"].values())
    licences = (results / "LICENSES.md").read_text()
    for said in (
        "whose owner says",
        "modified Copernicus Sentinel data",
        "Level-1C",
        "OpenStreetMap",
        "ODbL",
    ):
        assert said in licences
    beside = [path.read_text() for path in (results / "cache").glob("*/LICENSES.md")]
    assert sorted("OpenStreetMap" in text for text in beside) == [False, False, True]
    assert all("whose owner says" in text for text in beside)


@pytest.mark.slow
def test_it_goes_on_where_it_ended(tiles, run_folder, results, tmp_path, monkeypatch, capsys):
    """A disk that fails after scoring: embeddings and fits are kept, and the same command ends as another did."""

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path))

    monkeypatch.setattr(run, "_figures", no_figures)
    given = command(tiles, tmp_path / "out", "--methods", "knn", "--run", str(run_folder))
    with monkeypatch.context() as patch:
        patch.setattr(run, "table_md", fail)
        assert downstream.main(given) == 1
    assert "the same command goes on" in capsys.readouterr().err
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "cache").rglob("*.npy")}
    assert len(kept) == 6
    (tmp_path / "out" / "cmc.png").write_bytes(b"of an earlier command")
    with monkeypatch.context() as patch:
        patch.setattr(scoring, "_fit", fail)  # nothing is fitted again
        assert downstream.main(given) == 0
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    theirs = [score for score in table(results)["scores"] if score["method"] == "kNN, k = 5"]
    assert table(tmp_path / "out")["scores"] == theirs
    assert not (tmp_path / "out" / "cmc.png").exists()


@pytest.mark.slow
def test_without_a_run_there_are_random_weights_alone(tiles, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "_figures", no_figures)
    more = ["--methods", "knn", "--columns", "1", "--norms", "patches"]
    given = command(tiles, tmp_path, *more)
    assert downstream.main(given) == 0
    content = table(tmp_path)
    assert (content["run"], [*content["encoders"]]) == (None, ["random weights (tiny)"])
    names = ["random weights (tiny), norm over patches", "raw reflectance", "image statistics"]
    assert [*dict.fromkeys(score["features"] for score in content["scores"])] == names
    assert "OpenStreetMap" not in (tmp_path / "LICENSES.md").read_text()


def test_bad_input_is_refused_before_anything_is_written(tiles, run_folder, tmp_path, capsys):
    output = tmp_path / "out"
    given = command(tiles, output)
    (tmp_path / "empty").mkdir()
    no_net = tmp_path / "no_net"
    no_net.mkdir()
    (no_net / "settings.json").write_bytes((run_folder / "settings.json").read_bytes())
    cases = {
        "--grid must divide 64": ["--grid", "7"],
        "--grid must be at least 4 for the CNN head": ["--grid", "2"],
        "Received: 6, 7/93; field has 6 patches, 6 of 6": ["--columns", "6,7/93"],
        "There is no .*settings.json": ["--run", tmp_path / "empty"],
        "holds no checkpoint yet": ["--run", no_net],
        "must be a folder on this machine": ["--patches", tmp_path / "none"],
        "without AnnualCrop": ["--task", "eurosat"],
        "must be like 5 or 10/90. Received: 10/80": ["--columns", "10/80"],
        "each once. Received: 5,5": ["--columns", "5,5"],
        "must be of cnn, knn, linear. Received: svm": ["--methods", "svm"],
        "--head_seeds must be at most --seeds": ["--head_seeds", "3"],
        "--statistics run needs --run": ["--statistics", "run"],
        "--output must be on this machine": ["--output", "gs://bucket/out"],
        "--output lies in the folder of --patches": ["--output", tiles / "out"],
        "--cache lies in the folder of --patches": ["--cache", tiles / "town" / ".." / "cache"],
        "--seeds must be at least 1": ["--seeds", "0", "--head_seeds", "1"],
    }
    for said, more in cases.items():
        message = failure(capsys, *given, *more)
        assert all(part in message for part in said.split(".*")), message
    assert not output.exists()


@pytest.mark.parametrize(
    ("band", "moments", "said"),
    [
        ("B8A", None, "statistics.B8A.mean must be a number. Received: None"),
        ("B11", {"mean": 0.2}, "statistics.B11.variance must be a number above 0. Received: None"),
        ("B02", {"mean": "0.1", "variance": 0.1}, "statistics.B02.mean"),
        (
            "B02",
            {"mean": 700.0, "variance": 1e-9},
            "statistics.B02 must have a mean and a variance that images",
        ),
    ],
)
def test_a_run_with_statistics_of_other_bands_is_refused(
    band, moments, said, tiles, run_folder, tmp_path, capsys
):
    settings = json.loads((run_folder / "settings.json").read_text())
    del settings["statistics"][band]
    settings["statistics"] |= {"B01": {"mean": 0.1, "variance": 0.1}} if moments is None else {band: moments}
    path = tmp_path / "run" / "settings.json"
    path.parent.mkdir()
    path.write_text(json.dumps(settings))
    message = failure(capsys, *command(tiles, tmp_path / "out", "--run", str(path.parent)))
    assert str(path) in message
    assert said in message
    assert not (tmp_path / "out").exists()


def test_a_damaged_tile_is_named(tmp_path, capsys):
    folder = write_tiles(tmp_path / "tiles", 2, CLASSES)
    write_tile(folder / "town" / "town_2.tif", made_dn(1, 2)[:10])
    message = failure(capsys, *command(folder, tmp_path / "out"))
    assert "town_2.tif is no EuroSAT tile as published: count must be 13 bands. Received: 10" in message


def test_the_flags_name_what_there_is():
    assert {*flags.TASK_NAMES} == {*tasks.TASKS}
    assert flags.METHOD_FLAGS == scoring.METHODS
    assert [Column.of(name).name for name in flags.COLUMNS.split(",")] == [*tasks.COUNTS, *tasks.SHARES]


def test_the_papers_rows_are_as_quoted():
    rows = {row.name: row.scores for row in tasks.PAPER_ROWS}
    assert [len(row) for row in rows.values()] == [9, 9, 13]
    assert (rows["ResNet-50"]["10/90"], rows["GoogLeNet"]["90/10"], rows["paper"]["1"]) == (
        75.06,
        96.17,
        57.56,
    )


@pytest.mark.slow
def test_real_tiles_are_told_apart_by_their_statistics(tmp_path, monkeypatch):
    """20 real tiles a class, and rows of the paper that say that they are quoted."""
    monkeypatch.setattr(run, "_figures", no_figures)
    given = ["--patches", str(shared("eurosat_ms_l1c")), "--output", str(tmp_path), "--width", "tiny"]
    assert downstream.main([*given, "--columns", "10", "--methods", "linear", "--seeds", "2"]) == 0
    content = table(tmp_path)
    (of_statistics,) = (
        it for it in content["scores"] if (it["features"], it["split"]) == ("image statistics", "random")
    )
    assert of_statistics["top1_percent"] > 60
    text = (tmp_path / "table1.md").read_text()
    assert "| paper (*quoted*, L2A) |  | *81.66* |" in text
    assert "Level-1C" in (tmp_path / "LICENSES.md").read_text()
