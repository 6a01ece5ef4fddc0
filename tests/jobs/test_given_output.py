"""Every job looks at the folder of --output before anything else, on a disk and in a bucket."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from beam_pipeline.exchange.registry import FORMATS
from beam_pipeline.jobs.build.launch import check_build
from beam_pipeline.jobs.build.options import parse_build_flags
from beam_pipeline.jobs.export.options import parse_export_flags
from beam_pipeline.jobs.export.run import check_export
from beam_pipeline.jobs.extract.launch import check_extraction
from beam_pipeline.jobs.extract.options import parse_extract_flags
from beam_pipeline.jobs.given_output import require_own_output
from beam_pipeline.jobs.import_published.launch import check_import
from beam_pipeline.jobs.import_published.options import parse_import_flags
from beam_pipeline.jobs.patches.launch import check_patches
from beam_pipeline.jobs.patches.options import parse_patch_flags
from beam_pipeline.jobs.relabel.launch import check_relabelling
from beam_pipeline.jobs.relabel.options import parse_relabel_flags
from beam_pipeline.jobs.select.launch import check_selection_flags
from beam_pipeline.jobs.select.options import parse_selection_flags
from beam_pipeline.records.folder_kinds import KINDS, Kind
from beam_pipeline.runtime.faults import InvalidInputError
from tests.jobs.test_storage import ObjectStore

OSM = ["--area=9,47,10,48", "--osm=none.osm.pbf"]
DATASET = "--dataset=no_such_set"
JOBS: dict[str, tuple[Callable[[list[str]], Any], Kind, list[str]]] = {
    "build": (lambda argv: check_build(*parse_build_flags(argv)), "dataset", OSM),
    "relabel": (lambda argv: check_relabelling(parse_relabel_flags(argv)[0]), "dataset", [DATASET]),
    "import": (lambda argv: check_import(parse_import_flags(argv)[0]), "dataset", ["--published=none"]),
    "patches": (
        lambda argv: check_patches(*parse_patch_flags(argv)),
        "dataset",
        ["--places=none.csv", "--years=2020"],
    ),
    "extract": (lambda argv: check_extraction(parse_extract_flags(argv)[0]), "store", OSM),
    "select": (
        lambda argv: check_selection_flags(*parse_selection_flags(argv)),
        "cells",
        ["--night_lights=none.tif", "--land_cover=none.tif"],
    ),
    **{
        f"export {name}": (
            lambda argv: check_export(parse_export_flags(argv)[0]),
            "export",
            [DATASET, f"--format={name}"],
        )
        for name in ("published", "geotiff", "webdataset", "card")
    },
}
MARKS = {"dataset": "plan/units.jsonl", "store": "store.json", "cells": "spatial_cell_info.csv"}


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("theirs")


@pytest.mark.parametrize("job", JOBS)
def test_a_folder_of_another_kind_is_refused_first(job: str, tmp_path: Path) -> None:
    check, kind, argv = JOBS[job]
    for other, mark in MARKS.items():
        if other == kind:
            continue
        put(tmp_path / other, mark)
        with pytest.raises(InvalidInputError, match=rf"^--output is the folder of {KINDS[other].title}, as "):  # type: ignore[index]
            check([*argv, f"--output={tmp_path / other}"])
        assert [it.name for it in (tmp_path / other).rglob("*") if it.is_file()] == [Path(mark).name]


def test_every_format_has_its_row() -> None:
    assert {f"export {name}" for name in FORMATS} == {it for it in JOBS if it.startswith("export")}


@pytest.mark.parametrize("name", ["webdataset", "card"])
def test_an_export_spares_a_strangers_readme(name: str, tmp_path: Path) -> None:
    put(tmp_path, "README.md")
    with pytest.raises(InvalidInputError, match=r"files that an export would overwrite: README\.md\. "):
        JOBS[f"export {name}"][0]([DATASET, f"--format={name}", f"--output={tmp_path}"])


@pytest.fixture(params=["disk", "bucket"])
def holding(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    """Returns a function that puts files into a folder and returns its path."""

    def on_disk(*names: str) -> str:
        put(tmp_path / "out", *names)
        return str(tmp_path / "out")

    def in_bucket(*names: str) -> str:
        monkeypatch.setattr(ObjectStore, "objects", {f"objects://b/out/{name}": b"x" for name in names})
        return "objects://b/out"

    return on_disk if request.param == "disk" else in_bucket


def test_what_is_accepted(holding: Callable[..., str]) -> None:
    require_own_output(holding(), "dataset")
    require_own_output(holding(f"tmp/{'a' * 32}", f".{'b' * 32}.part", "notes.txt"), "dataset")
    require_own_output(holding("tmp/mine.txt"), "export", tidies=False)
    require_own_output(holding("plan/units.jsonl", "tmp/mine.txt"), "dataset")  # as it was begun


@pytest.mark.parametrize("name", ["mine.txt", "deeper/mine.txt"])
def test_a_strangers_tmp_is_spared(name: str, holding: Callable[..., str]) -> None:
    output = holding(f"tmp/{name}", f"tmp/{'a' * 32}")
    with pytest.raises(
        InvalidInputError,
        match=r"^--output holds tmp/(mine\.txt|deeper|deeper/mine\.txt), and tmp/ is deleted",
    ):
        require_own_output(output, "cells")


def test_another_kind_is_refused(holding: Callable[..., str]) -> None:
    with pytest.raises(
        InvalidInputError, match=r"a list of cells would overwrite its spatial_cell_info\.csv\. "
    ):
        require_own_output(holding("dataset.json", "spatial_cell_info.csv"), "cells")
