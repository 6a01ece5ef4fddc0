"""kNN, the linear probe, the head and their scores against independent answers."""

import warnings

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix, top_k_accuracy_score
from sklearn.neighbors import KNeighborsClassifier

from model_tf.downstream_tasks import head as head_module
from model_tf.downstream_tasks.classifiers import linear_probe, nearest_neighbours
from model_tf.downstream_tasks.head import Head, channels_for
from model_tf.downstream_tasks.scoring import Cell, _add, outcome, top_shares


def made(count: int, width: int = 12, classes: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    centres = np.random.default_rng(99).normal(size=(classes, width))
    return (centres[labels] + 1.5 * draw.normal(size=(count, width))).astype(np.float32), labels


def standard(training, testing):
    mean, deviation = training.mean(axis=0), training.std(axis=0)
    return (training - mean) / deviation, (testing - mean) / deviation


@pytest.mark.parametrize("count", [5, 25, 200])
def test_neighbours_vote_as_in_scikit_learn(count):
    (training, labels), (testing, _) = made(count), made(300, seed=1)
    ours = nearest_neighbours(training, labels, testing)
    one, other = standard(training.astype(np.float64), testing.astype(np.float64))
    theirs = KNeighborsClassifier(5, weights="distance").fit(one, labels)
    assert (ours.argmax(axis=1) == theirs.predict(other)).mean() == 1
    np.testing.assert_allclose(ours, theirs.predict_proba(other), atol=1e-4)


def test_neighbours_vote_as_by_hand():
    """Each of the five nearest by the inverse of its distance, everything worked out in numpy."""
    (training, labels), (testing, _) = made(60), made(20, seed=1)
    ours = nearest_neighbours(training, labels, testing)
    one, other = standard(training.astype(np.float64), testing.astype(np.float64))
    for row, patch in enumerate(other):
        distances = np.sqrt(((one - patch) ** 2).sum(axis=1))
        votes = np.zeros(5)
        for near in np.argsort(distances)[:5]:
            votes[labels[near]] += 1 / distances[near]
        np.testing.assert_allclose(ours[row], votes / votes.sum(), atol=1e-4)


def test_the_probe_is_scikit_learns():
    (training, labels), (testing, true) = made(200), made(300, seed=1)
    ours = linear_probe(training, labels, testing)
    one, other = standard(training.astype(np.float64), testing.astype(np.float64))
    theirs = LogisticRegression(max_iter=5000, tol=1e-8).fit(one, labels)
    assert (ours.argmax(axis=1) == theirs.predict(other)).mean() > 0.99
    np.testing.assert_allclose(ours, theirs.predict_proba(other), atol=0.02)
    assert (ours.argmax(axis=1) == true).mean() > 0.6


def test_top_k_and_confusion_are_scikit_learns():
    (training, labels), (testing, true) = made(200), made(300, seed=1)
    shares = linear_probe(training, labels, testing)
    top = top_shares(shares, true)
    for k in range(1, 5):
        assert top[k - 1] == pytest.approx(top_k_accuracy_score(true, shares, k=k))
    assert top[-1] == 1
    cells = {}
    cell = Cell("made", "linear", "random", "5")
    for _ in range(2):
        _add(cells, cell, outcome(shares, true, 200))
    np.testing.assert_array_equal(cells[cell].confusion, 2 * confusion_matrix(true, shares.argmax(axis=1)))
    assert cells[cell].mean == pytest.approx(100 * (shares.argmax(axis=1) == true).mean())
    assert (cells[cell].deviation, cells[cell].testing) == (0, [300, 300])


@pytest.mark.parametrize("classes", [2, 10, 59])
@pytest.mark.parametrize("width", [10, 56, 126, 224, 336])
def test_a_head_has_the_papers_number_of_weights(width, classes):
    """1 % of ResNet-50's 25.6 million to 3 % of GoogLeNet's 6.8 million, and about what is said."""
    channels = channels_for(width, classes)
    weights = 9 * (width * channels + channels**2 + channels * classes) + 2 * channels + classes
    assert 0.20e6 <= weights <= 0.26e6


def test_a_head_learns_what_lies_where_and_goes_by_its_seed(monkeypatch):
    """Two classes of equal mean embeddings: what differs is where in the patch a channel is high."""
    monkeypatch.setattr(head_module, "LEAST_STEPS", 60)
    draw = np.random.default_rng(0)
    labels = np.arange(48) % 2
    grids = 0.1 * draw.normal(size=(48, 8, 8, 4))
    grids[labels == 0, :4, :, 0] += 1
    grids[labels == 1, ::2, :, 0] += 1
    grids = grids.astype(np.float16)
    head = Head(4, 8, 2)
    assert head.num_weights == head.model.count_params()
    answers = []
    for seed in (1, 2, 1):
        head.fit(grids[:32], labels[:32], seed)
        answers.append(head.probabilities(grids[32:]))
    assert (answers[0].argmax(axis=1) == labels[32:]).mean() > 0.9
    np.testing.assert_allclose(answers[0].sum(axis=1), 1)
    np.testing.assert_allclose(answers[0], answers[2], atol=1e-5)
    assert np.abs(answers[0] - answers[1]).max() > 1e-6


def test_a_channel_that_training_patches_do_not_have_is_left_as_it_is():
    """Divided by next to nothing, an activation that few training patches do not have would outweigh all others."""
    draw = np.random.default_rng(0)
    labels = np.arange(40) % 2
    grids = draw.normal(size=(40, 4, 4, 3)) * 0.1
    grids[labels == 1, ..., 0] += 1
    grids[..., 2] = 0
    others = grids.copy()
    others[..., 2] = 0.5
    head = Head(3, 4, 2)
    head.fit(grids.astype(np.float16), labels, 1)
    assert head._deviation[2] == 1
    there = head.probabilities(others.astype(np.float16))
    assert (there.argmax(axis=1) == labels).mean() > 0.9


def test_one_patch_a_class_is_nothing_to_warn_of():
    (training, labels), (testing, _) = made(5), made(20, seed=1)
    with warnings.catch_warnings(record=True) as caught:
        linear_probe(training, labels, testing)
        nearest_neighbours(training, labels, testing)
    assert [str(it.message) for it in caught] == []


def test_ranks_by_hand_with_draws():
    """Of classes with equal shares the lower comes first, in the ranks as in the matrix."""
    draw = np.random.default_rng(5)
    shares = draw.integers(0, 4, (200, 6)) / 4  # many are equal
    labels = draw.integers(0, 6, 200)
    fit = outcome(shares, labels, 12)
    within = np.zeros(6)
    confusion = np.zeros((6, 6), int)
    for row, label in zip(shares, labels, strict=True):
        ranked = sorted(range(6), key=lambda index: (-row[index], index))
        confusion[label, ranked[0]] += 1
        for k in range(6):
            within[k] += label in ranked[: k + 1]
    np.testing.assert_allclose(fit.top, within / 200)
    np.testing.assert_array_equal(fit.confusion, confusion)
    assert fit.confusion.sum() == 200
    np.testing.assert_array_equal(fit.confusion.sum(axis=1), np.bincount(labels, minlength=6))
