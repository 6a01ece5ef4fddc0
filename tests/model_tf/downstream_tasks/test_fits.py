"""Fits that were made are kept, found by what decides them, and not made again."""

import dataclasses
import json

import numpy as np
import pytest

from beam_pipeline.runtime.faults import InvalidInputError
from model_tf.downstream_tasks import fits as fits_module
from model_tf.downstream_tasks import scoring
from model_tf.downstream_tasks.fits import Fits, key_of
from model_tf.downstream_tasks.scoring import Features, Protocol, Scores, draw_splits, outcome, score
from model_tf.downstream_tasks.splits import Column
from tests.model_tf.downstream_tasks.made_tiles import made_set

LABELS = [index % 3 for index in range(60)]
PATCHES = made_set(LABELS, [(index / 3, 0.0) for index in range(60)])
COLUMNS = (Column.of("2"), Column.of("5"))
PROTOCOL = Protocol(COLUMNS, ("random", "spatial"), ("knn", "linear"), 3, 3, 0)
UNITS = 2 * 2 * 2 * 3


def features(key: str = "made") -> Features:
    draw = np.random.default_rng(0)
    vectors = draw.normal(size=(3, 8))[LABELS] + draw.normal(size=(60, 8))
    return Features("made", vectors.astype(np.float32), None, key)


def nearest_mean(training: np.ndarray, labels: np.ndarray, testing: np.ndarray) -> np.ndarray:
    """A classifier that costs nothing."""
    means = np.stack([training[labels == index].mean(axis=0) for index in range(3)])
    nearness = np.exp(-np.linalg.norm(testing[:, None] - means, axis=2))
    return nearness / nearness.sum(axis=1, keepdims=True)


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    monkeypatch.setattr(scoring, "_VECTORS", dict.fromkeys(("knn", "linear"), nearest_mean))


@pytest.fixture
def made(monkeypatch) -> list[tuple[str, int]]:
    """The classifier and seed of each fit that is really made."""
    fitted: list[tuple[str, int]] = []
    real = scoring._fit

    def counted(patches, one, method, part, seed, head):
        fitted.append((method, seed))
        return real(patches, one, method, part, seed, head)

    monkeypatch.setattr(scoring, "_fit", counted)
    return fitted


def content(scores: Scores) -> dict:
    return {
        cell: (np.array(it.top).tolist(), it.confusion.tolist(), it.training, it.testing)
        for cell, it in scores.cells.items()
    }


def scored(path, *, of: Features | None = None, protocol: Protocol = PROTOCOL, patches=PATCHES) -> dict:
    drawn = draw_splits(patches, protocol)
    return content(score(patches, [of or features()], protocol, drawn, Fits(str(path), 3)))


def plain(of: Features | None = None, protocol: Protocol = PROTOCOL, patches=PATCHES) -> dict:
    """The scores with no file."""
    return content(score(patches, [of or features()], protocol, draw_splits(patches, protocol)))


def test_what_is_fitted_is_not_fitted_again_and_the_scores_are_equal(made, tmp_path):
    path = tmp_path / "fits.jsonl"
    first = scored(path)
    assert len(made) == UNITS
    assert scored(path) == first == plain()
    assert len(made) == 2 * UNITS  # those of the last, which has no file


def test_a_table_goes_on_after_a_kill(made, tmp_path, monkeypatch):
    """Nothing runs after a kill: what counts is what was in the file then."""
    path = tmp_path / "fits.jsonl"
    monkeypatch.setattr(fits_module, "SAVE_EVERY_S", 0.0)
    kept = Fits.keep
    real = scoring._fit

    def killed(*given):
        if len(made) == 7:
            monkeypatch.setattr(Fits, "keep", lambda self: None)
            raise SystemExit
        return real(*given)

    with monkeypatch.context() as patch:
        patch.setattr(scoring, "_fit", killed)
        with pytest.raises(SystemExit):
            scored(path)
    monkeypatch.setattr(Fits, "keep", kept)
    assert len(path.read_text().splitlines()) == 7
    after = scored(path)
    assert len(made) == UNITS
    assert after == plain()


def test_ctrl_c_costs_the_fit_under_way_alone(made, tmp_path, monkeypatch):
    real = scoring._fit

    def interrupted(*given):
        if len(made) == 4:
            raise KeyboardInterrupt
        return real(*given)

    with monkeypatch.context() as patch:
        patch.setattr(scoring, "_fit", interrupted)
        with pytest.raises(KeyboardInterrupt):
            scored(tmp_path / "fits.jsonl")
    scored(tmp_path / "fits.jsonl")
    assert len(made) == UNITS


