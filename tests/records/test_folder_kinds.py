"""The table of what commands do with the folders of others, and that its names are those of the writers."""

import importlib

import pytest

from beam_pipeline.dataset.folder import _FILES
from beam_pipeline.records.folder_kinds import KINDS, Kind, kind_of, require_own_kind
from beam_pipeline.runtime.faults import InvalidInputError

FOLDERS: dict[str, tuple[Kind | None, set[str]]] = {
    "dataset": (
        "dataset",
        {"dataset.json", "plan/fingerprint.json", "plan/units.jsonl", "spatial_cell_info.csv", "LICENSES.md"},
    ),
    "begun dataset": ("dataset", {"plan/units.jsonl"}),
    "dataset with a page": ("dataset", {"dataset.json", "report.html", "preview.png"}),
    "store": ("store", {"store.json", "plan/request.json", "plan/tiles.jsonl", "LICENSES.md"}),
    "begun store": ("store", {"plan/tiles.jsonl"}),
    "export": ("export", {"export/settings.json", "README.md", "LICENSES.md"}),
    "export as published": (
        "export",
        {"export/settings.json", "spatial_cell_info.csv", "osm_categories.json"},
    ),
    "run": ("run", {"settings.json", "last.keras"}),
    "run with scores": ("run", {"settings.json", "scores.json", "table1.json"}),
    "scores": ("scores", {"scores.json", "panel.png"}),
    "results": ("results", {"table1.json", "fits.jsonl", "LICENSES.md"}),
    "begun results": ("results", {"fits.jsonl"}),
    "published": ("published", {"spatial_cell_info.csv", "osm_categories.json"}),
    "cells": ("cells", {"spatial_cell_info.csv", "spatial_cell_info.json", "spatial_cell_info.png"}),
    "failed cells": ("cells", {"selection_problem.json"}),
    "nothing": (None, set()),
    "killed": (None, {"tmp/" + "a" * 32, "plan/launch-ab." + "b" * 32 + ".part"}),
    "notes": (None, {"notes.txt", "osm_categories.json"}),
    "licences": (None, {"LICENSES.md", "notes.txt"}),
}

EVERYWHERE = {"nothing", "killed", "notes"}
ACCEPTED: dict[Kind, set[str]] = {
    "dataset": {"dataset", "begun dataset", "dataset with a page"},
    "store": {"store", "begun store"},
    "export": {"export", "export as published"},
    "run": {"run", "run with scores", "licences"},
    "scores": {"run", "run with scores", "scores", "results", "begun results", "licences"},
    "results": {"run", "run with scores", "scores", "results", "begun results"},
    "cells": {"cells", "failed cells", "licences"},
}

WRITERS = {
    "dataset.json": "beam_pipeline.dataset.folder.DATASET_FILE",
    "plan/fingerprint.json": "beam_pipeline.dataset.folder.FINGERPRINT_FILE",
    "plan/units.jsonl": "beam_pipeline.dataset.folder.UNITS_FILE",
    "plan/store.json": "beam_pipeline.dataset.folder.GIVEN_STORE_FILE",
    "dead_letters.jsonl": "beam_pipeline.dataset.folder.DEAD_LETTERS_FILE",
    "run.json": "beam_pipeline.dataset.folder.RUN_FILE",
    "features.json": "beam_pipeline.dataset.folder.FEATURES_FILE",
    "dataset_info.json": "beam_pipeline.dataset.folder.INFO_FILE",
    "CITATION.cff": "beam_pipeline.dataset.folder.CITATION_FILE",
    "LICENSES.md": "beam_pipeline.dataset.folder.LICENSES_FILE",
    "store.json": "beam_pipeline.features.schema.STORE_FILE",
    "plan/request.json": "beam_pipeline.features.plan.REQUEST_FILE",
    "plan/tiles.jsonl": "beam_pipeline.features.plan.TILES_FILE",
    "export/settings.json": "beam_pipeline.exchange.settings.SETTINGS_FILE",
    "osm_categories.json": "beam_pipeline.exchange.published.CATEGORIES_FILE",
    "spatial_cell_info.csv": "beam_pipeline.cells.table.CELLS_FILE",
    "spatial_cell_info.json": "beam_pipeline.jobs.select.cell_list.SELECTION_FILE",
    "spatial_cell_info.png": "beam_pipeline.jobs.select.cell_list.PLOT_FILE",
    "selection_problem.json": "beam_pipeline.jobs.select.cell_list.PROBLEM_FILE",
}
OF_MODELS = {"run", "scores", "results"}
"""Their names are compared in tests/model_tf/test_other_folders.py."""


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("kind", ACCEPTED)
def test_the_table(kind: Kind, folder: str) -> None:
    found, names = FOLDERS[folder]
    if folder in ACCEPTED[kind] | EVERYWHERE:
        assert require_own_kind("DIR", kind, names.__contains__) == (kind == found)
        return
    with pytest.raises(InvalidInputError) as refused:
        require_own_kind("DIR", kind, names.__contains__)
    said = str(refused.value)
    assert said.endswith("Give another --output. Received: DIR")
    if found is None:
        assert said.startswith("--output holds files that ")
        assert "would overwrite: LICENSES.md" in said
    else:
        assert said.startswith(f"--output is the folder of {KINDS[found].title}, as ")


def test_what_would_be_harmed_is_named() -> None:
    with pytest.raises(InvalidInputError, match=r"overwrite its spatial_cell_info\.csv"):
        require_own_kind("DIR", "cells", FOLDERS["dataset"][1].__contains__)
    with pytest.raises(InvalidInputError, match="mix with its files"):
        require_own_kind("DIR", "run", FOLDERS["store"][1].__contains__)
    with pytest.raises(InvalidInputError, match=r"would overwrite: README.md\. "):
        require_own_kind("DIR", "export", ("README.md",).__contains__, ("README.md", "croissant.json"))


def test_what_a_folder_is() -> None:
    assert kind_of({"settings.json", "notes.txt"}) == ("run", "settings.json")
    assert kind_of({"notes.txt", "osm_categories.json"}) is None


def test_names_are_those_of_the_writers() -> None:
    for name, constant in WRITERS.items():
        module, _, attribute = constant.rpartition(".")
        assert getattr(importlib.import_module(module), attribute) == name
    named = {
        it for kind, files in KINDS.items() if kind not in OF_MODELS for it in (*files.marks, *files.others)
    }
    assert named == WRITERS.keys()
    dataset = KINDS["dataset"]
    assert {*_FILES} <= {*dataset.marks, *dataset.others}
