"""Scores over known pixels, against brute force and scikit-learn."""

import dataclasses
import json

import numpy as np
import pytest
from sklearn import metrics

from beam_pipeline.runtime.faults import InvalidInputError
from model_tf.scores.histogram import ScoreHistogram, mean_auc
from tests.model_tf.made_dataset import ONTOLOGY, VALUES, table_of

CATEGORIES = table_of(ONTOLOGY)


def made(seed: int, images: int = 3, side: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Logits that know something of the label, and the label."""
    rng = np.random.default_rng(seed)
    channels = [rng.choice([*values, 254, 255], (images, side, side)) for values in VALUES]
    label = np.stack(channels, axis=-1).astype(np.uint8)
    held = label[..., list(CATEGORIES.channels)] == np.array(CATEGORIES.values)
    logits = rng.normal(-2, 1, held.shape) + held * rng.uniform(0, 2, len(CATEGORIES))
    return logits.astype(np.float32), label


def pairs_of(logits: np.ndarray, label: np.ndarray, index: int) -> tuple[list[bool], list[float]]:
    """Truth and score of every known pixel, one at a time."""
    truth, scores = [], []
    channel, value = CATEGORIES.channels[index], CATEGORIES.values[index]
    for place in np.ndindex(label.shape[:-1]):
        held = int(label[(*place, channel)])
        if held != 255:
            truth.append(held == value)
            scores.append(float(logits[(*place, index)]))
    return truth, scores


def test_every_category_is_scored_over_its_known_pixels():
    batches = [made(0), made(1, images=1), made(2, images=11, side=16)]
    histogram = ScoreHistogram(CATEGORIES)
    for logits, label in batches:
        histogram.update(logits, label)
    scores = histogram.scores()
    assert tuple(scores) == CATEGORIES.names
    for index, name in enumerate(CATEGORIES.names):
        truth, values = zip(*(pairs_of(*batch, index) for batch in batches), strict=True)
        truth, values = np.concatenate(truth), np.concatenate(values)
        score = scores[name]
        assert (score.positives, score.negatives) == (truth.sum(), (~truth).sum())
        assert score.auc == pytest.approx(metrics.roc_auc_score(truth, values), abs=1e-9)
        assert score.average_precision == pytest.approx(
            metrics.average_precision_score(truth, values), abs=1e-9
        )
        at_threshold = metrics.jaccard_score(truth, values >= score.threshold)
        assert score.iou == pytest.approx(at_threshold)
    assert mean_auc(scores) == pytest.approx(np.mean([score.auc for score in scores.values()]))


def test_unknown_pixels_contribute_nothing():
    logits, label = made(0)
    histogram = ScoreHistogram(CATEGORIES)
    histogram.update(logits, np.full_like(label, 255))
    assert all(score.positives == score.negatives == 0 for score in histogram.scores().values())
    histogram.update(logits, label)
    expected = ScoreHistogram(CATEGORIES)
    expected.update(logits, label)
    changed = logits.copy()
    for index, channel in enumerate(CATEGORIES.channels):
        changed[..., index] += 50 * (label[..., channel] == 255)
    moved = ScoreHistogram(CATEGORIES)
    moved.update(changed, label)
    for name, score in expected.scores().items():
        assert histogram.scores()[name].to_json() == moved.scores()[name].to_json() == score.to_json()


def test_what_cannot_be_scored_says_so():
    """No water at all, and nothing known of buildings."""
    logits, label = made(0)
    label[..., 1][label[..., 1] == 12] = 254
    label[..., 2] = 255
    label[..., 0] = 0  # everything is wooded: no negatives
    histogram = ScoreHistogram(CATEGORIES)
    histogram.update(logits, label)
    scores = histogram.scores()
    assert scores["water"].reason == "no positives among the known pixels"
    assert scores["building"].reason == "no positives and no negatives among the known pixels"
    assert scores["wooded"].reason == "no negatives among the known pixels"
    assert scores["road"].reason is None
    assert scores["water"].auc is scores["wooded"].average_precision is scores["building"].iou is None
    assert mean_auc(scores) == scores["road"].auc
    # No NaN, which JSON does not have.
    json.loads(json.dumps([score.to_json() for score in scores.values()], allow_nan=False))


def test_nothing_scored_has_no_mean():
    histogram = ScoreHistogram(CATEGORIES)
    assert mean_auc(histogram.scores()) is None
    assert histogram.pooled("all", CATEGORIES.names).reason is not None


def test_cells_with_positives_are_counted_once():
    logits, label = made(0, images=4)
    label[2][label[2] == 12] = 254
    label[3] = 255
    histogram = ScoreHistogram(CATEGORIES)
    histogram.update(logits, label, np.array([7, 7, 8, 9]))
    histogram.update(logits[:1], label[:1], np.array([7]))
    scores = histogram.scores()
    assert scores["water"].cells == 1
    assert scores["road"].cells == 2
    histogram.update(logits[:1], label[:1])
    assert histogram.scores()["water"].cells is None


def test_histograms_merge():
    batches = [made(seed) for seed in range(3)]
    together, merged = ScoreHistogram(CATEGORIES), ScoreHistogram(CATEGORIES)
    for number, (logits, label) in enumerate(batches):
        cells = np.full(len(label), number)
        together.update(logits, label, cells)
        one = ScoreHistogram(CATEGORIES)
        one.update(logits, label, cells)
        merged.merge(one)
    scores = merged.scores()
    for name, score in together.scores().items():
        assert scores[name].to_json() == score.to_json()
    other = dataclasses.replace(CATEGORIES, names=tuple(name.upper() for name in CATEGORIES.names))
    with pytest.raises(ValueError, match="categories must agree"):
        merged.merge(ScoreHistogram(other))


def test_the_micro_average_pools_pairs_of_pixel_and_category():
    logits, label = made(0)
    label[..., 1][label[..., 1] == 12] = 254  # no water: left out
    histogram = ScoreHistogram(CATEGORIES)
    histogram.update(logits, label)
    truth, values = [], []
    for name in ("road", "building"):
        of_class = pairs_of(logits, label, CATEGORIES.names.index(name))
        truth += of_class[0]
        values += of_class[1]
    pooled = histogram.pooled("micro", ("water", "road", "building"))
    assert pooled.auc == pytest.approx(metrics.roc_auc_score(truth, values), abs=1e-9)
    assert (pooled.positives, pooled.negatives) == (sum(truth), len(truth) - sum(truth))


def test_bfloat16_logits_are_taken():
    import ml_dtypes

    logits, label = made(0)
    low = logits.astype(ml_dtypes.bfloat16)
    histogram, expected = ScoreHistogram(CATEGORIES), ScoreHistogram(CATEGORIES)
    histogram.update(low, label)
    expected.update(low.astype(np.float32), label)
    assert mean_auc(histogram.scores()) == mean_auc(expected.scores())


def test_bad_batches_are_refused():
    logits, label = made(0)
    histogram = ScoreHistogram(CATEGORIES)
    with pytest.raises(ValueError, match=r"logits must be .* Received: \(3, 32, 32, 14\)"):
        histogram.update(logits[..., :14], label)
    for value in (np.nan, np.inf, -np.inf):
        broken = logits.copy()
        broken[1, 2, 3, 4] = value
        with pytest.raises(ValueError, match="logits must be finite"):
            histogram.update(broken, label)
    strange = label.copy()
    strange[0, 0, 0, 1] = 3
    with pytest.raises(InvalidInputError, match=r"channel 1 \(OSM_water_and_roads\).*Received: \[3\]"):
        histogram.update(logits, strange)
