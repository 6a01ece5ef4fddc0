"""Whatever a file or a folder is called, each flag of each program takes the name for itself or refuses it."""

import pytest

from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.names import folder_name, path_name, path_names
from tests.entries import ENTRIES
from tests.odd_names import KEPT

PATH_FLAGS = {
    "build": {
        "cells",
        "area",
        "sample_dir",
        "stac_url",
        "osm",
        "osm_index_dir",
        "overpass_cache",
        "ontology",
        "output",
        "token_file",
        "water_polygons",
    },
    "extract": {"cells", "area", "osm", "osm_index_dir", "overpass_cache", "ontology", "output"},
    "plan": {"cells", "area"},
    "select": {"night_lights", "land_cover", "expanded_dir", "area", "output"},
    "relabel": {"dataset", "osm", "water_polygons", "ontology", "output"},
    "import": {"published", "output"},
    "export": {"dataset", "output"},
    "patches": {"places", "eurosat", "fmow", "stac_url", "token_file", "output"},
    "verify": {"dataset", "features", "report"},
    "preview": {"dataset", "output"},
    "report": {"dataset", "output"},
    "sample_world": {"output"},
    "train": {"data", "output"},
    "evaluate": {"run", "data", "output", "checkpoint"},
    "downstream": {"run", "checkpoint", "patches", "output", "cache"},
}
FOLDERS = {
    "sample_dir",
    "osm_index_dir",
    "overpass_cache",
    "expanded_dir",
    "published",
    "dataset",
    "features",
    "data",
    "run",
    "patches",
    "cache",
    "eurosat",
    "fmow",
}
SEVERAL = {"osm", "night_lights"}
STORE = ("relabel", "osm")
"""One folder, where other programs take several files."""

POSITIONAL = {("verify", "dataset"), ("preview", "dataset"), ("report", "dataset")}
TEXTS = {
    "build": {
        *("years", "collection", "bad_scl", "overpass_url", "osm_date"),
        *("public_buckets", "sas_token_url", "token_hosts"),
    },
    "extract": {"overpass_url", "osm_date"},
    "plan": {"years"},
    "patches": {
        *("years", "collection", "bad_scl", "near"),
        *("public_buckets", "sas_token_url", "token_hosts"),
    },
    "train": {"tpu", "width", "precision", "backend", "strategy"},
    "evaluate": {"split"},
}
"""Flags of free text that name no file."""

PANEL = ("evaluate", "cells")

EACH = [(entry, name) for entry, names in PATH_FLAGS.items() for name in sorted(names)]


def parsed(entry: str, name: str, given: str) -> object:
    argv = ["--", given] if (entry, name) in POSITIONAL else [f"--{name}={given}"]
    parser = ENTRIES[entry].parser
    needed = {action.dest for action in parser._actions if action.required} - {name}
    for other in needed:
        argv = [*argv, "x"] if (entry, other) in POSITIONAL else [f"--{other}=x", *argv]
    return getattr(parser.parse_known_args(argv)[0], name)


def is_several(entry: str, name: str) -> bool:
    return name in SEVERAL and (entry, name) != STORE


def is_folder(entry: str, name: str) -> bool:
    return name in FOLDERS or (entry, name) == STORE


def test_no_flag_of_a_path_is_forgotten() -> None:
    for entry, program in ENTRIES.items():
        actions = [it for it in program.parser._actions if it.nargs is None and it.choices is None]
        paths = {it.dest for it in actions if it.type in (path_name, folder_name, path_names)}
        assert paths == PATH_FLAGS[entry]
        assert {it.dest for it in actions if it.type is None} == TEXTS.get(entry, set()), entry


@pytest.mark.parametrize(("entry", "name"), EACH)
def test_names_are_taken_for_themselves(entry: str, name: str) -> None:
    for given in KEPT:
        assert parsed(entry, name, given) == ((given,) if is_several(entry, name) else given)
    if is_folder(entry, name):
        assert parsed(entry, name, "a//") == "a"


@pytest.mark.parametrize(("entry", "name"), EACH)
def test_what_is_no_name_is_refused(entry: str, name: str) -> None:
    with pytest.raises(InvalidInputError, match=r"no UTF-8.* Received: .*a\\udcff"):
        parsed(entry, name, "a\udcff")
    if is_several(entry, name):
        assert parsed(entry, name, "") == ()  # which is told as a flag that is missing
    else:
        with pytest.raises(InvalidInputError, match=f"{name}: is empty. Is a variable empty"):
            parsed(entry, name, "")
    if is_folder(entry, name):
        with pytest.raises(InvalidInputError, match="names no folder but the root"):
            parsed(entry, name, "/")


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_value_that_looks_like_a_flag_is_explained(entry: str) -> None:
    name = next((name for name in sorted(PATH_FLAGS[entry]) if name not in ("dataset", "area")), None)
    if name is not None:
        with pytest.raises(InvalidInputError, match=r"joined to its flag, e\.g\. --output=-x"):
            ENTRIES[entry].parser.parse_known_args([f"--{name}", "-x"])


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_flag_that_takes_several_values_says_how(entry: str) -> None:
    several = 0
    for action in ENTRIES[entry].parser._actions:
        texts = {"bad_scl", "class_weights", "columns", "methods", "norms", "splits", "years"}
        if action.dest in texts or is_several(entry, action.dest) or (entry, action.dest) == PANEL:
            assert "separated by commas" in (action.help or "")
            several += 1
    assert several == {
        "build": 3,
        "extract": 1,
        "plan": 1,
        "patches": 2,
        "select": 1,
        "train": 1,
        "evaluate": 1,
        "downstream": 4,
        "export": 1,
    }.get(entry, 0)
