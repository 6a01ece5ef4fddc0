"""The frame of exports: what cannot be read is told and the rest goes on, and a stopped export goes on."""

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from beam_pipeline.cells.cell import SPLITS
from beam_pipeline.dataset.folder import DatasetFolder
from beam_pipeline.exchange.format import Format
from beam_pipeline.exchange.output import ShardOutput, WholeOutput
from beam_pipeline.exchange.published import Published
from beam_pipeline.exchange.settings import bind_output
from beam_pipeline.exchange.source import open_source
from beam_pipeline.exchange.table import export_table
from beam_pipeline.records.example import CellYear, encode
from beam_pipeline.records.example_proto import Example
from beam_pipeline.records.shards import frame, parse_shard, shard_name
from beam_pipeline.runtime.disk import Disk
from beam_pipeline.runtime.faults import InvalidInputError, PermanentFault
from tests.dataset.test_old_folder import OLD
from tests.exchange.conftest import export, settings_of
from tests.model_tf.made_dataset import write_dataset

FIRST = shard_name("training", 0, 2)


@dataclasses.dataclass(frozen=True)
class Ids(Format):
    """A format that is quick: a file a cell with its years, and one of all."""

    name = "ids"
    help = "made up"
    prefix: str = ""

    def write_shard(self, source: Any, shard: Any, examples: Iterator[Any], output: ShardOutput) -> Any:
        ids: dict[int, list[int]] = {}
        for example in examples:
            ids.setdefault(example.cell_year.cell.cell_id, []).append(example.cell_year.year)
        for cell_id, years in ids.items():
            output.write(f"{cell_id}.txt", f"{self.prefix}{years}".encode())
            output.wrote_cell(cell_id)
        return list(ids)

    def finish(self, source: Any, records: Iterable[Any], output: WholeOutput) -> None:
        output.write("all.txt", (f"{record.content}\n".encode() for record in records))


def files(folder: Path) -> dict[str, bytes]:
    return {str(it.relative_to(folder)): it.read_bytes() for it in folder.rglob("*") if it.is_file()}


@pytest.fixture
def copy(dataset: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(dataset, tmp_path / "copy"))


@pytest.fixture
def whole(dataset: Path, tmp_path: Path) -> dict[str, bytes]:
    export(dataset, tmp_path / "whole", Ids())
    return files(tmp_path / "whole")


def test_all_is_written_with_licences(whole: dict[str, bytes]) -> None:
    assert {name for name in whole if not name.startswith("export/")} == {
        *("1.txt", "2.txt", "3.txt", "4.txt", "all.txt", "LICENSES.md", "CITATION.cff")
    }
    assert whole["1.txt"] == b"[2020, 2021]"
    assert whole["all.txt"] == b"[1, 2]\n[3]\n[4]\n"
    assert b"modified Copernicus Sentinel data [2020, 2021]" in whole["LICENSES.md"]
    assert b"OpenStreetMap contributors" in whole["CITATION.cff"]
    assert whole["export/dead_letters.jsonl"] == b""


def test_one_split(dataset: Path, tmp_path: Path) -> None:
    summary = export(dataset, tmp_path / "out", Ids(), ("testing",))
    assert summary.splits == {"testing": {"examples": 2, "cells": 1}}
    assert (tmp_path / "out/all.txt").read_text() == "[4]\n"


Damage = Callable[[bytes], bytes | None]


def _records(content: bytes) -> list[bytes]:
    import io

    return list(parse_shard(io.BytesIO(content), "x"))


def _garbled(content: bytes) -> bytes:
    first, *rest = _records(content)
    return b"".join(map(frame, [b"\xff" * len(first), *rest]))


def _flipped(content: bytes) -> bytes:
    second = len(frame(_records(content)[0]))
    return content[: second + 500] + bytes([content[second + 500] ^ 1]) + content[second + 501 :]


def _cut(content: bytes) -> bytes:
    return content[:-1000]


def _cut_between(content: bytes) -> bytes:
    return b"".join(map(frame, _records(content)[:-1]))


def _emptied(content: bytes) -> bytes:
    return b""


def _deleted(content: bytes) -> None:
    return None


def _changed(content: bytes, changes: dict[str, str]) -> bytes:
    first, *rest = _records(content)
    message = Example.FromString(first)
    for name, text in changes.items():
        message.features.feature[name].bytes_list.value[0] = text.encode()
    return b"".join(map(frame, [message.SerializeToString(deterministic=True), *rest]))


def _tile_that_leads_away(content: bytes) -> bytes:
    return _changed(content, {"tile": "../.."})


