"""A folder that an earlier version built is still read, and not gone on with: its bytes and hashes are kept for good.

`old_folder/set` was built by version 1.0.0 of the data format, of the inputs beside it, with the flags of `command`. It
holds what a run can end in: examples, cell-years rejected for each of four reasons, dead letters, scenes that are
unusable, a year without items, and an element that was left out of the map. Its searches and filters are those of
then: of a chip the darkest pixel counted, and the offset of a host without a flag was not checked.
"""

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from beam_pipeline.audit.dataset import verify_dataset
from beam_pipeline.build_dataset import main as build_dataset
from beam_pipeline.dataset.closing import sidecar_texts
from beam_pipeline.dataset.commits import commit_unit, read_summaries, read_summary
from beam_pipeline.dataset.extract_records import parse_dropped
from beam_pipeline.dataset.fingerprint import Fingerprint
from beam_pipeline.dataset.folder import UNITS_FILE, DatasetFolder, description_json, plan_json
from beam_pipeline.dataset.manifest import dataset_json, describe_ontology
from beam_pipeline.dataset.summary import ShardContent
from beam_pipeline.dataset.totals import Totals
from beam_pipeline.dataset.units import parse_units
from beam_pipeline.imagery.catalog import CATALOGUE_PROFILE
from beam_pipeline.imagery.chips import FilterSettings
from beam_pipeline.imagery.scenes import SceneList
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.labels.ontology import DEFAULT_ONTOLOGY, Ontology
from beam_pipeline.preview import main as preview
from beam_pipeline.records.description import read_description
from beam_pipeline.records.example import decode, encode
from beam_pipeline.records.schema import SCHEMA_VERSION
from beam_pipeline.records.shards import read_shard
from beam_pipeline.verify import main as verify

OLD = Path(__file__).parent / "old_folder"
FINGERPRINT_SHA256 = "44d2479bebff0c177c1f9131feaa4fcf44a642e7e67b01b337195bcb307dd416"
"""The hash that every summary of the folder names."""

