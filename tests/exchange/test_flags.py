"""Flags of the export: a format may have its own, and says what it needs before anything is launched."""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import pytest

from beam_pipeline.exchange.registry import FORMATS
from beam_pipeline.exchange.source import SourceDataset
from beam_pipeline.jobs.export.options import parse_export_flags
from beam_pipeline.jobs.export.run import check_export, check_flags, export_dataset
from beam_pipeline.runtime.faults import InvalidInputError
from tests.exchange.test_frame import Ids


@dataclasses.dataclass(frozen=True)
class Flagged(Ids):
    """A format with a flag."""

    name = "flagged"

    @classmethod
    def add_flags(cls, group: argparse._ArgumentGroup) -> None:
        group.add_argument("--prefix")

    @classmethod
    def from_flags(cls, given: argparse.Namespace) -> "Flagged":
        return cls(given.prefix or "none")

    def check(self, source: SourceDataset) -> None:
        if self.prefix == "unfit":
            raise InvalidInputError("unfit for this dataset")


@dataclasses.dataclass(frozen=True)
class Failing(Ids):
    """A format that fails at one shard."""

    name = "failing"

    def write_shard(self, source: Any, shard: Any, examples: Any, output: Any) -> Any:
        if shard.split == "testing":
            raise ValueError("a mistake of ours")
        return super().write_shard(source, shard, examples, output)


@pytest.fixture(autouse=True)
def formats(monkeypatch: pytest.MonkeyPatch) -> None:
    for one in (Ids, Flagged, Failing):
        monkeypatch.setitem(FORMATS, one.name, one)


def argv(dataset: Path, output: Path, *more: str) -> list[str]:
    return [f"--dataset={dataset}", f"--output={output}", "--processes=1", *more]


def test_a_flag_of_a_format_is_a_setting(dataset: Path, tmp_path: Path) -> None:
    given, _ = parse_export_flags(argv(dataset, tmp_path / "out", "--format=flagged", "--prefix=a"))
    checked = check_export(given)
    assert checked.settings.format == Flagged("a")
    assert checked.settings.content["format.prefix"] == "a"
    with pytest.raises(InvalidInputError, match="--prefix is a flag of the format flagged"):
        parse_export_flags(argv(dataset, tmp_path / "out", "--format=ids", "--prefix=a"))


def test_a_format_refuses_what_it_cannot_hold(dataset: Path, tmp_path: Path) -> None:
    given, _ = parse_export_flags(argv(dataset, tmp_path / "out", "--format=flagged", "--prefix=unfit"))
    with pytest.raises(InvalidInputError, match="unfit"):
        check_export(given)


def test_a_package_that_is_missing_is_named(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ids, "packages", (("no_such_package", "--format ids", "plots"),))
    with pytest.raises(InvalidInputError, match=r"--format ids needs the package no_such_package.*plots"):
        check_flags(*parse_export_flags(argv(dataset, tmp_path / "out", "--format=ids")))


@pytest.mark.parametrize("missing", ["dataset", "format", "output"])
def test_what_is_missing_is_named(missing: str, tmp_path: Path) -> None:
    given = [it for it in argv(tmp_path, tmp_path, "--format=ids") if not it.startswith(f"--{missing}")]
    with pytest.raises(InvalidInputError, match=f"--{missing} is missing"):
        parse_export_flags(given)


def test_a_mistake_in_a_format_costs_its_shard(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    assert export_dataset(*parse_export_flags(argv(dataset, output, "--format=failing"))) == 1
    assert "DEAD LETTERS: unexpected 1" in capsys.readouterr().out
    assert "ValueError: a mistake of ours" in (output / "export/dead_letters.jsonl").read_text()
    assert [it.name for it in sorted(output.glob("[0-9].txt"))] == ["1.txt", "2.txt", "3.txt"]
