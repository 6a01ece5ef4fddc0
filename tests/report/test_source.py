"""Damage and other versions: a report names what it cannot use, or refuses the dataset."""

from collections.abc import Callable
from pathlib import Path

import pytest

from beam_pipeline.dataset.folder import DATASET_FILE, UNITS_FILE, DatasetFolder, summary_name
from beam_pipeline.make_report import main
from beam_pipeline.records.schema import SCHEMA_VERSION
from beam_pipeline.records.shards import record_places
from beam_pipeline.report.gallery import read_picks
from beam_pipeline.report.source import count_units, open_source
from beam_pipeline.report.statistics import Statistics
from beam_pipeline.runtime.disk import Disk
from tests.audit.audited import FIRST, SECOND, TESTING, as_version, edit_json
from tests.report.conftest import edit_summary


def counted(folder: Path) -> Statistics:
    source = open_source(DatasetFolder(Disk(), str(folder)))
    return count_units(source.counter(9), source.units(), lambda: None)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.write_text(""), "cannot be read"),
        (lambda path: path.write_bytes(path.read_bytes()[:100]), "cannot be read"),
        (lambda path: path.write_text("[" * 100_000), "cannot be read"),
        (lambda path: path.write_text("{}"), "cannot be read: name: Field required"),
        (lambda path: path.write_bytes(b"\xff"), "cannot be read"),
        (lambda path: path.unlink(), "No such file"),
        (lambda path: path.write_text(path.with_name(f"{TESTING}.summary.json").read_text()), f"is of {TESTING}"),
    ],
)  # fmt: skip
def test_a_broken_summary_is_named_and_the_rest_goes_on(
    folder: Path, damage: Callable[[Path], object], said: str
) -> None:
    damage(folder / summary_name(FIRST))
    statistics = counted(folder)
    ((name, problem),) = statistics.problems
    assert name == FIRST
    assert said in problem
    assert statistics.total["units_unreadable"] == 1
    assert statistics.cells().cell_id.tolist() == [3, 4, 5]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"fingerprint": "0" * 64}, "was made with other settings"),
        ({"sha256": "0" * 64}, "is of a shard that dataset.json does not list"),
        ({"split": "testing"}, f"is of {FIRST}, testing"),
        ({"contents": 3}, "cannot be read: contents"),
        ({"label_pixels": [{"0": -1}, {}, {}], "images": "5"}, "cannot be read: images"),
    ],
)
def test_a_summary_of_something_else_is_named(folder: Path, fields: dict[str, object], said: str) -> None:
    edit_summary(folder, FIRST, lambda it: it.update(fields))
    ((_, problem),) = counted(folder).problems
    assert said in problem


def test_cells_must_be_planned_and_come_once(folder: Path) -> None:
    edit_summary(folder, FIRST, lambda it: it["contents"][0].update(cell_id=99))
    edit_summary(folder, SECOND, lambda it: it["contents"][0].update(it["contents"][1]))
    problems = [problem for _, problem in counted(folder).problems]
    assert problems == ["has cells that are not planned, or one twice"] * 2


def test_a_unit_that_nobody_reached_is_no_problem(folder: Path) -> None:
    def forget(described: dict) -> None:
        described["shards"] = [it for it in described["shards"] if it["name"] != FIRST]

    edit_json(folder / DATASET_FILE, forget)
    (folder / summary_name(FIRST)).unlink()
    statistics = counted(folder)
    assert statistics.problems == []
    assert statistics.total["units_missing"] == 1


def test_a_damaged_shard_costs_its_examples_only(folder: Path) -> None:
    statistics = counted(folder)
    assert {pick.unit for pick in statistics.picks} == {FIRST, SECOND, TESTING}
    content = bytearray((folder / FIRST).read_bytes())
    with (folder / FIRST).open("rb") as file:
        for place in record_places(file, FIRST):
            content[place.payload + 1000] ^= 1
    (folder / FIRST).write_bytes(content)
    (folder / TESTING).unlink()
    examples, problems = read_picks(DatasetFolder(Disk(), str(folder)), statistics.picks)
    assert sorted(it.cell.cell_id for it in examples) == [3, 4]
    assert sorted({name for name, _ in problems}) == [TESTING, FIRST]
    assert any("has a wrong CRC of its payload" in problem for _, problem in problems)


def test_an_example_must_be_the_one_that_its_summary_says(folder: Path) -> None:
    (pick, *_) = counted(folder).picks
    wrong = [pick._replace(cell_id=77), pick._replace(record=50)]
    examples, problems = read_picks(DatasetFolder(Disk(), str(folder)), wrong)
    assert examples == []
    assert "its summary says 77" in problems[0][1]
    assert problems[1][1] == "there is no record 50"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: (folder / DATASET_FILE).unlink(), "no build finished there"),
        (lambda folder: (folder / DATASET_FILE).write_text(""), "dataset.json"),
        (lambda folder: edit_json(folder / DATASET_FILE, lambda it: it.update(schema_version="2.0.0")), "1.x.x"),
        (lambda folder: edit_json(folder / DATASET_FILE, lambda it: it.update(licences=3)), "licences"),
        (lambda folder: (folder / UNITS_FILE).unlink(), "which says where the cells lie"),
        (lambda folder: (folder / UNITS_FILE).write_text("{}\n"), "line 1, is no unit"),
        (lambda folder: (folder / UNITS_FILE).write_bytes(b"\xff\n"), "line 1, is no unit"),
        (lambda folder: link(folder / UNITS_FILE), "is a link"),
    ],
)  # fmt: skip
def test_what_is_no_dataset_is_refused_before_anything_is_written(
    folder: Path, change: Callable[[Path], object], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change(folder)
    assert main([str(folder)]) == 2
    assert said in capsys.readouterr().err
    assert not [*folder.glob("report*")]


def link(path: Path) -> None:
    aside = path.rename(path.with_suffix(".aside"))
    path.symlink_to(aside)


def test_flags_are_checked_before_anything_is_written(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for flag, said in (
        ("--examples=-1", "--examples must be 0 to 100"),
        ("--examples=101", "--examples must be 0 to 100"),
        ("--output=page.htm", "--output must end with .html"),
    ):
        assert main([str(folder), flag]) == 2
        assert said in capsys.readouterr().err
    (folder / "report.html").mkdir()
    assert main([str(folder)]) == 2
    assert "report.html" in capsys.readouterr().err
    assert not [*folder.glob("report_figures")]


def test_a_later_minor_version_is_read(folder: Path) -> None:
    major, minor, _ = map(int, SCHEMA_VERSION.split("."))
    before = counted(folder)
    as_version(
        folder,
        f"{major}.{minor + 1}.0",
        record=lambda message: None,
        summary=lambda content: content.update(later_field=1),
        described=lambda content: content.update(later_field=1),
    )
    after = counted(folder)
    assert after.problems == []
    assert after.total == before.total
    assert (after.channel_pixels == before.channel_pixels).all()
