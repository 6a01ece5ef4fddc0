"""The bins and what is ranked from them, against scikit-learn on the same scores."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from sklearn import metrics

from model_tf.scores.bins import AUC_ERROR, CROWDED, ScoreBins, to_keys, to_scores
from model_tf.scores.ranking import Ranking

SIZE = 400_000
BATCH = 30_011


def counted(scores: np.ndarray, batch: int = BATCH) -> ScoreBins:
    bins = ScoreBins()
    for first in range(0, len(scores), batch):
        bins.add(to_keys(scores[first : first + batch]))
    return bins


def ranking(truth: np.ndarray, scores: np.ndarray, batch: int = BATCH) -> Ranking:
    return Ranking(counted(scores[truth], batch), counted(scores[~truth], batch))


def to_bfloat16(scores: np.ndarray) -> np.ndarray:
    return (scores.astype(np.float32).view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)


def distributions() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Truth and scores of networks that are good, bad, broken and pathological."""
    rng = np.random.default_rng(0)
    truth = rng.random(SIZE) < 0.02
    noise = rng.normal(size=SIZE)
    crowd = -3 + 1e-5 * (noise + truth)
    grouped = np.sort(truth)[::-1]  # all positives first
    return {
        "trained": (truth, 2 * noise - 4 + 3 * truth),
        "untrained": (truth, -3 + 1e-4 * (noise + truth)),
        "a few float32 values": (truth, np.float32(0.5) + np.float32(2**-24) * np.rint(noise + truth)),
        "a crowd and outliers": (truth, np.where(rng.random(SIZE) < 0.01, 50 * noise, crowd)),
        "all equal": (truth, np.full(SIZE, -2.5)),
        "saturated": (truth, np.clip(60 * noise + 50 * truth, -88, 88)),
        "infinite": (truth, np.where(noise > 1, np.inf, np.where(noise < -1, -np.inf, noise + truth))),
        "bfloat16": (truth, to_bfloat16(2 * noise - 4 + 3 * truth)),
        "both signs, many magnitudes": (truth, noise * 10.0 ** rng.integers(-30, 6, SIZE) + 1e-9 * truth),
        "zeros of both signs": (truth, np.where(noise > 0, 0.0, -0.0)),
        "perfect": (truth, 1e-6 * noise + truth),
        "the wrong way round": (truth, noise - 4 * truth),
        "rare": (rng.random(SIZE) < 5e-5, noise),
        "positives first": (grouped, 1e-4 * (noise + grouped)),
        "ascending": (truth, np.sort(2 * noise)),
        # A wide range first, so that few slots are split; then everything where none is.
        "drifting": (truth, np.where(np.arange(SIZE) < SIZE // 10, 8 * noise, 5 + 1e-4 * (noise + truth))),
    }


@pytest.mark.parametrize("name", distributions())
def test_agrees_with_scikit_learn(name):
    truth, scores = distributions()[name]
    scores = scores.astype(np.float32)
    ours = ranking(truth, scores)
    # scikit-learn does not take infinite scores; the order is all that counts.
    finite = np.nan_to_num(scores, posinf=1e30, neginf=-1e30)
    auc = metrics.roc_auc_score(truth, finite)
    precision = metrics.average_precision_score(truth, finite)
    assert ours.auc() == pytest.approx(auc, abs=1e-3)
    assert ours.average_precision() == pytest.approx(precision, abs=1e-3)
    assert abs(ours.auc() - auc) <= ours.auc_error() + 1e-12
    assert abs(ours.average_precision() - precision) <= ours.average_precision_error() + 1e-12
    assert ours.auc_error() <= AUC_ERROR < 1e-3


@settings(max_examples=60, deadline=None)
@given(
    truth=npst.arrays(bool, 60),
    scores=npst.arrays(np.float32, 60, elements=st.floats(width=32, allow_nan=False, allow_infinity=False)),
    batch=st.sampled_from([7, 25, 60]),
)
def test_few_scores_are_exact(truth, scores, batch):
    truth[:2] = True, False
    ours = ranking(truth, scores, batch)
    assert ours.auc() == pytest.approx(metrics.roc_auc_score(truth, scores), abs=1e-12)
    assert ours.average_precision() == pytest.approx(
        metrics.average_precision_score(truth, scores), abs=1e-12
    )
    assert max(ours.auc_error(), ours.average_precision_error()) < 1e-12
    iou, threshold = ours.best_iou()
    by_threshold = {at: (truth & (scores >= at)).sum() / (truth | (scores >= at)).sum() for at in scores}
    assert iou == pytest.approx(max(by_threshold.values()))
    assert by_threshold[np.float32(threshold)] == pytest.approx(iou)


def test_no_slot_is_crowded():
    """Whatever the order, no slot that mixes scores holds more than its share: what the error bound rests on."""
    for name, (_, scores) in distributions().items():
        slots = counted(scores.astype(np.float32)).slots()
        mixed = slots.count[slots.low != slots.high]
        assert mixed.max(initial=0) <= CROWDED * SIZE, name
        assert slots.count.sum() == SIZE, name


def test_the_error_bound_is_not_idle():
    """Without splitting, the top 16 bits alone would miss what the split slots resolve."""
    truth, scores = distributions()["untrained"]
    coarse = to_bfloat16(scores)
    missed = abs(
        metrics.roc_auc_score(truth, coarse) - metrics.roc_auc_score(truth, scores.astype(np.float32))
    )
    assert missed > 0.05


@pytest.mark.parametrize("name", ["trained", "untrained", "drifting", "all equal"])
def test_merged_bins_score_as_well(name):
    truth, scores = distributions()[name]
    scores = scores.astype(np.float32)
    parts = np.array_split(np.arange(SIZE), [1_000, SIZE // 3])
    bins = {kind: ScoreBins() for kind in (True, False)}
    for part in parts:
        for kind, merged in bins.items():
            merged.merge(counted(scores[part][truth[part] == kind]))
    for kind, merged in bins.items():
        assert merged.total == merged.slots().count.sum() == (truth == kind).sum()
        slots = merged.slots()
        assert slots.count[slots.low != slots.high].max(initial=0) <= CROWDED * merged.total
    ours = Ranking(bins[True], bins[False])
    auc = metrics.roc_auc_score(truth, scores)
    assert ours.auc() == pytest.approx(auc, abs=1e-3)
    assert abs(ours.auc() - auc) <= ours.auc_error() + 1e-12


def test_merging_keeps_the_other_bins():
    one, other = counted(np.float32([1, 2, 3])), counted(np.float32([2, 4]))
    one.merge(other)
    one.add(to_keys(np.float32([4])))
    assert to_scores(other.slots().low).tolist() == [2, 4]
    slots = one.slots()
    merged = dict(zip(to_scores(slots.low).tolist(), slots.count.tolist(), strict=True))
    assert merged == {1: 1, 2: 2, 3: 1, 4: 2}


def test_keys_have_the_order_of_the_scores():
    scores = np.float32([-np.inf, -3.4e38, -2, -1e-45, 0, 1e-45, 1, 1.0000001, 3.4e38, np.inf])
    keys = to_keys(scores)
    assert (np.diff(keys.astype(np.int64)) > 0).all()
    np.testing.assert_array_equal(to_scores(keys), scores)
    assert to_keys(np.float32([-0.0])) == to_keys(np.float32([0.0]))


def test_the_roc_curve_is_that_of_scikit_learn():
    truth, scores = distributions()["trained"]
    false, true = ranking(truth, scores.astype(np.float32)).roc()
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    assert (np.diff(false) >= 0).all()
    assert (np.diff(true) >= 0).all()
    assert len(false) <= 514
    expected_false, expected_true, _ = metrics.roc_curve(truth, scores, drop_intermediate=False)
    np.testing.assert_allclose(true, np.interp(false, expected_false, expected_true), atol=2e-3)
    assert np.trapezoid(true, false) == pytest.approx(metrics.roc_auc_score(truth, scores), abs=1e-3)


def test_memory_is_bounded():
    """It depends on the number of scores no more than by their logarithm."""
    rng = np.random.default_rng(0)
    bins = ScoreBins()
    for _ in range(40):
        bins.add(to_keys(rng.normal(-4, 2, 100_000).astype(np.float32)))
    assert bins.total == 4_000_000
    assert bins.num_bytes < 12e6


def test_thousands_of_scores_are_exact():
    """Below 1 / CROWDED of either no two different scores share a slot, in one batch or in many."""
    rng = np.random.default_rng(0)
    size = int(1 / CROWDED) - 1
    truth = np.repeat([True, False], size)
    scores = (-3 + 1e-5 * (rng.normal(size=2 * size) + truth)).astype(np.float32)
    for batch in (2 * size, 97):
        ours = ranking(truth, scores, batch)
        assert ours.auc() == pytest.approx(metrics.roc_auc_score(truth, scores), abs=1e-12)
        assert ours.auc_error() < 1e-12
