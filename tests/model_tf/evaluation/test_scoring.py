"""Scoring a split batch by batch, against brute force over the same cell-years."""

import itertools

import numpy as np
import pytest
from sklearn import metrics

from beam_pipeline.records.example import CellYear
from beam_pipeline.records.statistics import BandStatistics
from beam_pipeline.report.colours import true_colour
from beam_pipeline.runtime.faults import InvalidInputError
from model_tf.data.info import load_info
from model_tf.evaluation.scoring import require_cells, score_split
from model_tf.scores.panel import PANEL_CELLS, PanelCells
from tests.model_tf.made_dataset import ONTOLOGY, table_of

CATEGORIES = table_of(ONTOLOGY)
WEIGHTS = np.random.default_rng(0).normal(size=(4, len(CATEGORIES))).astype(np.float32)
BANDS = ("B02", "B03", "B04", "B08")


def linear_net(x):
    """A net of one layer, of which brute force needs no framework."""
    return x["gsd_10"] @ WEIGHTS


def standardised(image, statistics: BandStatistics) -> np.ndarray:
    reflectance = (image.gsd_10.astype(np.float64) + image.boa_add_offset) / 10_000
    mean = np.array([statistics.mean[band] for band in BANDS])
    return (reflectance - mean) / np.sqrt([statistics.variance[band] for band in BANDS])


def flat(shards: list[list[CellYear]]) -> list[CellYear]:
    return list(itertools.chain.from_iterable(shards))


def test_a_split_is_scored_over_every_cell_year_and_image(dataset_folder, cell_years):
    """With a single image, an empty shard, and padding in the last batch."""
    info = load_info(dataset_folder)
    scored = score_split(linear_net, info, "training", statistics=info.statistics, pairs_per_batch=5)
    examples = flat(cell_years["training"])
    images = [(it, image) for it in examples for image in it.images]
    assert scored.images == len(images) == 23
    scores = scored.histogram.scores()
    labels = np.stack([it.label for it, _ in images])
    for index, name in enumerate(CATEGORIES.names):
        held = labels[..., CATEGORIES.channels[index]]
        positive = held == CATEGORIES.values[index]
        assert scores[name].positives == positive.sum()
        assert scores[name].negatives == (held != 255).sum() - positive.sum()
        cells = {
            it.cell.cell_id for (it, _), any_ in zip(images, positive.any(axis=(1, 2)), strict=True) if any_
        }
        assert scores[name].cells == len(cells)
    inputs = np.stack([standardised(image, info.statistics) for _, image in images])
    for name in ("wooded", "road", "building"):
        index = CATEGORIES.names.index(name)
        held = labels[..., CATEGORIES.channels[index]]
        truth, values = held == CATEGORIES.values[index], inputs @ WEIGHTS[:, index].astype(np.float64)
        auc = metrics.roc_auc_score(truth[held != 255], values[held != 255])
        precision = metrics.average_precision_score(truth[held != 255], values[held != 255])
        assert abs(auc - 0.5) > 1e-3  # else anything would do
        assert scores[name].auc == pytest.approx(auc, abs=1e-4)
        assert scores[name].average_precision == pytest.approx(precision, abs=1e-4)


def test_the_statistics_given_are_those_that_count(dataset_folder):
    """Those of the run, which need not be the dataset's."""
    info = load_info(dataset_folder)
    other = BandStatistics(
        {band: mean - 1 for band, mean in info.statistics.mean.items()}, info.statistics.variance
    )
    seen = []

    def look(x):
        seen.append(x["gsd_10"].mean())
        return linear_net(x)

    for statistics in (info.statistics, other):
        score_split(look, info, "testing", statistics=statistics, pairs_per_batch=4)
    assert seen[0] == pytest.approx(0, abs=1)
    assert seen[1] > 5


def test_the_panel_shows_the_cells_asked_for(dataset_folder, cell_years):
    info = load_info(dataset_folder)
    scored = score_split(
        linear_net, info, "training", statistics=info.statistics, pairs_per_batch=3, cells=(4, 1)
    )
    first, second = scored.predictions
    assert first.title.startswith("cell 4, ")
    assert second.title.startswith("cell 1, ")
    shown = {}
    for it in flat(cell_years["training"]):
        for ordinal, image in zip(("first", "second"), it.images, strict=False):
            shown[f"cell {it.cell.cell_id}, {it.year}, {ordinal} image"] = it, image
    it, image = shown[first.title]
    np.testing.assert_array_equal(first.label, it.label)
    reflectance = (image.gsd_10[..., [2, 1, 0]].astype(float) + image.boa_add_offset) / 10_000
    assert np.abs(first.image.astype(int) - true_colour(reflectance)).max() <= 1
    logits = standardised(image, info.statistics) @ WEIGHTS.astype(np.float64)
    np.testing.assert_allclose(first.probabilities, 1 / (1 + np.exp(-logits)), atol=1e-4)


def offered(batches, cells=(), statistics=None) -> list[str]:
    """Titles that a panel keeps of (cell, year, slot, label, reflectance)."""
    bands = dict.fromkeys([*BANDS, "B05", "B06", "B07", "B8A", "B11", "B12"])
    statistics = BandStatistics(dict.fromkeys(bands, 0.0), dict.fromkeys(bands, 1.0))
    panel = PanelCells(CATEGORIES, statistics, cells)
    for batch in batches:
        cell, year, slot, label, reflectance = (np.array(part) for part in zip(*batch, strict=True))
        x = {"gsd_10": np.broadcast_to(reflectance[:, None, None, None], (len(cell), 4, 4, 4))}
        y = np.broadcast_to(label[:, None, None, :], (len(cell), 4, 4, 3)).astype(np.uint8)
        panel.offer(
            x, y, {"cell_id": cell, "year": year, "slot": slot}, np.zeros((len(cell), 4, 4, 15), np.float32)
        )
    return [prediction.title for prediction in panel.predictions()]


def test_the_panel_shows_the_cells_that_hold_most_categories():
    none, one, two, three = (254, 254, 254), (0, 254, 14), (3, 12, 254), (5, 13, 14)
    dark = 0.1
    batches = [
        [(9, 2020, 0, one, dark), (8, 2020, 0, none, dark), (-1, -1, -1, (255, 255, 255), dark)],
        [(7, 2020, 0, three, dark), (6, 2020, 0, (254, 12, 254), dark)],
        [(5, 2020, 0, two, dark), (4, 2020, 0, two, dark)],
    ]
    # 7 holds three; of those with two, 9 has the same number as 5 and 4, and the higher id.
    expected = ["cell 7, 2020, first image", "cell 4, 2020, first image", "cell 5, 2020, first image"]
    assert len(expected) == PANEL_CELLS
    assert offered(batches) == offered(batches[::-1]) == expected


def test_the_panel_shows_the_image_with_least_white():
    label, snow = (0, 12, 14), 0.9
    images = [(1, 2020, 0, label, snow), (1, 2020, 1, label, snow)]
    later = [(1, 2021, 0, label, snow), (1, 2021, 1, label, 0.1)]
    assert offered([images, later]) == ["cell 1, 2021, second image"]
    assert offered([images]) == ["cell 1, 2020, first image"]
    assert offered([later[::-1], images], cells=(1,)) == ["cell 1, 2021, second image"]


def test_cells_are_looked_for_first(dataset_folder):
    info = load_info(dataset_folder)
    require_cells(info, "training", (1, 6))
    with pytest.raises(InvalidInputError, match=r"in the testing split .* Received: 1, 99\. .* example 11"):
        require_cells(info, "testing", (99, 11, 1))