def _no_time(content: bytes) -> bytes:
    return _changed(content, {"image_1/datetime": "../../etc"})


def _other_split(content: bytes) -> bytes:
    return _changed(content, {"split": "testing"})


def _unsorted(content: bytes) -> bytes:
    first, second, *rest = _records(content)
    return b"".join(map(frame, [second, first, *rest]))


def _renamed(content: bytes) -> bytes:
    return _changed(content, {"image_0/platform": "sentinel-2b"})


@pytest.mark.parametrize(
    ("damage", "reasons", "cells"),
    [
        (_garbled, {"corrupt_example": 1}, {"1": "[2021]", "2": "[2020, 2021]"}),
        (_flipped, {"corrupt_shard": 1}, {"1": "[2020]"}),
        (_cut, {"corrupt_shard": 1}, {"1": "[2020, 2021]", "2": "[2020]"}),
        (_cut_between, {"damaged_source": 1}, {"1": "[2020, 2021]", "2": "[2020]"}),
        (_emptied, {"damaged_source": 1}, {}),
        (_deleted, {"not_found": 1}, {}),
        (_tile_that_leads_away, {"corrupt_example": 1}, {"1": "[2021]", "2": "[2020, 2021]"}),
        (_no_time, {"corrupt_example": 1}, {"1": "[2021]", "2": "[2020, 2021]"}),
        (_other_split, {"corrupt_example": 1}, {"1": "[2021]", "2": "[2020, 2021]"}),
        (_unsorted, {"corrupt_example": 1}, {"1": "[2021]", "2": "[2020, 2021]"}),
        (_renamed, {"damaged_source": 1}, {"1": "[2020, 2021]", "2": "[2020, 2021]"}),
    ],
)
def test_damage_costs_what_is_damaged_until_it_is_mended(
    damage: Damage,
    reasons: dict[str, int],
    cells: dict[str, str],
    copy: Path,
    tmp_path: Path,
    whole: dict[str, bytes],
) -> None:
    shard, output = copy / FIRST, tmp_path / "out"
    kept = shard.read_bytes()
    damaged = damage(kept)
    shard.unlink()
    if damaged is not None:
        shard.write_bytes(damaged)
    summary = export_and_record(copy, output)
    assert summary.dead_letters == reasons
    assert not summary.complete
    assert {name: (output / f"{name}.txt").read_text() for name in cells} == cells
    assert [it.stem for it in output.glob("[12].txt")] == sorted(cells)
    assert {"3.txt", "4.txt", "all.txt"} <= set(files(output))
    (letter,) = map(json.loads, (output / "export/dead_letters.jsonl").read_text().splitlines())
    assert (letter["unit"], letter["reason"]) == (FIRST, *reasons)
    said = export_table(summary, str(output))
    assert "DEAD LETTERS" in said
    assert "NOT COMPLETE" in said
    shard.write_bytes(kept)
    assert export(copy, output, Ids()).complete
    assert files(output) == whole


def export_and_record(dataset: Path, output: Path) -> Any:
    """Exports with the job's own DoFn, which makes dead letters of what is raised."""
    from beam_pipeline.exchange.closing import close_export, read_summary
    from beam_pipeline.jobs.export.transforms import ExportShards

    settings = settings_of(dataset, output, Ids())
    stage = ExportShards(settings)
    stage.setup()
    source = open_source(DatasetFolder(Disk(), str(dataset)), SPLITS)
    for shard in source.shards:
        assert list(stage.process(shard.name)) == [shard.name]
    close_export(Disk(), settings, source)
    return read_summary(Disk(), str(output))


def test_it_goes_on_with_what_is_missing(dataset: Path, tmp_path: Path, whole: dict[str, bytes]) -> None:
    output = tmp_path / "out"
    export(dataset, output, Ids())
    records = sorted((output / "export/shards").iterdir())
    (output / "3.txt").unlink()
    (output / "4.txt").write_text("cut")
    records[0].write_text(records[0].read_text()[:-9])  # of shard testing, by name
    (output / ".5.part").write_text("left by a writer that was killed")
    kept = (output / "1.txt").stat().st_mtime_ns
    assert export(dataset, output, Ids()).complete
    assert files(output) == whole
    assert (output / "1.txt").stat().st_mtime_ns == kept


