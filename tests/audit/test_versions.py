"""Folders of every 1.x are verified, as far as their version is known; those of another major are refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from beam_pipeline.audit.dataset import verify_dataset
from beam_pipeline.audit.findings import Findings
from beam_pipeline.dataset.folder import FINGERPRINT_FILE, LAUNCH_FILE, DatasetFolder
from beam_pipeline.preview import main as preview
from beam_pipeline.records.description import read_description
from beam_pipeline.records.example_proto import Example
from beam_pipeline.records.schema import SCHEMA_VERSION
from beam_pipeline.verify import main
from tests.audit import audited
from tests.audit.audited import FILES, FIRST, edit_json, rewrite

ADDED_TO_SUMMARIES = ("contents", "coastal_cells", "inexact_cells")


def take_away(content: dict[str, Any]) -> None:
    for field in ADDED_TO_SUMMARIES:
        del content[field]


def take_bounds_exact_away(message: Example) -> None:
    del message.features.feature["bounds_exact"]


def add_haze(message: Example) -> None:
    message.features.feature["image_0/haze"].float_list.value.append(0.5)


def describe_more(content: dict[str, Any]) -> None:
    content["haze"] = {"mean": 0.5}
    content["splits"]["training"]["cells_hazy"] = 1
    content["shards"][0]["hazy"] = True


def verified(folder: Path) -> Findings:
    return verify_dataset(DatasetFolder(FILES, str(folder)))


@pytest.fixture(scope="module")
def first_version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 1.0.0."""
    folder = tmp_path_factory.mktemp("first") / "set"
    audited.make_dataset(folder)
    audited.as_version(folder, "1.0.0", take_bounds_exact_away, take_away)
    return folder


@pytest.fixture(scope="module")
def later_version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 1.7.0, which added something to each of its files."""
    folder = tmp_path_factory.mktemp("later") / "set"
    audited.make_dataset(folder)
    audited.as_version(folder, "1.7.0", add_haze, lambda content: content.update(haze=[1]), describe_more)
    edit_json(folder / LAUNCH_FILE, lambda content: content.update(cells_hazy=2))
    (folder / "LICENSES.md").write_text("as it is said then\n")
    return folder


def test_a_folder_of_the_first_version_is_whole(
    first_version: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    findings = verified(first_version)
    assert (dict(findings.kinds), findings.unchecked) == ({}, {})
    assert findings.checked["records"] == len(audited.WRITTEN)
    described = json.loads((first_version / "dataset.json").read_text())
    assert described["schema_version"] == described["fingerprint"]["schema_version"] == "1.0.0"
    assert not {"labelled_cells", "images_by_month"} & {*described}
    assert {"cells_coastal", "cells_inexact"}.isdisjoint(described["splits"]["training"])
    assert "cells_by_split" not in described["labels"][0]
    assert "bounds_exact" not in (first_version / "features.json").read_text()
    assert main([str(first_version)]) == 0
    assert "not checked" not in capsys.readouterr().out


DAMAGE: dict[str, tuple[Callable[[Path], object], set[str]]] = {
    "an example of a later version": (
        lambda folder: rewrite(
            folder,
            FIRST,
            lambda records: [audited.changed(records[0], with_bounds_exact), *records[1:]],
        ),
        {"size", "sha256", "schema", "unaccounted"},
    ),
    "a summary of a later version": (
        lambda folder: edit_json(summary(folder), lambda content: content.update(contents=[])),
        {"summary"},
    ),
    "other pixels": (
        lambda folder: edit_json(
            summary(folder), lambda content: content["label_pixels"][0].update({"0": 1})
        ),
        {"summary", "dataset"},
    ),
    "a description of a later version": (
        lambda folder: edit_json(
            folder / "dataset.json", lambda content: content.update(images_by_month={}, labelled_cells={})
        ),
        {"dataset"},
    ),
    "another version in the description": (
        lambda folder: edit_json(
            folder / "dataset.json", lambda content: content.update(schema_version=SCHEMA_VERSION)
        ),
        {"dataset"},
    ),
    "another version in the plan": (
        lambda folder: edit_json(
            folder / FINGERPRINT_FILE, lambda content: content.update(schema_version=SCHEMA_VERSION)
        ),
        {"other_fingerprint", "ontology", "schema", "unaccounted", "summary", "dataset", "sidecar"},
    ),
}


def summary(folder: Path) -> Path:
    return folder / "summaries" / f"{FIRST}.summary.json"


def with_bounds_exact(message: Example) -> None:
    message.features.feature["bounds_exact"].int64_list.value.append(1)


@pytest.mark.parametrize("name", DAMAGE)
def test_its_damage_is_found(first_version: Path, tmp_path: Path, name: str) -> None:
    folder = Path(shutil.copytree(first_version, tmp_path / "set"))
    damage, kinds = DAMAGE[name]
    damage(folder)
    findings = verified(folder)
    assert set(findings.kinds) == kinds, findings.table()


def test_of_a_later_version_is_said_what_was_not_checked(
    later_version: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(later_version)]) == 0
    said = capsys.readouterr().out.partition("not checked, as a later version of this program wrote it:\n")[2]
    assert [line.strip().partition(": ")[0] for line in said.splitlines()] == [
        "summaries",
        "LICENSES.md",
        "plan/launch.json",
        "dataset.json",
    ]
    assert "dataset.json: haze, shards[0].hazy, splits.training.cells_hazy" in said
    assert "plan/launch.json: cells_hazy" in said


@pytest.mark.parametrize(
    ("file", "edit", "kinds"),
    [
        (
            f"summaries/{FIRST}.summary.json",
            lambda content: content["contents"][0]["images"].pop(),
            {"summary", "dataset"},
        ),
        (
            f"summaries/{FIRST}.summary.json",
            lambda content: content["bands"]["B02"].update(total=1),
            {"summary", "dataset"},
        ),
        ("dataset.json", lambda content: content["labelled_cells"]["edges_percent"].pop(), {"dataset"}),
        ("dataset.json", lambda content: content.pop("images_by_month"), {"dataset"}),
        ("dataset.json", lambda content: content["splits"]["training"].update(cells=1), {"dataset"}),
    ],
)
def test_what_is_known_of_a_later_version_is_checked(
    later_version: Path, tmp_path: Path, file: str, edit: Callable[[dict], object], kinds: set[str]
) -> None:
    folder = Path(shutil.copytree(later_version, tmp_path / "set"))
    edit_json(folder / file, edit)
    assert set(verified(folder).kinds) == kinds


@pytest.mark.parametrize("name", ["first_version", "later_version"])
def test_any_1_x_is_shown_and_described(
    name: str, tmp_path: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = request.getfixturevalue(name)
    output = tmp_path / "sheet.png"
    assert preview([str(folder), "--output", str(output), "--rows", "2"]) == 0, capsys.readouterr().err
    assert output.stat().st_size > 1000
    assert len(read_description(FILES, str(folder)).shards) == 3


@pytest.mark.parametrize("version", ["2.0.0", "0.9.0"])
def test_another_major_is_refused_and_both_are_named(
    first_version: Path, tmp_path: Path, version: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(first_version, tmp_path / "set"))
    edit_json(folder / FINGERPRINT_FILE, lambda content: content.update(schema_version=version))
    edit_json(folder / "dataset.json", lambda content: content.update(schema_version=version))
    for program in (main, preview):
        assert program([str(folder)]) == 2
        said = " ".join(capsys.readouterr().err.split())
        assert f"schema_version must be 1.x.x, which is what this program, of {SCHEMA_VERSION}, reads" in said
        assert f"Received: '{version}'" in said
