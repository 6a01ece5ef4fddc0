"""A folder that an earlier version built still verifies and resumes: its bytes and hashes are kept for good.

`old_folder/set` was built by the version before pydantic, of the inputs beside it, with the flags of `command`. It
holds what a run can end in: examples, cell-years rejected for each of four reasons, dead letters, scenes that are
unusable, a year without items, and an element that was left out of the map.
"""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from beam_pipeline.audit.dataset import verify_dataset
from beam_pipeline.build_dataset import main as build_dataset
from beam_pipeline.dataset.folder import DatasetFolder
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.records.example import decode, encode
from beam_pipeline.records.shards import read_shard
from beam_pipeline.verify import main as verify

OLD = Path(__file__).parent / "old_folder"
FINGERPRINT_SHA256 = "44d2479bebff0c177c1f9131feaa4fcf44a642e7e67b01b337195bcb307dd416"
"""The hash that every summary of the folder names."""

FINGERPRINT, DATASET, RUN = "plan/fingerprint.json", "dataset.json", "run.json"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the old folder, to be changed."""
    return Path(shutil.copytree(OLD / "set", tmp_path / "set"))


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


def differences(said: str) -> list[str]:
    return [line.strip() for line in said.splitlines() if " there, " in line]


OF_THE_VERSION = ["catalogue_profile: None there, 2 now"]
"""What tells a dataset of that version from one of this, whose searches may find more scenes."""


def test_the_same_command_makes_another_dataset(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, times = contents(folder), written_at(folder)
    assert build_dataset(command(folder)) == 2
    said = capsys.readouterr().err
    assert "holds another dataset" in said
    assert differences(said) == OF_THE_VERSION
    assert contents(folder) == before
    assert written_at(folder) == times


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


def test_its_inputs_give_the_same_records_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The extract that breaks off is taken where a folder was begun with it.
    monkeypatch.setattr("beam_pipeline.jobs.build.inputs.breaks_off", lambda path: False)
    new = tmp_path / "new"
    assert build_dataset(command(new)) == 1
    for path in folder.glob("opensentinelmap-*"):
        # Encoded here both times: the bytes that zlib gives are those of its version.
        before = [encode(decode(payload)) for payload in read_shard(BeamFiles(), str(path))]
        assert list(read_shard(BeamFiles(), str(new / path.name))) == before
    assert verify([str(new)]) == 0
    for path in (new / "scenes").iterdir():
        there = (OLD / "set" / "scenes" / path.name).read_text()
        assert path.read_text() == there.replace("/data/example/inputs", str(OLD / "inputs"))


def test_other_settings_are_still_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(folder)
    assert build_dataset(command(folder, "--max_scene_cloud", "30", "--allow_single")) == 2
    said = differences(capsys.readouterr().err)
    of_the_flags = ["allow_single: False there, True now", "max_scene_cloud: 20.0 there, 30.0 now"]
    assert said == sorted([*of_the_flags, *OF_THE_VERSION])
    assert contents(folder) == before


def test_the_fingerprint_has_the_bytes_and_the_hash_that_it_had(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (folder / FINGERPRINT).read_text()
    assert '"max_scene_cloud": 20.0,' in text
    hashed = hashlib.sha256(json.dumps(json.loads(text), sort_keys=True).encode()).hexdigest()
    assert hashed == FINGERPRINT_SHA256
    assert {json.loads(path.read_text())["fingerprint"] for path in summaries(folder)} == {hashed}
    (folder / FINGERPRINT).unlink()
    # A launch without it writes it anew, of the flags, only where the summaries name that hash.
    assert build_dataset(command(folder)) == 2
    assert "is of other settings" in capsys.readouterr().err
    assert not (folder / FINGERPRINT).exists()


def summaries(folder: Path) -> list[Path]:
    return sorted(folder.glob("summaries/*.json"))


@pytest.mark.parametrize("number", ["20", "20.0", "20.5", "null"])
def test_whole_numbers_and_fractions_keep_their_form(folder: Path, number: str) -> None:
    """The hash is of the text: 20 and 20.0 are two datasets."""
    path = folder / FINGERPRINT
    path.write_text(path.read_text().replace('"max_scene_cloud": 20.0', f'"max_scene_cloud": {number}'))
    fields = json.loads(path.read_text())
    hashed = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
    assert (hashed == FINGERPRINT_SHA256) == (number == "20.0")
    for summary in summaries(folder):
        summary.write_text(summary.read_text().replace(FINGERPRINT_SHA256, hashed))
    described = folder / DATASET
    old = described.read_text()
    described.write_text(old.replace('"max_scene_cloud": 20.0', f'"max_scene_cloud": {number}'))
    assert verify_dataset(DatasetFolder(BeamFiles(), str(folder))).kinds == {}
    # And it is looked at: with the other hash, nothing of the folder belongs to its plan.
    summaries(folder)[0].write_text(summaries(folder)[0].read_text().replace(hashed, "0" * 64))
    assert verify_dataset(DatasetFolder(BeamFiles(), str(folder))).kinds != {}
