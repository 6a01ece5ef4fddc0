"""A dataset or a run of a stranger: regular files only, of the size that is said, and no class of others for TFDS."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from beam_pipeline.audit.dataset import verify_dataset
from beam_pipeline.dataset.fingerprint import Fingerprint
from beam_pipeline.dataset.folder import FINGERPRINT_FILE, ONTOLOGY_FILE, UNITS_FILE, DatasetFolder
from beam_pipeline.dataset.output_folder import write_plan
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.runtime.faults import InvalidInputError
from tests.audit import audited

ROOT = Path(__file__).resolve().parents[2]
SHARD = audited.FIRST
SUMMARY = f"summaries/{SHARD}.summary.json"
READ = [SHARD, SUMMARY, "dataset.json", "features.json", FINGERPRINT_FILE, UNITS_FILE, ONTOLOGY_FILE]

PREVIEWED = [SHARD, "dataset.json"]

PATIENCE_S = 120
"""The time after which a hanging run is ended. Nothing here takes a tenth of it."""


def put_link(path: Path) -> None:
    kept = path.with_name("kept")
    path.rename(kept)
    path.symlink_to(kept.name)


def put_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def put_device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def put_socket(path: Path) -> None:
    path.unlink()
    before = Path.cwd()
    os.chdir(path.parent)  # an address has room for about a hundred bytes
    try:
        with socket.socket(socket.AF_UNIX) as it:
            it.bind(path.name)
    finally:
        os.chdir(before)


def put_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


KINDS: dict[str, tuple[Callable[[Path], None], str]] = {
    "a link to a file": (put_link, "is a link"),
    "a link to a device": (put_device, "is a link"),
    "a pipe": (put_pipe, "is a pipe"),
    "a socket": (put_socket, "is a socket"),
    "a folder": (put_folder, "is a folder"),
}


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("strange") / "set"
    audited.make_dataset(folder)
    return folder


@pytest.fixture
def folder(clean: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(clean, tmp_path / "set"))


def run(program: str) -> str:
    """Runs a program that may hang or take all memory where a wall is missing; returns what it prints."""
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))\n{program}"
    done = subprocess.run(
        [sys.executable, "-c", limited],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=PATIENCE_S,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout + done.stderr


def test_verify_and_preview_neither_hang_nor_follow(clean: Path, tmp_path: Path) -> None:
    """Each kind of thing in place of a shard, and a pipe in place of each file that is read."""
    cases = []
    for kind, name in [*((kind, SHARD) for kind in KINDS), *(("a pipe", name) for name in READ[1:])]:
        put, said = KINDS[kind]
        place = Path(shutil.copytree(clean, tmp_path / kind / name))
        put(place / name)
        cases.append((str(place), name, said))
    program = f"""
import os
os.dup2(1, 2)  # one order of all that is said
from beam_pipeline.verify import main as verify
from beam_pipeline.preview import main as preview
for folder, name, said in {cases!r}:
    print("CASE", folder, flush=True)
    print("VERIFY", verify([folder]), flush=True)
    if name in {PREVIEWED!r}:
        print("PREVIEW", preview([folder]), flush=True)
"""
    parts = run(program).split("CASE ")[1:]
    assert len(parts) == len(cases)
    for part, (place, name, said) in zip(parts, cases, strict=True):
        assert part.startswith(place)
        assert "VERIFY 1" in part, part
        (line,) = [line for line in part.splitlines() if line.startswith(f"  {name}: ") and said in line]
        assert "put what it leads to in its place" in line or "A regular file is wanted" in line
        if name in PREVIEWED:
            assert "PREVIEW 2" in part, part
            assert "error: irregular: " in part


def test_a_folder_that_is_a_link_is_taken_as_it_was_given(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    assert dict(verify_dataset(DatasetFolder(BeamFiles(), str(tmp_path / "link"))).kinds) == {}


@pytest.mark.parametrize("name", ["run.json", "scenes", "summaries", "tmp", "scenes/x.json"])
def test_links_that_nobody_reads_are_found_too(folder: Path, name: str) -> None:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    if path.exists():
        put_link(path)
    else:
        path.symlink_to("/etc")
    findings = verify_dataset(DatasetFolder(BeamFiles(), str(folder)))
    assert findings.kinds["unreadable"] == 1
    assert f"\n  {name}: is a link." in findings.table()


def test_what_is_none_of_the_datasets_is_nobodys_business(folder: Path) -> None:
    (folder / "my notes").symlink_to("/etc")
    os.mkfifo(folder / "pipe")
    assert dict(verify_dataset(DatasetFolder(BeamFiles(), str(folder))).kinds) == {}


@pytest.mark.parametrize("name", [SHARD, SUMMARY, FINGERPRINT_FILE, "extracts", "tmp"])
def test_a_build_goes_on_with_no_link(folder: Path, name: str) -> None:
    path = folder / name
    if path.exists():
        put_link(path)
    else:
        path.symlink_to(folder / "plan")
    before = sorted(folder.rglob("*"))
    given = Fingerprint.from_json((folder / FINGERPRINT_FILE).read_bytes())
    with pytest.raises(InvalidInputError, match=rf"{name} is a link\. Links in a folder are not followed"):
        write_plan(DatasetFolder(BeamFiles(), str(folder)), given, {UNITS_FILE: "x"})
    assert sorted(folder.rglob("*")) == before


def test_files_that_claim_any_length_cost_nothing(clean: Path, tmp_path: Path) -> None:
    """1 TiB, all of it a hole: an archive of it has a few bytes."""
    names = [SHARD, SUMMARY, "dataset.json", UNITS_FILE]
    folders = [Path(shutil.copytree(clean, tmp_path / str(number))) for number in range(len(names))]
    for folder, name in zip(folders, names, strict=True):
        os.truncate(folder / name, 1 << 40)
    program = f"""
