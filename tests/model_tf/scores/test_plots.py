"""Figures: what they show is read back from them."""

import dataclasses
import itertools

import numpy as np
import pytest

from beam_pipeline.report.colours import COLOURS, NONE_COLOUR, UNLABELED_COLOUR
from model_tf.scores.histogram import ClassScore
from model_tf.scores.plots import (
    Prediction,
    panel_figure,
    probabilities_of,
    readable,
    roc_figure,
    to_pixels,
    to_png,
)
from tests.model_tf.made_dataset import ONTOLOGY, table_of

CATEGORIES = table_of(ONTOLOGY)
LAND_USE = CATEGORIES.names[:12]


def made_score(name: str, auc: float | None = 0.9) -> ClassScore:
    if auc is None:
        return ClassScore(name, 0, 10, reason="no positives among the known pixels")
    rates = np.linspace(0, 1, 50)
    return ClassScore(name, 10, 10, auc=auc, roc=np.stack([rates, rates ** (1 / auc - 1)]))


def made_prediction(title: str = "cell 1, 2020, first image", categories=CATEGORIES) -> Prediction:
    rng = np.random.default_rng(0)
    label = np.full((24, 24, 3), 255, np.uint8)
    label[:8, :, 0] = 2  # residential
    label[:8, :, 1:] = 254
    label[:4, :, 2] = 14  # building
    return Prediction(
        title,
        rng.integers(0, 255, (24, 24, 3), np.uint8),
        label,
        rng.random((24, 24, len(categories))),
    )


def test_roc_legend_names_every_category_from_the_best():
    scores = [made_score("wooded", 0.7), made_score("desert_sand", 0.95), made_score("quarry", None)]
    figure = roc_figure(scores, "Land use")
    legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert legend == [
        "desert sand (AUC = 0.950)",
        "wooded (AUC = 0.700)",
        "quarry (not scored: no positives)",
    ]
    diagonal, *curves = figure.axes[0].lines
    np.testing.assert_array_equal(diagonal.get_xydata(), [[0, 0], [1, 1]])
    np.testing.assert_array_equal(curves[0].get_xydata().T, scores[1].roc)
    assert figure.axes[0].get_title() == "Land use"


def test_lines_of_twelve_categories_differ_and_keep_their_looks():
    scores = [made_score(name, 0.6 + 0.03 * index) for index, name in enumerate(LAND_USE)]
    changed = [dataclasses.replace(score, auc=1 - score.auc) for score in scores]

    def looks(figure):
        return {
            line.get_label().partition(" (")[0]: (line.get_color(), line.get_linestyle())
            for line in figure.axes[0].lines[1:]
        }

    first = looks(roc_figure(scores, ""))
    assert len(set(first.values())) == len(LAND_USE)
    assert looks(roc_figure(changed, "")) == first


def test_an_ontology_may_have_more_categories_than_there_are_looks():
    figure = roc_figure([made_score(f"crop_{index}") for index in range(40)], "")
    assert len(figure.axes[0].lines) == 1 + 40


def test_the_panel_shows_image_labels_and_probabilities():
    prediction = made_prediction()
    figure = panel_figure([prediction], CATEGORIES)
    shown = {axes.get_title(): axes for axes in figure.axes if axes.images}
    assert next(iter(shown)) == "true colour"
    assert set(shown) >= {readable(name) for name in (*CATEGORIES.names, *CATEGORIES.channel_names)}
    np.testing.assert_array_equal(shown["true colour"].images[0].get_array(), prediction.image)
    for channel, name in enumerate(CATEGORIES.channel_names):
        pixels = shown[readable(name)].images[0].get_array()
        for value in np.unique(prediction.label[..., channel]):
            colour = {254: NONE_COLOUR, 255: UNLABELED_COLOUR, 2: COLOURS["residential"]}
            expected = colour.get(int(value), COLOURS["building"])
            assert (pixels[prediction.label[..., channel] == value] == expected).all()
    for index, name in enumerate(CATEGORIES.names):
        axes = shown[readable(name)]
        np.testing.assert_array_equal(axes.images[0].get_array(), prediction.probabilities[..., index])
        assert axes.images[0].get_clim() == (0, 1)
        assert axes.title.get_fontweight() == ("bold" if name in ("residential", "building") else "normal")
    assert figure.subfigs[0]._suptitle.get_text() == prediction.title


@pytest.mark.parametrize("count", [1, 3])
def test_nothing_on_the_panel_overlaps(count):
    figure = panel_figure([made_prediction(f"cell {number}") for number in range(count)], CATEGORIES)
    to_pixels(figure)  # lays it out
    renderer = figure.canvas.get_renderer()
    boxes = [axes.get_window_extent() for axes in figure.axes if axes.images]
    boxes += [axes.title.get_window_extent(renderer) for axes in figure.axes if axes.get_title()]
    for part in figure.subfigs:
        boxes += [it.get_window_extent(renderer) for it in [*part.legends, *part.texts]]
    assert len(boxes) == count * (19 + 19 + 1) + 2
    for one, other in itertools.combinations(boxes, 2):
        assert not one.shrunk(0.98, 0.98).overlaps(other.shrunk(0.98, 0.98))
    for box in boxes:
        assert figure.bbox.x0 <= box.x0
        assert box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0
        assert box.y1 <= figure.bbox.y1


def test_other_ontologies_are_drawn():
    ontology = {
        "channels": [
            {"name": "crops", "labels": {f"crop_{value}": value for value in range(20)}},
            {"name": "water", "labels": {"lake": 0}},
            {"name": "nothing", "labels": {}},
        ]
    }
    categories = table_of(ontology)
    prediction = made_prediction(categories=categories)
    figure = panel_figure([prediction], categories)
    assert len([axes for axes in figure.axes if axes.images]) == 4 + 21


def test_figures_become_files_and_pixels():
    figure = roc_figure([made_score("water")], "Water")
    assert to_png(figure).startswith(b"\x89PNG")
    pixels = to_pixels(figure)
    assert pixels.shape == (884, 884, 3)
    assert pixels.dtype == np.uint8
    assert (pixels == 255).all(axis=-1).any()
    assert (pixels < 128).any()


def test_probabilities_do_not_overflow():
    with np.errstate(all="raise"):
        found = probabilities_of(np.float32([-1e30, -2, 0, 2, 1e30]))
    np.testing.assert_allclose(found, [0, 0.1192029, 0.5, 0.8807971, 1], atol=1e-6)
