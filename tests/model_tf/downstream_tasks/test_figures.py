"""The figures: every class is named, and has room."""

import dataclasses

import numpy as np
import pytest

from model_tf.downstream_tasks.figures import cmc_figure, confusion_figure, embeddings_figure
from model_tf.downstream_tasks.scoring import Cell, Features, Score, Scores
from model_tf.scores.plots import to_png
from tests.model_tf.downstream_tasks.made_tiles import made_set

CELL = Cell("made", "linear", "random", "5")


def made(names: tuple[str, ...], a_class: int = 4):
    count = len(names)
    labels = [index for index in range(count) for _ in range(a_class)]
    patches = dataclasses.replace(made_set(labels, [(0.0, 0.0)] * len(labels), count), classes=names)
    vectors = np.random.default_rng(0).normal(size=(len(labels), 6)).astype(np.float32)
    score = Score([np.linspace(0.5, 1, count)], np.eye(count, dtype=np.int64), [count], [count])
    return patches, [Features("made", vectors, None, "made")] * 3, Scores({CELL: score}, {}, {})


def legend_of(figure) -> list[str]:
    return [
        text.get_text().removeprefix("\u200b") for legend in figure.legends for text in legend.get_texts()
    ]


@pytest.mark.parametrize("names", [("_other", "town", "wood"), tuple(f"class {it}" for it in range(59))])
def test_each_class_is_in_the_legend_and_leaves_room_for_the_points(names):
    patches, features, _ = made(names)
    figure = embeddings_figure(patches, features)
    figure.draw_without_rendering()
    assert legend_of(figure) == [*names]
    width, height = figure.get_size_inches()
    for place in figure.axes:
        box = place.get_position()
        assert box.width * width > 3
        assert box.height * height > 3
    colours = [collection.get_facecolor()[0][:3] for collection in figure.axes[0].collections]
    assert max(map(min, colours)) < 0.8  # none is near white


def test_a_long_name_leaves_room_for_the_matrix():
    patches, _, scores = made(("long " * 40, "$a$ town", "_other", "two\nlines"))
    figure = confusion_figure(patches, scores, CELL)
    figure.draw_without_rendering()
    assert figure.axes[0].get_position().width > 0.35
    window = figure.get_window_extent()
    names = figure.axes[0].get_yticklabels()
    for name in names:
        assert name.get_window_extent().x0 >= window.x0
        assert "\n" not in name.get_text()
    assert r"\$a\$" in names[1].get_text()


def test_curves_go_through_the_scores():
    patches, _, scores = made(tuple(f"class {it}" for it in range(59)))
    figure = cmc_figure(patches, scores, ["5"])
    lines = {line.get_label(): line.get_ydata() for line in figure.axes[0].lines}
    np.testing.assert_allclose(lines["made, linear probe"], np.linspace(50, 100, 59))
    np.testing.assert_allclose(lines["chance"], 100 * np.arange(1, 60) / 59)
    assert to_png(figure).startswith(b"\x89PNG")
