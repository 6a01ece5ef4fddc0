"""The report of the scores."""

import json
import re

import numpy as np

from model_tf.scores.histogram import ScoreHistogram
from model_tf.scores.report import ScoreReport, groups_of
from tests.model_tf.made_dataset import ONTOLOGY, made_label, table_of

CATEGORIES = table_of(ONTOLOGY)


def report_of(label: np.ndarray) -> ScoreReport:
    histogram = ScoreHistogram(CATEGORIES)
    logits = np.random.default_rng(1).normal(size=(1, *label.shape[:2], 15)).astype(np.float32)
    histogram.update(logits, label[None], np.array([5]))
    return ScoreReport(histogram)


def test_what_cannot_be_scored_says_so():
    label = made_label(np.random.default_rng(0))
    label[label == 7] = 254  # no quarry
    label[..., 2][label[..., 2] == 254] = 255  # nothing that is known to be no building
    report = report_of(label)
    content = report.to_json()
    scores = content["categories"]
    assert scores["quarry"]["reason"] == "no positives among the known pixels"
    assert scores["building"]["reason"] == "no negatives among the known pixels"
    for name in ("quarry", "building"):
        assert scores[name]["auc"] is scores[name]["average_precision"] is scores[name]["iou"] is None
    assert scores["road"]["reason"] is None
    averages = content["averages"]
    assert averages["water_road_building"]["categories"] == ["water", "road"]
    assert "quarry" not in averages["all"]["categories"]
    assert len(averages["all"]["categories"]) == 13
    json.dumps(content, allow_nan=False)
    assert set(report.curves()) == set(averages["all"]["categories"])
    table = report.table()
    assert re.search(r"^quarry +not scored: no positives", table, re.MULTILINE)
    assert re.search(r"^building +not scored: no negatives", table, re.MULTILINE)


def test_nothing_known_at_all():
    content = report_of(np.full((8, 8, 3), 255, np.uint8)).to_json()
    assert content["averages"]["all"] == {
        "categories": [],
        "macro": {"auc": None, "average_precision": None, "iou": None},
        "micro": {"auc": None, "average_precision": None},
    }


def test_groups_are_those_of_the_papers_figures():
    land_use, others = groups_of(CATEGORIES)
    assert (land_use.key, land_use.title, land_use.names) == ("land_use", "Land use", CATEGORIES.names[:12])
    assert (others.key, others.title) == ("water_road_building", "Water, road, building")
    assert others.names == ("water", "road", "building")


def test_groups_of_another_ontology():
    channels = [
        {"name": "crops", "labels": {"wheat": 0}},
        {"name": "trees", "labels": {f"tree_{value}": value for value in range(5)}},
        {"name": "empty", "labels": {}},
    ]
    groups = groups_of(table_of({"channels": channels}))
    assert [(group.key, len(group.names)) for group in groups] == [("crops", 1), ("other", 5)]
    groups = groups_of(table_of({"channels": [channels[0], channels[2], channels[2]]}))
    assert [group.key for group in groups] == ["crops"]
    channels = [{**channels[0], "name": "../crops"}, {"name": "b", "labels": {"/a b": 1}}, channels[2]]
    groups = groups_of(table_of({"channels": channels}))
    assert [group.key for group in groups] == ["crops", "a_b"]  # parts of file names
