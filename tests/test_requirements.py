"""The lock files agree with each other and with setup.py."""

import ast
import importlib.metadata
import re
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
TRAINING_ONLY = {"tensorflow", "keras", "tensorboard"}


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


def declared() -> tuple[list[Requirement], list[Requirement]]:
    """(install_requires, extra train) of setup.py."""
    tree = ast.parse((ROOT / "setup.py").read_text())
    (call,) = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "setup"
    ]
    values = {word.arg: word.value for word in call.keywords}
    install = ast.literal_eval(values["install_requires"])
    train = ast.literal_eval(values["extras_require"])["train"]
    return [Requirement(text) for text in install], [Requirement(text) for text in train]


def test_workers_get_the_lock_without_tensorflow_and_keras() -> None:
    full, worker = lock("requirements.txt"), lock("templates/requirements-worker.txt")
    assert worker.items() <= full.items()
    assert full.keys() >= TRAINING_ONLY
    assert not TRAINING_ONLY & worker.keys()


def test_every_bound_of_setup_is_pinned_within_it() -> None:
    full, worker = lock("requirements.txt"), lock("templates/requirements-worker.txt")
    install, train = declared()
    assert {requirement.name for requirement in train} == TRAINING_ONLY
    for requirement in install + train:
        for pin in full[canonicalize_name(requirement.name)]:
            (version,) = versions({pin})
            version = version.removeprefix("==")
            assert requirement.specifier.contains(version), f"{pin} is outside of {requirement}"
    assert {canonicalize_name(requirement.name) for requirement in install} <= worker.keys()


def test_the_tests_lock_contradicts_nothing() -> None:
    full, tests = lock("requirements.txt"), lock("tests/requirements.txt")
    for name in full.keys() & tests.keys():
        assert versions(tests[name]) <= versions(full[name])


def test_pillow_is_left_out_of_the_audit_only_while_beam_holds_it_back() -> None:
    bounds = [Requirement(text) for text in importlib.metadata.requires("apache-beam") or ()]
    (pillow,) = [bound for bound in bounds if bound.name == "pillow" and bound.marker is None]
    assert not pillow.specifier.contains("13.0.0"), (
        "take Pillow back into .ci/audit, and out of docs/security.md"
    )
