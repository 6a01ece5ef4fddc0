"""Outputs that overlap with what is read: the relation of two paths, and the programs that refuse it."""

import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from beam_pipeline.report.settings import ReportSettings
from beam_pipeline.runtime.apart import name_in, require_apart
from beam_pipeline.runtime.faults import InvalidInputError
from model_tf.downstream_tasks.flags import parse_downstream_flags
from model_tf.evaluation.flags import parse_evaluate_flags
from model_tf.training.flags import parse_flags as parse_train_flags

URLS = [
    ("gs://b/a", "gs://b/a", ""),
    ("gs://b/a/", "gs://b/a", ""),
    ("gs://b/a", "gs://b/a/", ""),
    ("gs://b/a/c/d", "gs://b/a", "c/d"),
    ("gs://b/ab", "gs://b/a", None),
    ("gs://b/a", "gs://b/ab", None),
    ("gs://b/a", "gs://b/a/c", None),
    ("gs://b/a", "gs://b", "a"),
    ("gs://ba/a", "gs://b", None),
    ("s3://b/a/c", "gs://b/a", None),
    ("s3://b/a/c", "s3://b/a", "c"),
    # A bucket knows no "..": this is an object of that name.
    ("gs://b/a/../c", "gs://b/c", None),
    ("b/a", "gs://b", None),
]


@pytest.mark.parametrize(("path", "folder", "name"), URLS)
def test_the_name_of_a_url_in_another(path: str, folder: str, name: str | None) -> None:
    assert name_in(path, folder) == name


def test_the_name_of_a_path_is_what_the_system_finds_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file is made under each name; where the folder's own walk finds it, by its inode, it lies in it."""
    (tmp_path / "set/inner").mkdir(parents=True)
    (tmp_path / "settle").mkdir()
    (tmp_path / "link").symlink_to("set")
    (tmp_path / "set/out").symlink_to("../settle")
    monkeypatch.chdir(tmp_path)
    folders = [
        "set",
        "set/",
        "./set",
        "link",
        "link/",
        "settle",
        "set/inner/..",
        f"{tmp_path}/link/../set",
        ".",
    ]
    folders += ["set/out", "link/inner", f"file://{tmp_path}/set"]
    for inner, outer in itertools.product(folders, folders):
        made = os.path.join(inner.removeprefix("file://"), "new")
        Path(made).touch()
        inode = os.stat(made).st_ino
        walked = {
            os.path.relpath(os.path.join(at, name), outer.removeprefix("file://"))
            for at, _, names in os.walk(outer.removeprefix("file://"))
            for name in names
            if os.lstat(os.path.join(at, name)).st_ino == inode
        }
        os.remove(made)
        # Before it is there, and after.
        found = name_in(os.path.join(inner, "new"), outer)
        assert ({found} if found is not None else set()) == walked, (inner, outer)


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("set", "--output is the folder of --dataset, which stays as it is"),
        ("link/", "--output is the folder of --dataset"),
        ("set/out", "--output lies in the folder of --dataset"),
        ("other/../link/a/b", "--output lies in the folder of --dataset"),
        (".", "--output holds --dataset"),
        ("settle", None),
        ("other", None),
    ],
)
def test_an_output_lies_neither_in_nor_around(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, said: str | None
) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "set")
    monkeypatch.chdir(tmp_path)
    read = [("--osm", "gs://b/x.osm.pbf"), ("--dataset", "set")]
    if said is None:
        require_apart(output, read)
        return
    with pytest.raises(InvalidInputError, match=said) as caught:
        require_apart(output, read)
    assert f"Received: {output}" in str(caught.value)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("out/features", None),
        ("out/x.osm.pbf", None),
        ("out/tmp/x.osm.pbf", "--output holds --osm"),
        ("out", "--output is the folder of --osm"),
        (".", "--output lies in the folder of --osm"),
    ],
)
def test_a_dataset_may_hold_its_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, said: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    if said is None:
        require_apart("out", [("--osm", path)], may_hold=True)
        return
    with pytest.raises(InvalidInputError, match=said):
        require_apart("out", [("--osm", path)], may_hold=True)


def _train(data: str, output: str) -> Any:
    return parse_train_flags(["--data", data, "--output", output], "")


def _evaluate(data: str, output: str) -> Any:
    return parse_evaluate_flags(["--data", data, "--run", "run", "--output", output], "")


def _downstream(data: str, output: str) -> Any:
    return parse_downstream_flags(["--patches", data, "--output", output], "")


def _cache(data: str, output: str) -> Any:
    return parse_downstream_flags(["--patches", data, "--output", "elsewhere", "--cache", output], "")


@pytest.mark.parametrize("parse", [_train, _evaluate, _downstream, _cache])
def test_the_nets_programs_write_beside_what_they_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parse: Callable[[str, str], Any]
) -> None:
    (tmp_path / "set").mkdir()
    monkeypatch.chdir(tmp_path)
    for output in ("set", "set/run", "."):
        with pytest.raises(
            InvalidInputError, match=r"--(output|cache) (is|lies in|holds) .*--(data|patches)"
        ):
            parse("set", output)
    parse("set", "settle/run")


def test_results_lie_in_their_run_by_default() -> None:
    assert parse_evaluate_flags(["--data", "set", "--run", "run"], "").output == "run/evaluation"


class _Given:
    examples, read_refused, allow_own_network = 1, False, False

    def __init__(self, output: str | None) -> None:
        self.dataset, self.output = "set", output


@pytest.mark.parametrize("output", [None, "set/pages/mine.html", "page.html", "set/features.html"])
def test_a_report_may_lie_in_the_dataset(output: str | None) -> None:
    assert ReportSettings.of_flags(_Given(output)).output == (output or "set/report.html")


@pytest.mark.parametrize(
    "output",
    ["set/features/r.html", "set/tmp/r.html", "./set/../set/summaries/r.html", "set/opensentinelmap-r.html"],
)
def test_a_report_does_not_lie_among_the_datasets_own_files(output: str) -> None:
    with pytest.raises(InvalidInputError, match="--output lies among the files of the dataset, as "):
        ReportSettings.of_flags(_Given(output))