def test_other_settings_are_refused_by_name(dataset: Path, copy: Path, tmp_path: Path) -> None:
    folder = DatasetFolder(Disk(), str(tmp_path / "out"))
    bind_output(folder, settings_of(dataset, tmp_path / "out", Ids()))
    bind_output(folder, settings_of(dataset, tmp_path / "out", Ids()))
    for other, said in (
        (settings_of(dataset, tmp_path / "out", Ids("a")), "format.prefix: '' there, 'a' now"),
        (settings_of(dataset, tmp_path / "out", Published()), "format: 'ids' there, 'published' now"),
        (settings_of(dataset, tmp_path / "out", Ids(), ("testing",)), r"splits: .*, \['testing'\] now"),
    ):
        with pytest.raises(InvalidInputError, match=said):
            bind_output(folder, other)
    description = copy / "dataset.json"
    content = json.loads(description.read_text())
    content["shards"][0]["sha256"] = "0" * 64
    description.write_text(json.dumps(content))
    with pytest.raises(InvalidInputError, match="dataset: '"):
        bind_output(folder, settings_of(copy, tmp_path / "out", Ids()))
    (tmp_path / "out/export/settings.json").write_text("[")
    with pytest.raises(InvalidInputError, match=r"damaged .*settings\.json"):
        bind_output(folder, settings_of(dataset, tmp_path / "out", Ids()))


def test_a_cell_in_two_shards_is_told(made: dict[str, list[list[CellYear]]], tmp_path: Path) -> None:
    first = made["training"][0]
    dataset = Path(write_dataset(tmp_path / "set", {"training": [first, first[:1]]}))
    summary = export(dataset, tmp_path / "out", Ids())
    assert summary.doubled_cells == (1,)
    assert not summary.complete
    assert "CELLS IN TWO SHARDS: 1" in export_table(summary, "out")


def test_a_shard_without_a_record_is_told(dataset: Path, tmp_path: Path) -> None:
    from beam_pipeline.exchange.closing import close_export, read_summary

    settings = settings_of(dataset, tmp_path / "out", Ids())
    close_export(Disk(), settings, open_source(DatasetFolder(Disk(), str(dataset)), SPLITS))
    summary = read_summary(Disk(), str(tmp_path / "out"))
    assert len(summary.missing_shards) == 3
    assert "SHARDS WITHOUT A RECORD" in export_table(summary, "out")


@pytest.mark.parametrize("name", ["", "/x", "a//b", "../x", "a/../b", ".hidden", "a/.x", "export/x", "a/"])
def test_a_name_that_leads_elsewhere_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be called"):
        WholeOutput(Disk(), str(tmp_path)).write(name, b"x")
    assert not [*tmp_path.iterdir()]


def test_a_file_is_written_once(tmp_path: Path) -> None:
    output = WholeOutput(Disk(), str(tmp_path))
    output.write("a", [b"x", b"yz"])
    assert output.sizes == {"a": 3}
    with pytest.raises(PermanentFault, match="doubled_file"):
        output.write("a", b"x")


def test_a_dataset_of_an_older_version_is_exported(tmp_path: Path) -> None:
    old = OLD / "set"
    assert json.loads((old / "dataset.json").read_text())["schema_version"].startswith("1.0")
    assert export(old, tmp_path / "out", Published()).complete


def test_a_dataset_of_a_later_minor_version_is_exported(copy: Path, tmp_path: Path) -> None:
    description = copy / "dataset.json"
    description.write_text(
        description.read_text().replace('"schema_version": "1.1.0"', '"schema_version": "1.9.0"')
    )
    assert export(copy, tmp_path / "out", Ids()).complete


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda it: it | {"schema_version": "2.0.0"}, "schema_version must be 1.x.x"),
        (lambda it: it | {"years": []}, "years must list"),
        (lambda it: it | {"shards": it["shards"] * 2}, "list each shard once"),
        (lambda it: it | {"shards": []}, "nothing to export"),
        (lambda it: [it], "dataset.json"),
    ],
)
def test_a_description_that_cannot_be_used_is_refused(
    change: Callable[[Any], Any], said: str, copy: Path, tmp_path: Path
) -> None:
    description = copy / "dataset.json"
    description.write_text(json.dumps(change(json.loads(description.read_text()))))
    with pytest.raises(InvalidInputError, match=said):
        export(copy, tmp_path / "out", Ids())


def test_no_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="no dataset that was built to its end"):
        export(tmp_path / "none", tmp_path / "out", Ids())


def test_equal_examples_are_encoded_alike(made: dict[str, list[list[CellYear]]]) -> None:
    """`_changed` relies on this."""
    payload = encode(made["training"][0][0])
    assert Example.FromString(payload).SerializeToString(deterministic=True) == payload
