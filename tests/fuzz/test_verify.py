"""Whatever is done to the files of a dataset, verify says that something was done, and goes on to its end."""

import contextlib
import io
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from beam_pipeline.dataset.folder import FINGERPRINT_FILE, description_json, plan_json
from beam_pipeline.dataset.summary import summary_json
from beam_pipeline.verify import main
from tests.audit import audited

JSONS = (b"", b"null", b"[]", b"{}", b"5", b'"x"', b"[[1]]", b'{"a": null}', b"[" * 100_000, b"\xff\xfe")
ROUNDS = 5


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzzed") / "set"
    # One shard of one record, so that a run takes a moment.
    audited.make_dataset(folder, [cell for cell in audited.CELLS if cell.split == "testing"])
    return folder


def flip(rng: random.Random, content: bytes) -> bytes:
    place = rng.randrange(len(content))
    return content[:place] + bytes([content[place] ^ rng.randrange(1, 256)]) + content[place + 1 :]


def cut(rng: random.Random, content: bytes) -> bytes:
    return content[: rng.randrange(len(content))]


def double(rng: random.Random, content: bytes) -> bytes:
    start, end = sorted(rng.choices(range(len(content) + 1), k=2))
    return content[:end] + content[start:end] + content[end:]


def replace(rng: random.Random, content: bytes) -> bytes:
    return rng.choice(JSONS)


def retype(rng: random.Random, content: bytes) -> bytes:
    """Gives one value of a JSON document another type, in the same layout."""
    try:
        document, whole = json.loads(content), json.loads(content)
    except ValueError:
        return replace(rng, content)
    places = []

    def walk(part: object) -> None:
        for key in part if isinstance(part, dict) else range(len(part)) if isinstance(part, list) else ():
            places.append((part, key))
            walk(part[key])

    walk(document)
    if places:
        part, key = rng.choice(places)
        part[key] = rng.choice([None, [], {}, "x", -1, 1e300, 10**30, [[]], {"a": 1}, True])
    layouts = [
        layout for layout in (plan_json, description_json, summary_json) if layout(whole).encode() == content
    ]
    return (layouts or [plan_json])[0](document).encode()


def verified(folder: Path) -> int:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return main([str(folder)])


def meaning(name: str, content: bytes | None) -> object:
    """The part of a file that verify claims to check: all of it, but for the versions that no other file says."""
    if content is None or name != "dataset.json":
        return content
    try:
        document = json.loads(content)
        software = document.pop("software")
        assert software
        assert all(isinstance(version, str) for version in software.values())
    except (ValueError, RecursionError, AttributeError, LookupError, TypeError, AssertionError):
        return content
    return json.dumps(document)


@pytest.mark.parametrize("damage", [flip, cut, double, replace, retype])
def test_any_damage_is_found(clean: Path, tmp_path: Path, damage: Callable[..., bytes]) -> None:
    folder = Path(shutil.copytree(clean, tmp_path / "set"))
    assert verified(folder) == 0
    names = sorted(str(path.relative_to(clean)) for path in clean.rglob("*") if path.is_file())
    assert len(names) == 14
    rng = random.Random(damage.__name__)
    for name in names * ROUNDS:
        whole = (clean / name).read_bytes()
        if not whole and damage in (flip, cut):
            continue
        content = damage(rng, whole)
        (folder / name).write_bytes(content)
        code = verified(folder)
        # Another major version is refused.
        assert code in (0, 1) or (code, name) == (2, FINGERPRINT_FILE)
        assert code or meaning(name, content) == meaning(name, whole), (name, content[:2000])
        (folder / name).write_bytes(whole)
    assert verified(folder) == 0


def test_any_missing_file_is_found(clean: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(clean, tmp_path / "set"))
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        whole = path.read_bytes()
        path.unlink()
        assert verified(folder) == 1, path
        path.write_bytes(whole)
    assert verified(folder) == 0
