"""`verify` proves a store of features, and that the labels of a dataset follow from it, whoever reads."""

import dataclasses
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from beam_pipeline.audit import labels
from beam_pipeline.audit.dataset import Asked, verify_dataset
from beam_pipeline.audit.findings import Findings
from beam_pipeline.dataset.commits import commit_unit, read_summary
from beam_pipeline.dataset.folder import UNITS_FILE, DatasetFolder
from beam_pipeline.dataset.summary import ShardContent
from beam_pipeline.dataset.units import parse_units
from beam_pipeline.features.schema import FOOTER_KEY, SCHEMA, WRITER
from beam_pipeline.features.stored_tile import StoredTile
from beam_pipeline.features.writing import write_tile
from beam_pipeline.records.example import CellYear, decode, encode
from beam_pipeline.runtime.disk import Disk
from beam_pipeline.sample_world import SampleWorld
from beam_pipeline.verify import main
from tests.pipelines.conftest import Built, build

TILE = "23SQD"
FILE = f"{TILE}.parquet"


@pytest.fixture
def store(built: Built, tmp_path: Path) -> Path:
    """A copy of the store of the build, to be damaged."""
    return Path(shutil.copytree(built.folder / "features", tmp_path / "features"))


@pytest.fixture
def folder(built: Built, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built.folder, tmp_path / "set"))


def verified(folder: Path, asked: Asked | None = None) -> Findings:
    return verify_dataset(DatasetFolder(Disk(), str(folder)), asked=asked or Asked())


def differences(findings: Findings) -> set[tuple[str, str]]:
    """(kind, file) of all that was found."""
    return {(kind, it.file) for kind, found in findings.shown.items() for it in found}


def details(findings: Findings) -> str:
    return "\n".join(str(it) for found in findings.shown.values() for it in found)


def rows_of(path: Path) -> pa.Table:
    return pa.Table.from_batches(StoredTile(io.BytesIO(path.read_bytes()), "a").rows(), SCHEMA)


