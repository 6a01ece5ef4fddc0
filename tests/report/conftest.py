"""A small whole dataset, and its report."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from beam_pipeline.dataset.folder import summary_name
from beam_pipeline.dataset.summary import summary_json
from beam_pipeline.make_report import main
from tests.audit.audited import FIRST, TESTING, make_dataset


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset; two of its units refused scenes."""
    folder = tmp_path_factory.mktemp("made") / "set"
    make_dataset(folder)
    for name in (FIRST, TESTING):
        edit_summary(folder, name, lambda it: it.update(scene_rejections={"unusable": 1, "too_bright": 1}))
    return folder


@pytest.fixture(scope="session")
def shown(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its page."""
    output = tmp_path_factory.mktemp("shown") / "page.html"
    assert main([str(made), f"--output={output}"]) == 0
    return output


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of the dataset, to be damaged."""
    return Path(shutil.copytree(made, tmp_path / "set"))


def edit_summary(folder: Path, name: str, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / summary_name(name)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(summary_json(content))
