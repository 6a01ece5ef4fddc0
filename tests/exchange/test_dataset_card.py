"""Dataset cards: their YAML, as Hugging Face's library reads it, and their facts beside dataset.json."""

import dataclasses
import fnmatch
import json
import re
from pathlib import Path

import pytest

from beam_pipeline.dataset.folder import DATASET_FILE, DatasetFolder
from beam_pipeline.exchange.card import Card
from beam_pipeline.exchange.dataset_card import tfrecord_card, webdataset_card
from beam_pipeline.exchange.facts import Extent, Place, SplitFacts, read_facts
from beam_pipeline.exchange.source import open_source
from beam_pipeline.exchange.webdataset import WebDataset
from beam_pipeline.runtime.disk import Disk
from beam_pipeline.runtime.foreign_text import in_markdown
from tests.exchange.conftest import export
from tests.model_tf.made_dataset import write_dataset

SPLITS = ("training", "validation", "testing")


def facts_of(folder: Path, splits=SPLITS):
    return read_facts(open_source(DatasetFolder(Disk(), str(folder)), splits))


def front_matter(text: str):
    yaml = pytest.importorskip("yaml")
    match = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    return yaml.safe_load(match[1])


@pytest.mark.parametrize("card", [webdataset_card, tfrecord_card])
def test_yaml_says_licences_task_and_size(dataset, card):
    front = front_matter(card(facts_of(dataset)))
    # Source: the tables of https://huggingface.co/docs/hub/repositories-licenses and of hub-docs/datasetcard.md.
    assert front["license"] == ["odbl", "other"]
    assert front["license_name"] == re.sub(r"[^a-z0-9-]", "", front["license_name"])
    assert front["license_link"] == "LICENSES.md"
    assert front["task_categories"] == ["image-segmentation"]
    assert front["size_categories"] == ["n<1K"]


def test_data_files_are_those_that_are_written(dataset, tmp_path):
    export(dataset, tmp_path, WebDataset())
    (config,) = front_matter((tmp_path / "README.md").read_text())["configs"]
    there = [str(it.relative_to(tmp_path)) for it in tmp_path.glob("data/*")]
    found = {it["split"]: fnmatch.filter(there, it["path"]) for it in config["data_files"]}
    assert {split: len(names) for split, names in found.items()} == {"train": 2, "test": 1}
    assert sorted(it for names in found.values() for it in names) == sorted(there)


def test_code_of_the_card_reads_a_split_that_has_examples(dataset):
    facts = facts_of(dataset, ("testing",))
    empty = dataclasses.replace(facts, splits={"training": SplitFacts(), **facts.splits})
    for card in (webdataset_card(empty), tfrecord_card(empty)):
        assert "training" not in card.partition("## Reading")[2].partition("## Fields")[0]
    assert 'glob.glob("data/testing-*.tar")' in webdataset_card(empty)
    assert 'as_dataset(split="testing")' in tfrecord_card(empty)
    assert "| `label.png` | 192 x 192 x 3 uint8 |" in webdataset_card(empty)
    assert "| `image_0.scl.png` | 96 x 96 uint8 |" in webdataset_card(empty)


def test_huggingface_hub_reads_it(dataset):
    hub = pytest.importorskip(
        "huggingface_hub", reason="needs huggingface_hub, which no venv of tests has to have"
    )
    for text in (webdataset_card(facts_of(dataset)), tfrecord_card(facts_of(dataset))):
        card = hub.DatasetCard(text)
        assert card.data.license == ["odbl", "other"]
        assert card.text.lstrip().startswith("# Sentinel-2 image pairs")


def test_the_card_of_tfrecords_goes_without_a_copy(dataset, tmp_path):
    summary = export(dataset, tmp_path, Card())
    assert summary.complete
    assert summary.splits["training"] == {"examples": 6, "cells": 3}
    there = {it.name for it in tmp_path.iterdir()}
    assert there == {"README.md", "croissant.json", "LICENSES.md", "CITATION.cff", "export"}
    assert front_matter((tmp_path / "README.md").read_text())["viewer"] is False


def test_numbers_are_those_of_dataset_json(dataset):
    described = json.loads((dataset / DATASET_FILE).read_text())
    text = webdataset_card(facts_of(dataset))
    for split, counts in described["splits"].items():
        row = next(line for line in text.splitlines() if line.startswith(f"| {split} |"))
        told = [int(cell.replace(",", "")) for cell in row.split("|")[2:6]]
        assert told == [counts[name] for name in ("cells", "examples", "pairs", "images")]
    land = described["labels"][0]["pixels"]
    share = f"{land['wooded'] / sum(land.values()):.2%}"
    assert next(line for line in text.splitlines() if "| wooded |" in line).split("|")[4].strip() == share


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ([(0.0, 10.0)], "100% from the equator to 30° N"),
        ([(-0.5, 10.0)], "100% from 30° S to the equator"),
        ([(45.0, 10.0), (-45.0, 10.0), (46.0, 11.0)], "33% from 60° S to 30° S, 67% from 30° N to 60° N"),
    ],
)
def test_belts(dataset, cells, words):
    places = [Place("training", "33TWN", 32633, lat, lon, lat + 0.01, lon + 0.01) for lat, lon in cells]
    facts = dataclasses.replace(facts_of(dataset), extent=Extent.of_places(places))
    assert words in webdataset_card(facts)


def test_a_cell_across_the_antimeridian_makes_the_box_go_round():
    across = Place("training", "60KXF", 32760, -18.0, 179.99, -17.98, -179.99)
    near = Place("testing", "33TWN", 32633, 45.0, 12.0, 45.02, 12.02)
    for places in ([across, near], [near, across]):
        extent = Extent.of_places(places)
        assert extent.box == (-18.0, -180.0, 45.02, 180.0)
        assert extent.epsg == (32633, 32760)
        assert extent.tiles == {"training": 1, "testing": 1}
    assert Extent.of_places([]) is None


@pytest.mark.parametrize(
    ("bins", "shares"), [([5, 0, 5], (0.5, 0.5)), ([0, 4, 1], (0.0, 0.2)), ([0, 0, 0], None), ([1, 2], None)]
)
def test_labelled_shares(dataset, tmp_path, made, bins, shares):
    folder = Path(write_dataset(tmp_path / "set", made))
    described = json.loads((folder / DATASET_FILE).read_text())
    described["labelled_cells"] = {"edges_percent": [0, 1, 90, 100], "cells_by_split": {"training": bins}}
    (folder / DATASET_FILE).write_text(json.dumps(described))
    assert facts_of(folder, ("training",)).labelled_shares == shares


def test_a_dataset_that_says_little_has_a_card(dataset, tmp_path, made):
    """Datasets of before 1.1, and those of others, lack much of it."""
    folder = Path(write_dataset(tmp_path / "set", made))
    described = json.loads((folder / DATASET_FILE).read_text())
    for key in ("fingerprint", "labelled_cells", "labels", "images_by_month", "licences"):
        described.pop(key, None)
    (folder / DATASET_FILE).write_text(json.dumps(described))
    text = webdataset_card(facts_of(folder))
    assert "None" not in text
    assert "| OSM_land_use" not in text
    assert r"| OSM\_land\_use | 7 | quarry |  |  |" in text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("other_natural", r"other\_natural"),
        ("a|b", r"a\|b"),
        ("<img src=x>", r"\<img src=x\>"),
        ("a\nb", r"a\\nb"),
    ],
)
def test_text_of_others_is_shown_as_it_is(text, shown):
    assert in_markdown(text) == shown