@pytest.mark.parametrize(
    ("other", "fits"),
    [
        ({"of": features("another")}, UNITS),
        ({"patches": dataclasses.replace(PATCHES, fingerprint="another")}, UNITS),
        ({"protocol": dataclasses.replace(PROTOCOL, seed=1)}, UNITS // 3),  # seeds 1 and 2 are there
        ({"protocol": dataclasses.replace(PROTOCOL, seeds=4)}, UNITS // 3),
        ({"protocol": dataclasses.replace(PROTOCOL, columns=COLUMNS[:1])}, 0),
        ({"protocol": dataclasses.replace(PROTOCOL, columns=(*COLUMNS, Column.of("50/50")))}, UNITS // 2),
    ],
)
def test_other_settings_are_other_fits_and_the_first_are_kept(made, tmp_path, other, fits):
    path = tmp_path / "fits.jsonl"
    first = scored(path)
    made.clear()
    given = {"of": features(), "patches": PATCHES, "protocol": PROTOCOL, **other}
    there = scored(path, **other)
    assert len(made) == fits
    assert there == plain(**given)
    made.clear()
    assert scored(path) == first
    assert made == []


def test_fits_of_other_versions_are_not_taken(made, tmp_path, monkeypatch):
    path = tmp_path / "fits.jsonl"
    scored(path)
    made.clear()
    monkeypatch.setattr(fits_module, "_versions", lambda: {"keras": "99"})
    scored(path)
    assert len(made) == UNITS


def line(**fields: object) -> bytes:
    fit = outcome(np.eye(3)[[0, 1, 2, 0]], np.array([0, 1, 2, 1]), 9)
    known = {"key": key_of({}), "of": "made", "top": fit.top.tolist(), "confusion": fit.confusion.tolist()}
    return json.dumps({**known, "training": 9, **fields}).encode() + b"\n"


def test_a_line_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "fits.jsonl"
    path.write_bytes(line())
    fit = Fits(str(path), 3).get(key_of({}))
    assert fit is not None
    assert (fit.top[0], fit.testing, fit.training) == (0.75, 4, 9)
    assert fit.confusion.tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    assert Fits(str(path), 4).get(key_of({})) is None  # of other patches


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (b"\n", "line 1"),
        (line()[:40], "line 1"),
        (line() + b"{}\n", "line 2: key"),
        (b"\xff\xfe\n", "line 1"),
        (line(key="../x"), "key"),
        (line(top=[0.5, 0.75, 1.0]), "top must begin with the share"),
        (line(top=[0.75, 0.5, 1.0]), "top must rise to 1"),
        (line(top=[0.75, 1.0]), "a row and a column for each class"),
        (line(confusion=[[3, 0, 0], [1]]), "a row and a column for each class"),
        (line(confusion=[[1, -1, 0]] * 3), "confusion"),
        (line(training=0), "training"),
        (line(more=1), "more"),
        (line().replace(b"0.75", b"NaN"), "line 1"),
    ],
)
def test_a_file_that_is_no_fits_is_refused_and_the_advice_holds(made, tmp_path, bad, says):
    path = tmp_path / "fits.jsonl"
    path.write_bytes(bad)
    with pytest.raises(
        InvalidInputError, match=r"must hold the fits of an earlier command.*Delete it"
    ) as raised:
        Fits(str(path), 3)
    assert says in str(raised.value)
    path.unlink()
    scored(path)
    assert len(made) == UNITS


def test_a_link_is_refused(tmp_path):
    (tmp_path / "elsewhere").write_bytes(line())
    (tmp_path / "fits.jsonl").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InvalidInputError, match="is a link"):
        Fits(str(tmp_path / "fits.jsonl"), 3)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_vector_that_is_not_finite_is_refused(value):
    damaged = features()
    damaged.vectors[7, 3] = value
    with pytest.raises(
        InvalidInputError, match=r"made: features must be finite. Received: NaN .* those of p7"
    ):
        plain(damaged)


def test_an_answer_that_is_not_finite_is_refused(monkeypatch):
    """A classifier that diverged would be scored as one that always says the first class."""

    def diverged(training, labels, testing):
        return np.full((len(testing), 3), np.nan)

    monkeypatch.setattr(scoring, "_VECTORS", {"knn": diverged, "linear": diverged})
    with pytest.raises(InvalidInputError, match="NaN or infinity among what kNN, k = 5 makes of them"):
        plain()


def test_where_no_column_can_be_filled_the_first_reason_is_said():
    few = dataclasses.replace(PROTOCOL, columns=(Column.of("20"), Column.of("30")))
    with pytest.raises(
        InvalidInputError, match="Received: 20, 30; class 0 has 20 patches, 20 of 20 for training"
    ):
        draw_splits(PATCHES, few)
    drawn = draw_splits(PATCHES, dataclasses.replace(PROTOCOL, columns=(Column.of("5"), Column.of("30"))))
    assert {*drawn.empty} == {("random", "30"), ("spatial", "30")}
    assert {key: len(parts) for key, parts in drawn.splits.items()} == {
        ("random", "5"): 3,
        ("spatial", "5"): 3,
    }