def rewrite(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Writes a tile's file with other rows, as the job writes it."""
    footer = StoredTile(io.BytesIO(path.read_bytes()), "a").footer
    rows = change(rows_of(path).combine_chunks()).combine_chunks()
    with path.open("wb") as file:
        write_tile(file, rows, footer)


def edit(path: Path, change: Callable[[dict], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def forget_pieces(store: Path) -> None:
    shutil.rmtree(store / "pieces")


def retagged(rows: pa.Table) -> pa.Table:
    """Makes of all buildings something that no ontology draws."""
    tags = [
        sorted(("building", "no") if pair[0] == "building" else pair for pair in of)
        for of in rows["tags"].to_pylist()
    ]
    column = pa.array(tags, SCHEMA.field("tags").type)
    return rows.set_column(rows.schema.get_field_index("tags"), SCHEMA.field("tags"), column)


def test_a_store_is_whole_with_its_pieces_and_without(store: Path, built: Built) -> None:
    described = json.loads((store / "store.json").read_text())
    findings = verified(store)
    assert dict(findings.kinds) == {}
    assert findings.checked["tiles"] == findings.checked["pieces"] == len(described["tiles"])
    assert findings.checked["objects"] == sum(it["rows"] for it in described["tiles"].values())
    forget_pieces(store)
    findings = verified(store)
    assert dict(findings.kinds) == {}
    assert findings.checked["pieces"] == 0


def flip(store: Path) -> None:
    content = bytearray((store / FILE).read_bytes())
    content[len(content) // 2] ^= 1
    (store / FILE).write_bytes(content)


def cut(store: Path) -> None:
    (store / FILE).write_bytes((store / FILE).read_bytes()[:-1000])


def other_schema(store: Path) -> None:
    table = parquet.read_table(store / FILE)
    said = parquet.read_metadata(store / FILE).metadata
    footer = {**json.loads(said[FOOTER_KEY.encode()]), "schema_version": 3}
    with parquet.ParquetWriter(store / FILE, SCHEMA, **WRITER) as writer:
        writer.write_table(table.cast(SCHEMA))
        writer.add_key_value_metadata({"geo": said[b"geo"], FOOTER_KEY: json.dumps(footer)})


def describe_as(**fields: object) -> Callable[[Path], None]:
    return lambda store: edit(store / "store.json", lambda it: it.update(fields))


def plan_as(**fields: object) -> Callable[[Path], None]:
    return lambda store: edit(store / "plan/request.json", lambda it: it.update(fields))


def moved_bbox(rows: pa.Table) -> pa.Table:
    bbox = rows["bbox"].combine_chunks()
    wider = [*bbox.flatten()[:3], pa.array(bbox.field("ymax").to_numpy() + np.float32(1e-3))]
    column = pa.StructArray.from_arrays(wider, fields=list(SCHEMA.field("bbox").type))
    return rows.set_column(rows.schema.get_field_index("bbox"), SCHEMA.field("bbox"), column)


def of_another_tile(store: Path) -> Callable[[pa.Table], pa.Table]:
    return lambda rows: pa.concat_tables([rows, rows_of(store / "24STH.parquet").slice(0, 1)])


DAMAGE: dict[str, tuple[Callable[[Path], object], set[tuple[str, str]], str]] = {
    "a flipped bit": (flip, {("damaged_store", FILE)}, "cannot be read"),
    "a truncated file": (cut, {("damaged_store", FILE)}, "does not end as a Parquet file does"),
    "an empty file": (
        lambda it: (it / FILE).write_bytes(b""),
        {("damaged_store", FILE)},
        "it has 0 bytes",
    ),
    "a tile of another schema": (other_schema, {("other_store_schema", FILE)}, "has schema 3"),
    "a store of another schema": (
        describe_as(schema_version=3),
        {("other_store_schema", "store.json")},
        "is of schema 3",
    ),
    "a missing tile": (lambda it: (it / FILE).unlink(), {("missing_tile", FILE)}, "is not there"),
    "a tile too many": (
        lambda it: shutil.copy(it / FILE, it / "31TFJ.parquet"),
        {("stray_file", "31TFJ.parquet")},
        "is no file of the store",
    ),
    "a link": (
        lambda it: ((it / FILE).rename(it.parent / FILE), (it / FILE).symlink_to(it.parent / FILE)),
        {("unreadable", FILE)},
        "is a link",
    ),
    "a removed row": (
        lambda it: rewrite(it / FILE, lambda rows: rows.slice(1)),
        {("tile", FILE)},
        "is not what its pieces give",
    ),
    "another tag": (
        lambda it: rewrite(it / FILE, retagged),
        {("tile", FILE)},
        "is not what its pieces give",
    ),
    "an object twice": (
        lambda it: rewrite(it / FILE, lambda rows: pa.concat_tables([rows, rows.slice(0, 1)])),
        {("tile", FILE), ("object", FILE)},
        "is in it more than once",
    ),
    "another bbox": (
        lambda it: rewrite(it / FILE, moved_bbox),
        {("tile", FILE), ("object", FILE)},
        "has a bbox that is not that of its geometry",
    ),
    "an object from elsewhere": (
        lambda it: rewrite(it / FILE, of_another_tile(it)),
        {("tile", FILE), ("object", FILE)},
        "comes near no cell of the tile",
    ),
    "two tiles exchanged": (
        lambda it: shutil.copy(it / "24STH.parquet", it / FILE),
        {("tile", FILE), ("object", FILE)},
        "says other tile than the plan",
    ),
    "no description": (lambda it: (it / "store.json").unlink(), {("store", "store.json")}, "is not there"),
    "an unreadable description": (
        lambda it: (it / "store.json").write_text("{"),
        {("store", "store.json")},
        "cannot be read",
    ),
    "other counts": (describe_as(superseded=7), {("store", "store.json")}, "superseded is not what"),
    "other cells": (describe_as(cells=1), {("store", "store.json")}, "cells is not what"),
    "another layout": (
        lambda it: (it / "store.json").write_text(json.dumps(json.loads((it / "store.json").read_text()))),
        {("store", "store.json")},
        "is not laid out as it was written",
    ),
    "other keys in the plan": (
        plan_as(keys=["building"]),
        {("store", "store.json"), ("tile", "23SQC.parquet"), ("object", "23SQC.parquet")},
        "says other keys than the plan",
    ),
    "no plan": (
        lambda it: shutil.rmtree(it / "plan"),
        {("store", f"plan/{name}") for name in ("tiles.jsonl", "request.json", "extracts.json")},
        "is not there",
    ),
    "another notice": (
        lambda it: (it / "LICENSES.md").write_text("Free.\n"),
        {("store", "LICENSES.md")},
        "is not the notice",
    ),
    "no notice": (lambda it: (it / "LICENSES.md").unlink(), {("store", "LICENSES.md")}, "is not there"),
    "a leftover": (
        lambda it: ((it / "tmp").mkdir(), (it / "tmp/5a").write_bytes(b"x")),
        {("leftover", "tmp/5a")},
        "was left behind",
    ),
    "a stray file": (
        lambda it: (it / "notes.txt").write_text("x"),
        {("stray_file", "notes.txt")},
        "is no file",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_each_damage_of_a_store_is_found_as_what_it_is(store: Path, name: str) -> None:
    damage, expected, detail = DAMAGE[name]
    damage(store)
    findings = verified(store)
    assert expected <= differences(findings)
    assert detail in details(findings)
    if name not in ("other keys in the plan",):
        assert {kind for kind, _ in differences(findings)} == {kind for kind, _ in expected}


def test_data_under_the_footer_of_other_data_is_found_without_pieces(store: Path) -> None:
    forget_pieces(store)
    path = store / FILE
    whole = path.read_bytes()
    footer = int.from_bytes(whole[-8:-4], "little") + 8
    for row in range(rows_of(path).num_rows):
        rewrite(path, lambda rows, row=row: renamed(rows, row))
        other = path.read_bytes()
        end = len(other) - int.from_bytes(other[-8:-4], "little") - 8
        path.write_bytes(whole)
        if end == len(whole) - footer and other[:end] != whole[:-footer]:
            path.write_bytes(other[:end] + whole[-footer:])
            break
    assert path.read_bytes() != whole
    assert path.read_bytes()[-footer:] == whole[-footer:]
    findings = verified(store)
    assert differences(findings) == {("tile", FILE)}
    assert "does not hold the data whose hash is in its footer" in details(findings)


def renamed(rows: pa.Table, row: int) -> pa.Table:
    """Gives an object the tags of another one with the same keys."""
    tags = rows["tags"].to_pylist()
    for other in tags:
        if [key for key, _ in other] == [key for key, _ in tags[row]] and other != tags[row]:
            tags[row] = other
            break
    column = pa.array(tags, SCHEMA.field("tags").type)
    return rows.set_column(rows.schema.get_field_index("tags"), SCHEMA.field("tags"), column)


def test_damage_of_pieces_is_found(store: Path) -> None:
    (piece,) = store.glob(f"pieces/*/{FILE}")
    whole = piece.read_bytes()
    name = str(piece.relative_to(store))
    piece.write_bytes(whole[:-9])
    assert differences(verified(store)) == {("damaged_store", name)}
    piece.write_bytes(whole)
    rewrite(piece, lambda rows: rows.slice(1))
    assert differences(verified(store)) == {("piece", name)}
    piece.write_bytes(whole)
    record = piece.with_name("piece.json")
    edit(record, lambda it: it["left_out"].update(counts={"incomplete_way": 5}))
    assert "extracts is not what" in details(verified(store))
    record.write_text("[]")
    assert differences(verified(store)) == {("store", str(record.relative_to(store)))}


def test_labels_follow_from_the_store(folder: Path) -> None:
    findings = verified(folder)
    assert dict(findings.kinds) == {}
    contents = [json.loads(path.read_text())["contents"] for path in folder.glob("summaries/*.json")]
    assert findings.checked["labels_drawn"] == sum(map(len, contents)) > 0
    skipped = verified(folder, Asked(with_labels=False))
    assert dict(skipped.kinds) == {}
    assert "labels_drawn" not in skipped.checked
    assert skipped.checked["objects"] == findings.checked["objects"]


def forge(folder: Path, name: str, change: Callable[[CellYear], CellYear]) -> None:
    """Changes the examples of a shard, and its summary with them, as a wrong builder would."""
    whole = DatasetFolder(Disk(), str(folder))
    shard = Built(folder, 0)
    examples = [
        change(decode(one)) for one in shard.payloads() if decode(one).cell.cell_id in cells_of(folder, name)
    ]
    content = ShardContent()
    for example in examples:
        content.add(example)
    summary = dataclasses.replace(read_summary(whole, name), **content.counts())
    commit_unit(whole, name, map(encode, examples), summary)


def cells_of(folder: Path, name: str) -> set[int]:
    units = parse_units((folder / UNITS_FILE).read_bytes())
    return {cell.cell_id for unit in units if unit.name == name for cell in unit.cells}


def written_shard(folder: Path, tile: str = TILE) -> str:
    units = parse_units((folder / UNITS_FILE).read_bytes())
    return next(it.name for it in units if it.tile == tile and (folder / it.name).stat().st_size)


def test_a_label_that_was_changed_with_all_hashes_is_found(folder: Path) -> None:
    name = written_shard(folder)

    def painted(example: CellYear) -> CellYear:
        label = example.label.copy()
        label[5, 5:8, 2] = 255 - label[5, 5:8, 2] if (label[5, 5:8, 2] == 1).any() else 255
        label[9, :, 1] = 255
        return dataclasses.replace(example, label=label)

    forge(folder, name, painted)
    findings = verified(folder)
    assert ("label", name) in differences(findings)
    assert "pixels that are not what the store's map gives" in details(findings)
    assert not any(it.file.startswith("features/") for found in findings.shown.values() for it in found)
    assert "label" not in verified(folder, Asked(with_labels=False)).kinds


def test_a_tag_that_was_changed_with_its_footer_shows_in_the_labels(folder: Path) -> None:
    forget_pieces(folder / "features")
    rewrite(folder / "features" / FILE, retagged)
    findings = verified(folder)
    assert findings.kinds["label"] > 0
    assert ("tile", f"features/{FILE}") in differences(findings)
    (tile,) = (it for it in findings.shown["tile"] if "digest" in it.detail)
    assert "store.json says" in tile.detail


def batter(folder: Path) -> None:
    """Damages a bit of everything that a store has, and of what was drawn of it."""
    features = folder / "features"
    rewrite(features / FILE, retagged)
    content = (features / "24STH.parquet").read_bytes()
    (features / "24STH.parquet").write_bytes(content[:-500])
    (features / "23SQC.parquet").unlink()
    (features / "stray.parquet").write_bytes(b"")
    edit(features / "store.json", lambda it: it.update(cells=3))


def test_processes_and_a_job_find_the_same(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    batter(folder)
    said = []
    for more in ("--processes=1", "--processes=2", "--runner=FnApiRunner"):
        assert main([str(folder), more]) == 1
        said.append(capsys.readouterr().out)
    assert said[0] == said[1] == said[2]
    for kind in ("label", "tile", "damaged_store", "missing_tile", "stray_file", "store"):
        assert f"\n{kind}:\n  " in said[0]


@pytest.mark.slow
def test_a_store_alone_is_told_alike_by_processes_and_a_job(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut(store)
    said = []
    for more in ([], ["--processes=2"], ["--runner=FnApiRunner", f"--report={tmp_path / 'r.json'}"]):
        assert main([str(store), *more]) == 1
        said.append(capsys.readouterr().out)
    assert said[0] == said[1] == said[2]
    assert json.loads((tmp_path / "r.json").read_text())["kinds"] == {"damaged_store": 1}


@pytest.fixture
def elsewhere(folder: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A dataset as it is built of a store elsewhere, and the store."""
    store = (folder / "features").rename(tmp_path / "store")
    shutil.copy(store / "store.json", folder / "plan/store.json")
    return folder, store


def test_labels_follow_from_a_store_elsewhere(
    elsewhere: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, store = elsewhere
    capsys.readouterr()
    assert main([str(folder)]) == 0
    said = capsys.readouterr().out
    assert "labels are not compared with the map: --features FOLDER" in said
    assert "labels drawn" not in said
    assert main([str(folder), "--features", str(store)]) == 0
    said = capsys.readouterr().out
    assert "labels drawn" in said
    assert "not compared" not in said
    rewrite(store / FILE, retagged)
    assert main([str(folder), "--features", str(store)]) == 1
    said = capsys.readouterr().out
    assert f"  {store / FILE}: has digest" in said
    assert "pixels that are not what the store's map gives" in said


def test_stores_that_cannot_be_that_of_the_dataset_are_refused(
    elsewhere: tuple[Path, Path], built: Built, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, store = elsewhere

    def refused(*argv: str) -> str:
        capsys.readouterr()
        assert main([*argv]) == 2
        return capsys.readouterr().err

    assert "holds no features itself" in refused(str(built.folder), "--features", str(store))
    assert "this is a store of features itself" in refused(str(store), "--features", str(store))
    assert "--features cannot be read" in refused(str(folder), "--features", str(tmp_path / "none"))
    edit(store / "store.json", lambda it: it["extracts"][0]["extract"].update(bytes=1))
    assert "a store of another map" in refused(str(folder), "--features", str(store))
    (store / "store.json").write_text("[]")
    assert "no store that can be read" in refused(str(folder), "--features", str(store))


def test_a_dataset_whose_store_could_not_be_made_is_accounted_for(folder: Path) -> None:
    """A tile without a file is right where its cells have no labels, and there is no description then."""
    features = folder / "features"
    (features / "store.json").unlink()
    assert ("store", "features/store.json") in differences(verified(folder))
    (features / FILE).unlink()
    assert not any(file == f"features/{FILE}" for _, file in differences(verified(folder)))


@pytest.mark.slow
def test_dead_letters_that_a_run_would_mend_are_noted(
    built: Built, world: SampleWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Path(shutil.copytree(built.folder / "features", tmp_path / "store"))
    whole = (store / FILE).read_bytes()
    cut(store)
    hit = build(world, tmp_path / "set", "--osm", str(store))
    assert hit.code == 1
    lost = {letter["cell_id"] for letter in hit.dead_letters}
    (store / FILE).write_bytes(whole)
    capsys.readouterr()
    assert main([str(hit.folder), "--features", str(store)]) == 0
    assert f"{labels.MENDED}: {len(lost)}\n" in capsys.readouterr().out
    assert build(world, hit.folder, "--osm", str(store), "--retry_dead_letters").code == 0
    capsys.readouterr()
    assert main([str(hit.folder), "--features", str(store)]) == 0
    assert labels.MENDED not in capsys.readouterr().out
