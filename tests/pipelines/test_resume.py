"""A run that was stopped goes on; the same input gives the same bytes, whoever does the work."""

import collections
import errno
import json
import logging
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from apache_beam.runners.portability.prism_runner import PrismJobServer

from beam_pipeline.build_dataset import main
from beam_pipeline.jobs.build import transforms
from beam_pipeline.jobs.build.launch import prepare_build
from beam_pipeline.jobs.build.options import parse_build_flags
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.labels.ontology import DEFAULT_ONTOLOGY
from beam_pipeline.runtime import disk, storage_faults
from beam_pipeline.runtime.faults import InvalidInputError, PermanentFault
from beam_pipeline.runtime.retries import RetryPolicy
from beam_pipeline.sample_world import SampleWorld
from beam_pipeline.verify import main as verify
from tests.imagery.range_server import Injected
from tests.pipelines.conftest import CELLS, Built, build, flags
from tests.pipelines.hosts import serving

ROOT = Path(__file__).resolve().parents[2]


def state(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("opensentinelmap-*")}


def test_only_what_is_missing_is_done_again(built: Built, world: SampleWorld, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    shutil.copytree(built.folder, folder)
    names = sorted(built.shards)
    lost = names[:: max(1, len(names) // 3)]
    for name in lost:
        (folder / name).unlink()
    (folder / "dataset.json").unlink()
    # A summary without its shard is that of an attempt that was killed in between; a leftover has no name.
    (folder / "summaries" / f"{lost[0]}.summary.json").write_text("{")
    (folder / "tmp").mkdir()
    (folder / "tmp" / "half").write_bytes(b"half a shard")
    before = state(folder)

    again = build(world, folder)

    assert again.code == 0
    assert again.shards == built.shards
    assert (folder / "dataset.json").read_bytes() == (built.folder / "dataset.json").read_bytes()
    after = state(folder)
    assert {name for name in after if after[name] != before.get(name)} == set(lost)
    assert not (folder / "tmp").exists()


def test_a_rerun_walks_the_scene_list_that_is_there(built: Built, world: SampleWorld, tmp_path: Path) -> None:
    """Even when the catalogue has changed its mind in the meantime."""
    folder = tmp_path / "set"
    shutil.copytree(built.folder, folder)
    name = next(name for name, content in built.shards.items() if content)
    unit = next(
        json.loads(line)
        for line in (folder / "plan/units.jsonl").read_text().splitlines()
        if json.loads(line)["name"] == name
    )
    (folder / name).unlink()
    for year in world.years:
        path = folder / "scenes" / f"{unit['tile']}_{year}.json"
        content = json.loads(path.read_text())
        content["scenes"] = []
        path.write_text(json.dumps(content))
    again = build(world, folder)
    assert again.code == 0
    assert again.shards[name] == b""


def test_a_damaged_scene_list_is_searched_for_again(built: Built, world: SampleWorld, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    shutil.copytree(built.folder, folder)
    name = next(name for name, content in built.shards.items() if content)
    (folder / name).unlink()
    lists = sorted((folder / "scenes").iterdir())
    sound = [path.read_bytes() for path in lists]
    for index, path in enumerate(lists):
        path.write_bytes((b"", b"[]", sound[index][:-20])[index % 3])
    again = build(world, folder)
    assert again.code == 0
    assert again.shards == built.shards
    searched = [path.read_bytes() == content for path, content in zip(lists, sound, strict=True)]
    assert any(searched)  # those of the shard's tile


def test_other_settings_are_refused(
    built: Built, world: SampleWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    before = state(built.folder)
    assert build(world, built.folder, "--seed", "7", "--max_bad_fraction", "0.1").code == 2
    message = capsys.readouterr().err
    assert "seed: 0 there, 7 now" in message
    assert "filters.max_bad_fraction: 0.25 there, 0.1 now" in message
    assert "bad_scl" not in message  # which is the same
    assert state(built.folder) == before


def test_other_cells_and_another_ontology_are_refused(
    built: Built, world: SampleWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(built.folder)
    fewer = tmp_path / "fewer.csv"
    fewer.write_text("".join(world.cells_csv.read_text().splitlines(keepends=True)[:-1]))
    ontology = tmp_path / "osm_categories.json"
    ontology.write_text(DEFAULT_ONTOLOGY.read_text().replace('"dilation_m": 20', '"dilation_m": 21', 1))
    for more, differing in (
        (["--cells", str(fewer)], "cells_sha256"),
        (["--ontology", str(ontology)], "ontology_sha256"),
    ):
        assert build(world, built.folder, *more).code == 2
        lines = capsys.readouterr().err.splitlines()
        assert [line.split(":")[0].strip() for line in lines if " there, " in line] == [differing]
    assert contents(built.folder) == before


@pytest.fixture
def folder(built: Built, tmp_path: Path) -> Path:
    """A copy of the finished build."""
    return Path(shutil.copytree(built.folder, tmp_path / "set"))


def contents(folder: Path) -> dict[str, bytes]:
    """All files but run.json, which holds times."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "run.json")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_without_its_fingerprint_a_folder_takes_its_own_settings_only(
    built: Built, world: SampleWorld, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "plan/fingerprint.json").unlink()
    before = contents(folder)
    assert build(world, folder, "--max_bad_fraction", "0.9").code == 2
    message = capsys.readouterr().err
    assert "plan/fingerprint.json" in message
    assert "is of other settings and" in message
    assert contents(folder) == before
    shards = state(folder)
    assert build(world, folder).code == 0
    assert contents(folder) == contents(built.folder)
    assert state(folder) == shards


@pytest.mark.parametrize("damage", ["no summary", "half a summary"])
def test_without_its_fingerprint_each_shard_must_prove_itself(
    built: Built, world: SampleWorld, folder: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "plan/fingerprint.json").unlink()
    name = sorted(built.shards)[-1]
    path = folder / "summaries" / f"{name}.summary.json"
    if damage == "no summary":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:100])
    assert build(world, folder).code == 2
    what = "has no summary" if damage == "no summary" else "has a damaged summary"
    assert f"{name} {what}" in capsys.readouterr().err


def edit_summaries(folder: Path, names: list[str], **changes: Any) -> None:
    for name in names:
        path = folder / "summaries" / f"{name}.summary.json"
        content = {**json.loads(path.read_text()), **changes}
        path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def test_a_unit_of_other_settings_is_done_again(built: Built, world: SampleWorld, folder: Path) -> None:
    """A shard with its summary that was copied here from a dataset of other settings."""
    name = sorted(built.shards)[-1]
    edit_summaries(folder, [name], fingerprint="0" * 64)
    assert verify([str(folder)]) == 1
    before = state(folder)
    assert build(world, folder).code == 0
    after = state(folder)
    assert [it for it in after if after[it] != before[it]] == [name]
    assert contents(folder) == contents(built.folder)


@pytest.mark.parametrize(
    ("fingerprint", "message"), [("0" * 64, "is of other settings"), (None, "of an earlier version")]
)
def test_a_folder_of_other_units_is_refused(
    built: Built,
    world: SampleWorld,
    folder: Path,
    fingerprint: str | None,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    edit_summaries(folder, sorted(built.shards), fingerprint=fingerprint)
    before = contents(folder)
    assert build(world, folder).code == 2
    assert message in capsys.readouterr().err
    assert contents(folder) == before


def test_of_two_launches_at_once_one_is_refused(
    world: SampleWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first sees no fingerprint, and the second launches wholly before it goes on."""
    folder = tmp_path / "set"
    mine = parse_build_flags(flags(world, folder))
    others = parse_build_flags([*flags(world, folder), "--max_bad_fraction=0.9"])
    exists = BeamFiles.exists

    def slow(files: BeamFiles, path: str) -> bool:
        found = exists(files, path)
        if path.endswith("fingerprint.json"):
            monkeypatch.undo()
            prepare_build(*others)
        return found

    monkeypatch.setattr(BeamFiles, "exists", slow)
    with pytest.raises(InvalidInputError, match=r"max_bad_fraction: 0\.9 there, 0\.25 now"):
        prepare_build(*mine)
    assert json.loads((folder / "plan/fingerprint.json").read_text())["filters"]["max_bad_fraction"] == 0.9
    prepare_build(*others)
    assert {path.name for path in (folder / "plan").iterdir()} == {
        *("fingerprint.json", "units.jsonl", "launch.json", "osm_categories.json")
    }


@pytest.mark.parametrize(
    "step", ["units.jsonl", "spatial_cell_info.csv", "launch.json", "osm_categories.json", "fingerprint.json"]
)
def test_a_launch_is_refused_while_another_writes_its_plan(
    world: SampleWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    folder = tmp_path / "set"
    mine = parse_build_flags(flags(world, folder))
    others = parse_build_flags([*flags(world, folder), "--max_bad_fraction=0.9"])
    same = parse_build_flags(flags(world, folder))
    write_text = BeamFiles.write_text

    def interrupted(files: BeamFiles, path: str, text: str) -> None:
        if path.endswith(step):
            monkeypatch.undo()
            with pytest.raises(InvalidInputError, match="another launch, with other settings"):
                prepare_build(*others)
            prepare_build(*same)
        write_text(files, path, text)

    monkeypatch.setattr(BeamFiles, "write_text", interrupted)
    prepare_build(*mine)
    assert json.loads((folder / "plan/fingerprint.json").read_text())["filters"]["max_bad_fraction"] == 0.25
    with pytest.raises(InvalidInputError, match="max_bad_fraction"):
        prepare_build(*others)


def test_what_a_killed_launch_left_is_named(world: SampleWorld, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    left = folder / "plan" / f"launch-{'0' * 64}.1.part"
    left.parent.mkdir(parents=True)
    left.write_text("\n")
    with pytest.raises(InvalidInputError, match=f"delete what it left and give the command again: {left}"):
        prepare_build(*parse_build_flags(flags(world, folder)))
    left.unlink()
    prepare_build(*parse_build_flags(flags(world, folder)))


@pytest.mark.parametrize(
    "name",
    [
        *("plan/launch.json", "plan/units.jsonl", "spatial_cell_info.csv"),
        *("features/store.json", "features/plan/request.json", "features/plan/tiles.jsonl"),
    ],
)
@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_small_files_are_made_anew(
    built: Built, world: SampleWorld, folder: Path, name: str, damage: str
) -> None:
    path = folder / name
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-2])
    before = state(folder)
    assert build(world, folder).code == 0
    assert contents(folder) == contents(built.folder)
    assert state(folder) == before


def test_a_store_that_is_not_whole_is_announced(
    world: SampleWorld, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """No unit waits for the tile that is gone: nothing is read for it."""
    (folder / "features/store.json").write_text("[]")
    (folder / "features/23SQC.parquet").unlink()
    build(world, folder)
    assert "is not whole: 1 of 4 tiles have no file" in caplog.text
    assert "what was left out of the extracts is not known" in caplog.text
    assert not (folder / "features/23SQC.parquet").exists()


@pytest.mark.parametrize("content", ["", "{", "[]", '"x"'])
def test_a_damaged_fingerprint_is_named(
    built: Built, world: SampleWorld, folder: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / "plan/fingerprint.json"
    path.write_text(content)
    assert build(world, folder).code == 2
    assert f"{path} is damaged" in capsys.readouterr().err
    path.unlink()  # as the message says
    assert build(world, folder).code == 0
    assert contents(folder) == contents(built.folder)


def test_a_shard_with_a_flipped_bit_is_named_and_made_anew(
    built: Built, world: SampleWorld, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = max(built.shards, key=lambda name: len(built.shards[name]))
    damaged = bytearray(built.shards[name])
    damaged[len(damaged) // 2] ^= 1
    (folder / name).write_bytes(damaged)
    assert build(world, folder).code == 1
    assert f"delete these shards, and the command that built the dataset makes them anew:\n  {name}\n" in (
        capsys.readouterr().out
    )
    (folder / name).unlink()
    assert build(world, folder).code == 0
    assert contents(folder) == contents(built.folder)


@pytest.mark.usefixtures("quick_retries")
def test_a_retry_of_dead_letters_takes_nothing_away(
    world: SampleWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host is still down, and others with it; then it is back."""
    lines = world.cells_csv.read_text().splitlines(keepends=True)
    tiles = collections.Counter(line.split(",")[1] for line in lines[1:])
    tile = tiles.most_common(1)[0][0]
    few = tmp_path / "few.csv"
    few.write_text("".join([lines[0], *[line for line in lines[1:] if f",{tile}," in line][:4]]))
    folder = tmp_path / "set"
    more = ("--cells", str(few))
    calm = build(world, tmp_path / "calm", *more)
    with serving(world) as hosts:
        used = collections.Counter(image.item_id for example in calm.examples() for image in example.images)
        victim = min(used, key=used.__getitem__)
        hosts.files.inject(hosts.paths[victim, "green"], Injected("status", 503))
        hit = hosts.build(world, folder, *more)
        lost = len(hit.dead_letters)
        assert 0 < lost < len(calm.examples())
        before = contents(folder)

        for path in hosts.paths.values():
            hosts.files.inject(path, Injected("status", 503))
        assert hosts.build(world, folder, *more, "--retry_dead_letters").code == 1
        assert contents(folder) == before
        assert Built(folder, 1).run["stages"]["write"]["shards_kept"] == 1

        # Nor where all of the unit fails.
        with monkeypatch.context() as patch:
            patch.setattr(transforms, "assemble_unit", lambda *_: 1 / 0)
            assert hosts.build(world, folder, *more, "--retry_dead_letters").code == 1
        assert contents(folder) == before
        assert verify([str(folder)]) == 0

        hosts.files.heal()
        mended = hosts.build(world, folder, *more, "--retry_dead_letters")
        assert mended.code == 0
        assert mended.shards == calm.shards


def test_a_hiccup_of_the_storage_costs_nothing(
    built: Built, world: SampleWorld, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading a summary, and writing and renaming a shard, each fail once."""
    name = next(name for name, content in built.shards.items() if content)
    (folder / name).unlink()
    monkeypatch.setattr(storage_faults, "RETRIES", RetryPolicy(3, 0.001, 0.001))
    failed: list[str] = []

    def once(owner: object, method: str) -> None:
        original = getattr(owner, method)

        def call(*args: Any, **kwargs: Any) -> Any:
            if name in str(args) and method not in failed:
                failed.append(method)
                raise OSError(errno.ESTALE, "Stale file handle")
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, method, call)

    once(disk.os, "replace")
    once(disk, "read_regular")
    once(disk, "write_whole")
    mended = build(world, folder)
    assert set(failed) == {"replace", "read_regular", "write_whole"}
    assert mended.code == 0
    assert contents(folder) == contents(built.folder)


def test_a_failure_that_cannot_be_recorded_costs_its_unit_only(
    built: Built, world: SampleWorld, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = sorted(built.shards)
    for name in names[:2]:
        (folder / name).unlink()

    def full(folder: object, name: str, *_: object) -> None:
        if name == names[0]:
            raise PermanentFault("storage", "cannot write: No space left on device")
        commit(folder, name, *_)

    def not_recorded(*_: object) -> None:
        raise PermanentFault("storage", "cannot write: No space left on device")

    commit: Any = transforms.commit_unit
    monkeypatch.setattr(transforms, "commit_unit", full)
    monkeypatch.setattr(transforms, "record_failure", not_recorded)
    broken = build(world, folder)
    assert broken.code == 1
    assert broken.dataset["missing_units"] == [names[0]]
    monkeypatch.undo()
    assert build(world, folder).code == 0
    assert contents(folder) == contents(built.folder)


def test_a_full_disk_ends_a_build_with_a_message(
    built: Built,
    world: SampleWorld,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """From when the first shard is written: that shard, its failure, and all that describes the dataset."""
    name = next(name for name, content in built.shards.items() if content)
    (folder / name).unlink()
    (folder / "features/store.json").unlink()
    write = disk.write_whole

    def full(path: str, chunks: Iterable[bytes], *, lasting: bool) -> None:
        if "/plan/" not in path:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, chunks, lasting=lasting)

    monkeypatch.setattr(disk, "write_whole", full)
    assert build(world, folder).code == 1
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("error: the storage cannot be used any more: storage: cannot write")
    assert "dead_letters.jsonl" in message  # which is of the closing step: nothing before it ended the job
    assert "No space left on device" in message
    monkeypatch.undo()
    assert build(world, folder).code == 0
    assert contents(folder) == contents(built.folder)


def test_a_bug_is_no_fault_of_the_storage(
    world: SampleWorld, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transforms, "close_dataset", lambda *_: 1 / 0)
    with pytest.raises(Exception, match="division by zero"):
        build(world, folder)


@pytest.mark.parametrize("more", [[], ["--sample", f"--sample_cells={CELLS}"]])
def test_a_finished_set_that_is_read_only_is_an_error_of_input(
    world: SampleWorld,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
) -> None:
    folder = tmp_path / "set"
    argv = [*more, "--output", str(folder)] if more else flags(world, folder)
    given, options = parse_build_flags(argv)
    before_flags = dict(vars(given))
    prepare_build(given, options)
    assert vars(given) == before_flags, "flags are what was typed, the sample's too"
    write = disk.write_whole

    def read_only(path: str, chunks: Iterable[bytes], *, lasting: bool) -> None:
        if path.startswith(str(folder)):
            raise OSError(errno.EROFS, "Read-only file system")
        write(path, chunks, lasting=lasting)

    monkeypatch.setattr(disk, "write_whole", read_only)
    before = contents(folder)
    assert main(argv) == 2
    assert "--output cannot be used: storage: cannot write" in capsys.readouterr().err
    assert contents(folder) == before


def test_a_url_that_is_a_pattern_is_refused(
    world: SampleWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*flags(world, tmp_path / "set"), "--output", "gs://bucket/set*"]) == 2
    assert "A URL of --output must hold none of * ? [" in capsys.readouterr().err


def test_the_order_of_extracts_decides_nothing(world: SampleWorld, tmp_path: Path) -> None:
    names = [str(shutil.copy(world.osm_extract, tmp_path / f"{name}.osm.pbf")) for name in "ab"]
    one, other = (
        prepare_build(*parse_build_flags([*flags(world, tmp_path / "set"), "--osm", ",".join(paths)]))
        for paths in (names, names[::-1])
    )
    assert one.settings.fingerprint == other.settings.fingerprint


def test_the_runner_that_beam_chooses_gives_the_same_bytes(
    built: Built,
    world: SampleWorld,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Without a network: Beam cannot download its Prism runner and falls back."""
    caplog.set_level(logging.INFO, "apache_beam.runners.direct.direct_runner")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setattr(PrismJobServer, "BIN_CACHE", str(tmp_path / "prism"))
    other = build(world, tmp_path / "set", "--runner=DirectRunner")
    assert "Falling back to DirectRunner" in caplog.text
    assert other.code == 0
    assert other.shards == built.shards
    assert (other.folder / "dataset.json").read_bytes() == (built.folder / "dataset.json").read_bytes()
