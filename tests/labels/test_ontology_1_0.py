"""Ontologies of schema 1.0, as a dataset kept them."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from beam_pipeline.labels.ontology import Ontology
from beam_pipeline.labels.ontology_1_0 import load_1_0
from beam_pipeline.runtime.faults import InvalidInputError

PLAN = Path(__file__).parents[1] / "dataset" / "old_folder" / "set" / "plan"
TEXT = (PLAN / "osm_categories.json").read_text()
DIGEST = json.loads((PLAN / "fingerprint.json").read_text())["ontology_sha256"]


def test_it_has_the_digest_that_the_dataset_was_made_with() -> None:
    ontology = load_1_0(TEXT)
    assert ontology.sha256 == DIGEST
    assert pickle.loads(pickle.dumps(ontology)).sha256 == DIGEST
    assert [label.value for label in ontology.labels] == list(range(15))
    assert ontology.layers_of("line", [("waterway", "stream"), ("tunnel", "culvert")]) == frozenset()


def test_what_is_given_to_a_build_is_told_the_new_form() -> None:
    with pytest.raises(InvalidInputError, match="this must be a list of conditions"):
        Ontology.load(TEXT)


def change(document: dict[str, Any], *steps: Any, to: Any) -> None:
    for step in steps[:-1]:
        document = document[step]
    document[steps[-1]] = to


BUILDING = ("channels", 2, "labels", "building", "building", 0)


@pytest.mark.parametrize(
    "changed",
    [
        lambda d: change(d, "none", "buildings", 0, "where", to=["water"]),
        lambda d: change(d, "none", "buildings", 1, "if_cell_has", to="road"),
        lambda d: change(d, *BUILDING, "unless", to={"location": ["indoor"]}),
        lambda d: change(d, *BUILDING, "unless", to=[{"location": ["underground"], "layer": ["-1"]}]),
        lambda d: change(d, *BUILDING, "all_touched", to=False),
        lambda d: change(d, "version", to=2),
    ],
)
def test_whatever_is_changed_shows_in_the_digest(changed: Callable[[dict[str, Any]], None]) -> None:
    document = json.loads(TEXT)
    changed(document)
    assert load_1_0(json.dumps(document)).sha256 != DIGEST


@pytest.mark.parametrize(
    "changed",
    [
        lambda d: change(d, "none", to=7),
        lambda d: change(d, "none", "roofs", to=[]),
        lambda d: change(d, "none", "buildings", 0, "where", to=["lava"]),
        lambda d: change(d, "none", "buildings", 1, "if_cell_has", to="lava"),
        lambda d: change(d, "none", "buildings", 0, "distance_m", to=20),
        lambda d: change(d, *BUILDING, "unless", to={"location": 7}),
        lambda d: change(d, "channels", to={}),
    ],
)
def test_what_is_none_is_refused(changed: Callable[[dict[str, Any]], None]) -> None:
    document = json.loads(TEXT)
    changed(document)
    with pytest.raises(InvalidInputError):
        load_1_0(json.dumps(document))
    for text in ("", "[]", "7", '{"version": 1}'):
        with pytest.raises(InvalidInputError):
            load_1_0(text)