ONTOLOGY = Ontology.load(DEFAULT_ONTOLOGY.read_text())
FINGERPRINT, DATASET, RUN = "plan/fingerprint.json", "dataset.json", "run.json"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A copy of the old folder, to be changed."""
    return Path(shutil.copytree(OLD / "set", tmp_path / "old"))


@pytest.fixture
def folder(old: Path) -> Path:
    """The same, as if the version of now had begun it: it is of an extract that breaks off."""
    filters = json.loads(json.dumps(dataclasses.asdict(FilterSettings())))
    of_now = {
        "filters": filters,
        "catalogue_profile": CATALOGUE_PROFILE,
        "schema_version": SCHEMA_VERSION,
        "ontology_sha256": ONTOLOGY.sha256,
    }
    (old / "plan" / "osm_categories.json").write_text(plan_json(json.loads(DEFAULT_ONTOLOGY.read_text())))
    rebind(old, lambda text: plan_json({**json.loads(text), **of_now}))
    write_anew(old)
    return old


def write_anew(path: Path) -> None:
    """Writes shards, summaries and what describes them in the format of now."""
    folder = DatasetFolder(BeamFiles(), str(path))
    units = parse_units(folder.read_bytes(UNITS_FILE))
    for unit in units:
        content = ShardContent()
        examples = [decode(payload) for payload in read_shard(BeamFiles(), folder.at(unit.name))]
        for example in examples:
            content.add(example)
        summary = dataclasses.replace(read_summary(folder, unit.name), **content.counts())
        commit_unit(folder, unit.name, map(encode, examples), summary)
    totals = Totals.of(read_summaries(folder, units))
    fingerprint = Fingerprint.from_json(folder.read_bytes(FINGERPRINT))
    for name, text in sidecar_texts(units, totals.summaries, fingerprint).items():
        folder.write_text(name, text)
    described = dataset_json(
        fingerprint=fingerprint,
        units=units,
        ontology=describe_ontology(ONTOLOGY),
        totals=totals,
        dropped_from_extracts={"map.osm.pbf": parse_dropped(folder.read_bytes("extracts/map.osm.pbf.json"))},
        cells_beyond_extracts=json.loads(folder.read_text(DATASET))["cells_beyond_extracts"],
    )
    folder.write_text(DATASET, description_json(described))


def rebind(folder: Path, change: Callable[[str], str]) -> str:
    """Changes the fingerprint wherever it lies; returns its hash, which the summaries name."""
    path = folder / FINGERPRINT
    before = Fingerprint.from_json(path.read_text()).sha256
    path.write_text(change(path.read_text()))
    fields = json.loads(path.read_text())
    hashed = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
    for summary in summaries(folder):
        summary.write_text(summary.read_text().replace(before, hashed))
    described = json.loads((folder / DATASET).read_text())
    (folder / DATASET).write_text(description_json({**described, "fingerprint": fields}))
    return hashed


def command(folder: Path, *more: str) -> list[str]:
    inputs = OLD / "inputs"
    return [
        *("--cells", str(inputs / "cells.csv"), "--stac_url", str(inputs / "items.json")),
        *("--osm", f"{inputs / 'map.osm.pbf'},{inputs / 'cut.osm.pbf'}"),
        *("--years", "2019-2022", "--cells_per_shard", "2", "--max_scene_cloud", "20"),
        *("--output", str(folder), *more),
    ]


def contents(folder: Path) -> dict[str, bytes]:
    """All files but run.json, which holds times; dataset.json without the versions of software."""
    files = {str(it.relative_to(folder)): it.read_bytes() for it in folder.rglob("*") if it.is_file()}
    del files[RUN]
    described = json.loads(files[DATASET])
    del described["software"]
    files[DATASET] = json.dumps(described).encode()
    return files


def written_at(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.glob("opensentinelmap-*")}


def test_an_old_folder_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    findings = verify_dataset(DatasetFolder(BeamFiles(), str(OLD / "set")))
    assert dict(findings.kinds) == {}
    assert verify([str(OLD / "set")]) == 0
    said = capsys.readouterr().out
    assert [line.split() for line in said.splitlines() if "records" in line] == [["records", "2"]]


def test_an_old_folder_is_shown_and_described(old: Path) -> None:
    assert preview([str(old)]) == 0
    assert (old / "preview.png").stat().st_size
    assert read_description(BeamFiles(), str(old)).schema_version == "1.0.0"


def test_an_old_folder_is_not_gone_on_with(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(old)
    assert build_dataset(command(old)) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert (
        f"holds a dataset of version 1.0.0 of the data format, and this program writes {SCHEMA_VERSION}"
        in said
    )
    assert "Choose another --output" in said
    assert contents(old) == before


def test_the_same_command_reads_nothing_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, times = contents(folder), written_at(folder)
    assert build_dataset(command(folder)) == 1, "its dead letters stay until they are retried"
    said = capsys.readouterr().out
    assert "truncated_extract 4" in said
    assert "give another --output with it" in said
    assert "--retry_dead_letters" not in said
    # The plan of a store is written for whatever unit may be left to do.
    after = {name: it for name, it in contents(folder).items() if not name.startswith("features/plan/")}
    assert after == before
    assert written_at(folder) == times
    stages = json.loads((folder / RUN).read_text())["stages"]
    assert stages.pop("plan") == {"units_committed_before": 2}
    assert stages == {}, "no unit waits for a tile, so that no map is read"


def test_what_is_advised_about_its_truncated_extract_works(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = Path(shutil.copy(OLD / "inputs" / "map.osm.pbf", tmp_path / "cut.osm.pbf"))
    osm = ("--osm", f"{OLD / 'inputs' / 'map.osm.pbf'},{whole}")
    assert build_dataset(command(folder, *osm)) == 2
    assert "Choose another --output" in capsys.readouterr().err
    assert build_dataset(command(tmp_path / "new", *osm)) == 0
    # Cut elsewhere, it is another extract, and the folder was not begun with it.
    whole.write_bytes(whole.read_bytes()[:-1])
    assert build_dataset(command(folder, *osm)) == 2
    assert "An OSM extract breaks off" in capsys.readouterr().err


def test_a_lost_shard_is_made_anew(folder: Path) -> None:
    (lost,) = (path for path in folder.glob("opensentinelmap-*") if path.stat().st_size)
    before = [decode(payload) for payload in read_shard(BeamFiles(), str(lost))]
    lost.unlink()
    shutil.rmtree(folder / "scenes")  # which name files by where they lay then
    assert build_dataset(command(folder)) == 1
    anew = [decode(payload) for payload in read_shard(BeamFiles(), str(lost))]
    # Where nothing is mapped, the rules of now may say something else.
    assert [
        dataclasses.replace(example, label=was.label) for example, was in zip(anew, before, strict=True)
    ] == before
    assert verify([str(folder)]) == 0
    for path in (folder / "scenes").iterdir():
        there = (OLD / "set" / "scenes" / path.name).read_text()
        before = SceneList.from_json(there.replace("/data/example/inputs", str(OLD / "inputs")))
        # Where an id holds its own sensing time, that is the start of its datastrip now.
        again = SceneList.from_json(path.read_text())
        assert [dataclasses.replace(scene, datastrip_start="") for scene in again.scenes] == list(
            before.scenes
        )
        assert dataclasses.replace(again, scenes=before.scenes) == before


def test_other_settings_are_still_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(folder)
    assert build_dataset(command(folder, "--max_scene_cloud", "30", "--allow_single")) == 2
    said = [line.strip() for line in capsys.readouterr().err.splitlines() if " there, " in line]
    assert said == ["allow_single: False there, True now", "max_scene_cloud: 20.0 there, 30.0 now"]
    assert contents(folder) == before


def test_the_fingerprint_has_the_bytes_and_the_hash_that_it_had(old: Path) -> None:
    text = (old / FINGERPRINT).read_text()
    assert '"max_scene_cloud": 20.0,' in text
    hashed = hashlib.sha256(json.dumps(json.loads(text), sort_keys=True).encode()).hexdigest()
    assert hashed == FINGERPRINT_SHA256
    read = Fingerprint.from_json(text)
    assert (read.to_json(), read.sha256) == (text, FINGERPRINT_SHA256)
    assert {json.loads(path.read_text())["fingerprint"] for path in summaries(old)} == {hashed}


def test_a_launch_without_a_fingerprint_writes_it_anew(folder: Path) -> None:
    """Of the flags, where the summaries name its hash."""
    text = (folder / FINGERPRINT).read_text()
    (folder / FINGERPRINT).unlink()
    assert build_dataset(command(folder)) == 1
    assert (folder / FINGERPRINT).read_text() == text


def summaries(folder: Path) -> list[Path]:
    return sorted(folder.glob("summaries/*.json"))


@pytest.mark.parametrize("number", ["20", "20.0", "20.5", "null"])
def test_whole_numbers_and_fractions_keep_their_form(old: Path, number: str) -> None:
    """The hash is of the text: 20 and 20.0 are two datasets."""
    hashed = rebind(old, lambda text: text.replace('"max_scene_cloud": 20.0', f'"max_scene_cloud": {number}'))
    assert (hashed == FINGERPRINT_SHA256) == (number == "20.0")
    assert verify_dataset(DatasetFolder(BeamFiles(), str(old))).kinds == {}
    # And it is looked at: with the other hash, nothing of the folder belongs to its plan.
    summaries(old)[0].write_text(summaries(old)[0].read_text().replace(hashed, "0" * 64))
    assert verify_dataset(DatasetFolder(BeamFiles(), str(old))).kinds != {}
