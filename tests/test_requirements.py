"""The lock files agree with each other and with pyproject.toml, and the package holds all that it needs."""

import importlib.metadata
import itertools
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from beam_pipeline import __version__

ROOT = Path(__file__).resolve().parents[1]


def lock(path: str) -> dict[str, set[str]]:
    """Name -> the lines that pin it (a universal lock may pin one name by platform)."""
    pins: dict[str, set[str]] = {}
    for line in (ROOT / path).read_text().splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            assert re.fullmatch(r"==[^,*]+", str(requirement.specifier)), f"{path}: {line} is no exact pin"
            pins.setdefault(canonicalize_name(requirement.name), set()).add(line)
    return pins


def versions(lines: set[str]) -> set[str]:
    """The pins without the platforms for which they hold."""
    return {str(Requirement(line).specifier) for line in lines}


def declared() -> dict[str, list[Requirement]]:
    """Returns the requirements of pyproject.toml by extra; "" is what everybody needs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = {"": project["dependencies"], **project["optional-dependencies"]}
    return {name: [Requirement(text) for text in texts] for name, texts in groups.items()}


def locked_extras() -> list[set[str]]:
    """Returns the packages of the extras in requirements.txt: all but PyTorch, whose builds differ by accelerator."""
    return [names(group) for extra, group in declared().items() if extra not in ("", "torch")]


def names(requirements: Iterable[Requirement]) -> set[str]:
    return {canonicalize_name(requirement.name) for requirement in requirements}


def test_workers_get_the_lock_without_the_extras() -> None:
    full, worker = lock("requirements.txt"), lock("templates/requirements-worker.txt")
    everybody, extras = names(declared()[""]), locked_extras()
    assert worker.items() <= full.items()
    assert everybody <= worker.keys()
    assert set().union(*extras) <= full.keys()
    assert not set().union(*extras) & worker.keys()


def test_every_bound_is_pinned_within_it() -> None:
    full = lock("tests/requirements-torch.txt") | lock("requirements.txt")
    assert "torch" not in lock("requirements.txt")
    for requirement in itertools.chain(*declared().values()):
        for pin in full[canonicalize_name(requirement.name)]:
            (version,) = versions({pin})
            version = version.removeprefix("==")
            assert requirement.specifier.contains(version), f"{pin} is outside of {requirement}"


def test_what_is_packed_for_workers_holds_every_module_and_data_file(tmp_path: Path) -> None:
    """Beam packs the package so, on the machine that launches a job."""
    source = tmp_path / "source"
    for folder in ("beam_pipeline", "model_tf"):
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    packed = subprocess.run(
        [sys.executable, "setup.py", "--quiet", "sdist", "--dist-dir", str(tmp_path)],
        cwd=source,
        capture_output=True,
        text=True,
    )
    assert packed.returncode == 0, packed.stderr
    with tarfile.open(tmp_path / f"opensentinelmap-{__version__}.tar.gz") as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    files = [path for folder in ("beam_pipeline", "model_tf") for path in (source / folder).rglob("*")]
    wanted = {str(path.relative_to(source)) for path in files if path.is_file()}
    assert wanted - held == set()
    assert {"setup.py", "pyproject.toml", "README.md", "LICENSE"} <= held


def test_the_locks_of_tests_contradict_nothing() -> None:
    full, tests, torch = (
        lock(path) for path in ("requirements.txt", "tests/requirements.txt", "tests/requirements-torch.txt")
    )
    for one, other in ((tests, full), (torch, full), (torch, tests)):
        for name in one.keys() & other.keys():
            assert versions(one[name]) <= versions(other[name])


def test_pillow_is_left_out_of_the_audit_only_while_beam_holds_it_back() -> None:
    bounds = [Requirement(text) for text in importlib.metadata.requires("apache-beam") or ()]
    (pillow,) = [bound for bound in bounds if bound.name == "pillow" and bound.marker is None]
    assert not pillow.specifier.contains("13.0.0"), (
        "take Pillow back into .ci/audit, and out of docs/security.md"
    )