from beam_pipeline.verify import main as verify
from beam_pipeline.preview import main as preview
for folder in {list(map(str, folders))!r}:
    print("VERIFY", verify([folder]))
print("PREVIEW", preview([{str(folders[0])!r}]))
"""
    said = run(program)
    assert said.count("VERIFY 1") == len(names)
    assert "PREVIEW 2" in said
    assert f"  {SHARD}: has at least " in said
    for folder, name in zip(folders[1:], names[1:], strict=True):
        assert f"  {name}: {folder / name} has 1,099,511,627,776 bytes" in said


def test_a_preview_wants_shards_of_the_size_that_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from beam_pipeline.preview import main

    size = (folder / SHARD).stat().st_size
    (folder / SHARD).write_bytes((folder / SHARD).read_bytes() + b"x")
    assert main([str(folder)]) == 2
    assert f"has {size + 1} bytes, and dataset.json says {size}" in capsys.readouterr().err


def test_a_picture_goes_through_no_link(folder: Path, tmp_path: Path) -> None:
    from beam_pipeline.preview import main

    secret = tmp_path / "secret"
    secret.write_text("mine")
    (folder / "preview.png").symlink_to(secret)
    assert main([str(folder), "--rows", "1"]) == 0
    assert secret.read_text() == "mine"
    assert (folder / "preview.png").read_bytes().startswith(b"\x89PNG")
    assert not (folder / "preview.png").is_symlink()


@pytest.mark.parametrize("place", ["type", "inner", "legacy"])
@pytest.mark.parametrize("plan", ["whole", "damaged"])
def test_verify_refuses_classes_that_tfds_would_import(folder: Path, place: str, plan: str) -> None:
    content = json.loads((folder / "features.json").read_text())
    if place == "type":
        content["type"] = "evil.module.Feature"
    elif place == "inner":
        features = content["content"]["features"]["image_0"]["featuresDict"]["features"]
        features["scl"]["pythonClassName"] = "evil.module.Feature"
    else:
        content["content"]["features"]["more"] = {"type": "evil.module.Feature", "content": "{}"}
    (folder / "features.json").write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
    if plan == "damaged":
        (folder / FINGERPRINT_FILE).unlink()
        (folder / "dataset.json").unlink()
    table = verify_dataset(DatasetFolder(BeamFiles(), str(folder))).table()
    assert "foreign_class:\n  features.json: has TFDS import and run 'evil.module.Feature'" in table


def test_tfds_does_import_what_features_json_names(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Why verify comes first. Where this fails, TFDS has mended it."""
    tfds = pytest.importorskip("tensorflow_datasets")
    (tmp_path / "evil_features.py").write_text(f"open({str(tmp_path / 'was_here')!r}, 'w').close()\n")
    monkeypatch.syspath_prepend(tmp_path)
    content = json.loads((folder / "features.json").read_text())
    content["content"]["features"]["image_0"]["pythonClassName"] = "evil_features.Feature"
    (folder / "features.json").write_text(json.dumps(content))
    with pytest.raises(Exception, match="evil_features"):
        tfds.builder_from_directory(folder)
    assert (tmp_path / "was_here").exists()
